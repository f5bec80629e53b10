/*
 * decimal.h - numbers of JSON, exactly.
 *
 * A number is digits times a power of ten, never a double: 9223372036854775807 is not
 * 9223372036854775808, and 1643723400.5 is no multiple of 1.
 */
#ifndef GLM_DECIMAL_H
#define GLM_DECIMAL_H

#include "engine/constrain/arena.h"

#define GLM_DECIMAL_DIGITS 40
#define GLM_DECIMAL_EXPONENT 400 /* either way */
#define GLM_NUMBER_BYTES 36		 /* of the text of a number in an answer */

/* sign * digit[0] digit[1] ... * 10^exponent, no zeros at either end; 0 has no digits. */
typedef struct glm_decimal
{
	int		sign;	  /* -1, 0, 1 */
	int		exponent; /* of the last digit */
	int		n;
	uint8_t digit[GLM_DECIMAL_DIGITS]; /* 0 .. 9, the highest first */
} glm_decimal;

/* Of a number as JSON writes it.  false: it is none, has more digits than there is room for, or too large an exponent. */
extern bool glm_decimal_read(glm_decimal *d, const char *text, size_t n);
/* < 0, 0, > 0 */
extern int	glm_decimal_compare(const glm_decimal *a, const glm_decimal *b);
/* As a double?  What is larger, many who read JSON refuse, and others take for infinite. */
extern bool glm_decimal_is_finite(const glm_decimal *d);
extern bool glm_decimal_is_integer(const glm_decimal *d);
/* Is a a multiple of b, b > 0?  false in *decided: it cannot be told exactly, as b has more than 17 digits. */
extern bool glm_decimal_is_multiple(const glm_decimal *a, const glm_decimal *b, bool *decided);
/* The number as JSON's shortest text, for enums: "1", "0.5", "1e100"; returns its length (at most 64). */
extern int	glm_decimal_write(const glm_decimal *d, char *out);

/* Bounds and steps on a number; what is not there is NULL. */
typedef struct glm_range
{
	const glm_decimal *low, *high; /* NULL: none */
	bool			   above_low;  /* low itself is outside */
	bool			   below_high;
	bool			   integer; /* as digits only: no "1.0", no "1e3" */
	const glm_decimal *multiple_of;
} glm_range;

/*
 * Can n bytes that begin a number ("-", "0", "12", "3.", "1e") still become one in the range,
 * of at most GLM_NUMBER_BYTES?  By more digits, that is: that "5" could be "5e-3" does not
 * count before the "e" is there, nor that "-" could be "-0".  multiple_of counts where it is
 * cheap to tell.
 */
extern bool glm_range_reaches(const glm_range *range, const char *text, size_t n);
/*
 * Is this number in the range?  None is that a double cannot hold.  false in *decided: it
 * cannot be told exactly.
 */
extern bool glm_range_holds(const glm_range *range, const char *text, size_t n, bool *decided);

#endif /* GLM_DECIMAL_H */
