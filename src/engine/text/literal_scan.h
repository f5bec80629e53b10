/*
 * literal_scan.h - the scalars of Python's literals: strings and numbers.
 */
#ifndef GLM_LITERAL_SCAN_H
#define GLM_LITERAL_SCAN_H

#include <string.h>

#include "engine/text/literal.h"
#include "engine/base/base.h"

/* What is left to read: [at, end). */
typedef struct glm_scan
{
	const char *at;
	const char *end;
	int			depth; /* of the value being parsed */
} glm_scan;

/* Takes the text if it comes next. */
static inline bool
glm_scan_take(glm_scan *s, const char *text)
{
	size_t n = strlen(text);

	if ((size_t) (s->end - s->at) < n || memcmp(s->at, text, n) != 0)
		return false;
	s->at += n;
	return true;
}

/* Skips blanks, comments and joined lines. */
extern void glm_scan_blanks(glm_scan *s);

/* Does a string begin here, prefix included? */
extern bool glm_scan_at_string(const glm_scan *s);

/* Reads strings that stand side by side into out as one; false when they are none. */
extern bool glm_scan_text(glm_scan *s, glm_buf *out);

/* A number; NULL when there is none that JSON could hold. */
extern json_t *glm_scan_number(glm_scan *s);

#endif /* GLM_LITERAL_SCAN_H */
