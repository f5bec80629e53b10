/*
 * blank.h - the blanks that stand around the content of a message or an answer.
 */
#ifndef GLM_BLANK_H
#define GLM_BLANK_H

#include <stdbool.h>

#define GLM_BLANKS " \t\r\n"

static inline bool
glm_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

#endif /* GLM_BLANK_H */
