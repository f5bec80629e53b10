/*
 * units.h - what the characters of a text are to words and sentences.
 */
#ifndef GLM_UNITS_H
#define GLM_UNITS_H

#include "engine/base/base.h"

typedef enum glm_class
{
	GLM_CLASS_OTHER = 0, /* punctuation, symbols, controls */
	GLM_CLASS_SPACE,
	GLM_CLASS_LETTER,
	GLM_CLASS_DIGIT,
	GLM_CLASS_ALONE,	/* a word of its own: Chinese characters, Hiragana */
	GLM_CLASS_KATAKANA, /* words of nothing else */
	GLM_CLASS_EXTEND	/* belongs to what stands before it: combining marks, joiners */
} glm_class;

extern glm_class glm_class_of(uint32_t character);

/* The character that valid UTF-8 begins with, and its bytes. */
extern uint32_t glm_character(const char *text, size_t n, int *length);

/* ---- borders -------------------------------------------------------------- */

/*
 * The last place in (0, end] of the text where a unit begins that is not its first; 0: there
 * is none.  White space, and punctuation that is not set off by any, stands before it.
 */
extern size_t glm_last_border(glm_unit unit, const char *text, size_t n, size_t end);
/* The first such place of a word at or behind `begin`, or n. */
extern size_t glm_next_border(const char *text, size_t n, size_t begin);

#endif /* GLM_UNITS_H */
