/*
 * charset.h - sets of code points, and how UTF-8 spells them byte by byte.
 *
 * What may follow the first bytes of a character is a set as well, of fewer bits.  Sets
 * with the same content are one, so that the states of an automaton in the middle of a
 * character stay few.  U+0000 and surrogates are in no set: no answer has them.
 */
#ifndef GLM_CHARSET_H
#define GLM_CHARSET_H

#include "engine/constrain/intern.h"

#define GLM_LAST_CODE_POINT 0x10FFFF

typedef struct glm_char_range
{
	uint32_t low, high; /* both in it */
} glm_char_range;

/* Ranges in any order, that may overlap. */
typedef struct glm_char_ranges
{
	glm_char_range *range;
	int				n, capacity;
} glm_char_ranges;

extern void glm_char_ranges_add(glm_arena *arena, glm_char_ranges *ranges, uint32_t low,
								uint32_t high);
/* Everything that is not in `other`. */
extern void glm_char_ranges_add_others(glm_arena *arena, glm_char_ranges *ranges,
									   const glm_char_ranges *other);

typedef struct glm_charset glm_charset;

/* The sets of one pattern, by number from 1. */
typedef struct glm_charsets
{
	glm_arena	*arena;
	glm_charset *set;
	int			 n, capacity;
	glm_intern	 index;
} glm_charsets;

extern glm_charsets	  *glm_charsets_new(glm_arena *arena);
/* The number of the set of these, which are sorted; or of all others. */
extern int			   glm_charset_of(glm_charsets *sets, glm_char_ranges *ranges, bool negated);
/* Of the characters of a set, the ASCII ones: bit c of word c / 64. */
extern const uint64_t *glm_charset_ascii(const glm_charsets *sets, int set);

#define GLM_CHARSET_NONE -1 /* no character of the set has this byte */
#define GLM_CHARSET_DONE -2 /* and with this byte it is complete */
/* The set of what may follow this byte. */
extern int glm_charset_next(glm_charsets *sets, int set, uint8_t byte);

#endif /* GLM_CHARSET_H */
