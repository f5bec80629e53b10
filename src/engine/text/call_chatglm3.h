/*
 * call_chatglm3.h - calls of tools in what a ChatGLM3 model answered.
 */
#ifndef GLM_CALL_CHATGLM3_H
#define GLM_CALL_CHATGLM3_H

#include <string.h>

#include "engine/base/json.h"
#include "engine/text/blank.h"

#define GLM_FENCE "```"

/* Some bytes of an answer, valid UTF-8 without NULs: [at, end). */
typedef struct glm_slice
{
	const char *at;
	const char *end;
} glm_slice;

/* What was found so far. */
typedef struct glm_answer
{
	glm_buf content;	 /* of all turns that are no calls */
	bool	has_content; /* though it may be empty */
	json_t *calls;		 /* NULL: none */
	bool	failed;		 /* out of memory, or ended by a pause */
} glm_answer;

/* Is the rest still worth reading?  To be asked wherever a text may have many of something. */
static inline bool
glm_answer_goes_on(glm_answer *a)
{
	a->failed = a->failed || !glm_pause(NULL);
	return !a->failed;
}

/* Does a fenced call begin here?  A name's line, then a fence. */
extern bool glm_call_begins(glm_slice s);

/* Adds the call that all of this turn is, fenced or with JSON; false: it is no such call. */
extern bool glm_call_read_fenced(glm_answer *a, glm_slice turn);
extern bool glm_call_read_json(glm_answer *a, glm_slice turn);

/*
 * Adds the fenced calls that s is made of; what is left of s is where it is anything
 * else.  *open: code was begun that nothing ends, so none that begins later ends.
 */
extern void glm_call_read_all(glm_answer *a, glm_slice *s, bool *open);

/* ---- Slices ------------------------------------------------------------ */

/* Without the blanks at both ends. */
static inline glm_slice
glm_slice_strip(glm_slice s)
{
	while (s.at < s.end && glm_is_blank(*s.at))
		s.at++;
	while (s.end > s.at && glm_is_blank(s.end[-1]))
		s.end--;
	return s;
}

/* Is there a fence at `at`, all of it inside s? */
static inline bool
glm_slice_fence(const char *at, glm_slice s)
{
	const ptrdiff_t n = strlen(GLM_FENCE);

	return at >= s.at && s.end - at >= n && memcmp(at, GLM_FENCE, n) == 0;
}

/* The line that s begins with, without its newline. */
static inline glm_slice
glm_slice_line(glm_slice s)
{
	const char *newline = s.at < s.end ? memchr(s.at, '\n', s.end - s.at) : NULL;

	return (glm_slice){s.at, newline ? newline : s.end};
}

/* What lies behind that line. */
static inline glm_slice
glm_slice_after_line(glm_slice s)
{
	const char *end = glm_slice_line(s).end;

	return (glm_slice){end < s.end ? end + 1 : s.end, s.end};
}

#endif /* GLM_CALL_CHATGLM3_H */
