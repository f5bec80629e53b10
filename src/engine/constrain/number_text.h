/*
 * number_text.h - the parts of a number as JSON writes it, or of its beginning.
 */
#ifndef GLM_NUMBER_TEXT_H
#define GLM_NUMBER_TEXT_H

#include "engine/constrain/decimal.h"

#define GLM_EXACT_DIGITS 17 /* of a divisor: ten times it and a digit fit into 64 bits */

typedef struct glm_number_text
{
	bool		negative;
	const char *whole; /* digits */
	int			n_whole;
	bool		point;
	const char *fraction;
	int			n_fraction;
	bool		has_exponent; /* there is an "e" */
	bool		exponent_negative, exponent_signed;
	const char *exponent;
	int			n_exponent;
} glm_number_text;

/* false: the n bytes begin no number. */
extern bool glm_number_split(glm_number_text *parts, const char *text, size_t n);
/* Are they a whole one? */
extern bool glm_number_complete(const glm_number_text *parts);
/* The same as glm_decimal_read(), of parts that are complete. */
extern bool glm_decimal_of(glm_decimal *d, const glm_number_text *parts);

#endif /* GLM_NUMBER_TEXT_H */
