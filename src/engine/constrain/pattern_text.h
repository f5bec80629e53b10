/*
 * pattern_text.h - reading a pattern character by character: never past its end.
 */
#ifndef GLM_PATTERN_TEXT_H
#define GLM_PATTERN_TEXT_H

#include "engine/constrain/charset.h"

/* Valid UTF-8; `at` is where its reader is. */
typedef struct glm_pattern_text
{
	glm_arena  *arena;
	const char *text;
	size_t		n;
	size_t		at;
} glm_pattern_text;

/* The next byte, or -1. */
static inline int
glm_pattern_peek(const glm_pattern_text *in)
{
	return in->at < in->n ? (uint8_t) in->text[in->at] : -1;
}

/* Takes the next byte if it is this one. */
static inline bool
glm_pattern_eat(glm_pattern_text *in, char c)
{
	if (glm_pattern_peek(in) != (uint8_t) c)
		return false;
	in->at++;
	return true;
}

extern void glm_pattern_malformed(const glm_pattern_text *in, const char *why)
	__attribute__((noreturn));
extern void glm_pattern_refused(const glm_pattern_text *in, const char *what)
	__attribute__((noreturn));

/* The character that comes next; there has to be one. */
extern uint32_t glm_pattern_char(glm_pattern_text *in);
/*
 * What comes behind a backslash: true, a class, whose characters are added to *ranges; or
 * one character, *c.
 */
extern bool		glm_pattern_escape(glm_pattern_text *in, bool in_class, glm_char_ranges *ranges,
								   uint32_t *c);
/* Adds the characters that \d, \D, \w ... are; false: c is no such letter. */
extern bool		glm_pattern_add_class(glm_arena *arena, int c, glm_char_ranges *ranges);
/* Adds the characters that have this property, a name of n bytes; false: it is not known. */
extern bool glm_unicode_add(glm_arena *arena, const char *name, size_t n, glm_char_ranges *ranges);
/* What comes behind "[", to its "]". */
extern void glm_pattern_class(glm_pattern_text *in, glm_char_ranges *ranges, bool *negated);

#endif /* GLM_PATTERN_TEXT_H */
