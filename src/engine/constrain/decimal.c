/*
 * decimal.c - numbers of JSON, exactly.
 */
#include "engine/constrain/number_text.h"

#include <string.h>

#define ENOUGH 100000000 /* an exponent that no fraction makes up for */
#define PLAIN_DIGITS 21	 /* of integers that are written without an exponent */
#define PLAIN_ZEROS 6	 /* behind a decimal point, the same */

/* ---- Text ----------------------------------------------------------------------------------- */

/* The digits from *at on; how many. */
static int
take_digits(const char *text, size_t n, size_t *at)
{
	size_t from = *at;

	while (*at < n && text[*at] >= '0' && text[*at] <= '9')
		++*at;
	return (int) (*at - from);
}

static bool
take(const char *text, size_t n, size_t *at, const char *any)
{
	if (*at == n || text[*at] == '\0' || strchr(any, text[*at]) == NULL)
		return false;
	++*at;
	return true;
}

bool
glm_number_split(glm_number_text *parts, const char *text, size_t n)
{
	size_t at = 0;

	*parts = (glm_number_text){.negative = take(text, n, &at, "-")};
	parts->whole = text + at;
	parts->n_whole = take_digits(text, n, &at);
	if (parts->n_whole > 1 && parts->whole[0] == '0')
		return false;
	parts->point = parts->n_whole > 0 && take(text, n, &at, ".");
	parts->fraction = text + at;
	if (parts->point)
		parts->n_fraction = take_digits(text, n, &at);
	if (parts->n_whole > 0 && (!parts->point || parts->n_fraction > 0))
		parts->has_exponent = take(text, n, &at, "eE");
	if (parts->has_exponent)
	{
		parts->exponent_negative = at < n && text[at] == '-';
		parts->exponent_signed = take(text, n, &at, "+-");
		parts->exponent = text + at;
		parts->n_exponent = take_digits(text, n, &at);
	}
	return at == n && n > 0;
}

bool
glm_number_complete(const glm_number_text *parts)
{
	return parts->n_whole > 0 && (!parts->point || parts->n_fraction > 0) &&
		   (!parts->has_exponent || parts->n_exponent > 0);
}

/* Adds a digit behind the others; zeros wait until another digit comes. */
static bool
add_digit(glm_decimal *d, int digit)
{
	if (digit == 0)
	{
		d->exponent += d->n > 0;
		return true;
	}
	if (d->exponent >= GLM_DECIMAL_DIGITS - d->n)
		return false;
	memset(d->digit + d->n, 0, (size_t) d->exponent);
	d->n += d->exponent;
	d->exponent = 0;
	d->digit[d->n++] = (uint8_t) digit;
	return true;
}

bool
glm_decimal_of(glm_decimal *d, const glm_number_text *parts)
{
	int exponent = 0;

	*d = (glm_decimal){0};
	for (int i = 0; i < parts->n_whole; i++)
		if (!add_digit(d, parts->whole[i] - '0'))
			return false;
	for (int i = 0; i < parts->n_fraction; i++)
		if (!add_digit(d, parts->fraction[i] - '0'))
			return false;
	for (int i = 0; i < parts->n_exponent; i++)
		if (exponent < ENOUGH)
			exponent = 10 * exponent + parts->exponent[i] - '0';
	exponent = (parts->exponent_negative ? -exponent : exponent) - parts->n_fraction;
	if (d->n > 0)
	{
		d->sign = parts->negative ? -1 : 1;
		exponent = d->exponent += exponent;
	}
	/* of 0 too: PostgreSQL's numeric cannot hold 0e-20000 */
	return exponent >= -GLM_DECIMAL_EXPONENT && exponent <= GLM_DECIMAL_EXPONENT;
}

bool
glm_decimal_read(glm_decimal *d, const char *text, size_t n)
{
	glm_number_text parts;

	return glm_number_split(&parts, text, n) && glm_number_complete(&parts) &&
		   glm_decimal_of(d, &parts);
}

static char *
write_digits(char *out, const uint8_t *digit, int n)
{
	for (int i = 0; i < n; i++)
		*out++ = (char) ('0' + digit[i]);
	return out;
}

static char *
write_zeros(char *out, int n)
{
	memset(out, '0', (size_t) n);
	return out + n;
}

/* 1.23e-45: the first digit before the point */
static char *
write_with_exponent(char *out, const glm_decimal *d)
{
	int exponent = d->exponent + d->n - 1;
	int size = exponent < 0 ? -exponent : exponent;

	out = write_digits(out, d->digit, 1);
	if (d->n > 1)
		*out++ = '.';
	out = write_digits(out, d->digit + 1, d->n - 1);
	*out++ = 'e';
	if (exponent < 0)
		*out++ = '-';
	for (int unit = size >= 100 ? 100 : size >= 10 ? 10 : 1; unit > 0; unit /= 10)
		*out++ = (char) ('0' + size / unit % 10);
	return out;
}

int
glm_decimal_write(const glm_decimal *d, char *out)
{
	char *from = out;
	int	  whole = d->n + d->exponent; /* digits before the point */

	if (d->sign < 0)
		*out++ = '-';
	if (d->n == 0)
		*out++ = '0';
	else if (whole > PLAIN_DIGITS || whole < -PLAIN_ZEROS + 1)
		out = write_with_exponent(out, d);
	else if (d->exponent >= 0)
		out = write_zeros(write_digits(out, d->digit, d->n), d->exponent);
	else if (whole > 0)
	{
		out = write_digits(out, d->digit, whole);
		*out++ = '.';
		out = write_digits(out, d->digit + whole, d->n - whole);
	}
	else
	{
		*out++ = '0';
		*out++ = '.';
		out = write_digits(write_zeros(out, -whole), d->digit, d->n);
	}
	return (int) (out - from);
}

/* ---- Arithmetic ----------------------------------------------------------------------------- */

int
glm_decimal_compare(const glm_decimal *a, const glm_decimal *b)
{
	int both = a->n < b->n ? a->n : b->n;
	int order;

	if (a->sign != b->sign)
		return a->sign - b->sign;
	if (a->sign == 0)
		return 0;
	if (a->n + a->exponent != b->n + b->exponent)
		return a->n + a->exponent > b->n + b->exponent ? a->sign : -a->sign;
	order = memcmp(a->digit, b->digit, (size_t) both);
	if (order == 0)
		order = a->n - b->n; /* no zeros at the end: the longer one is larger */
	return order > 0 ? a->sign : order < 0 ? -a->sign : 0;
}

bool
glm_decimal_is_finite(const glm_decimal *d)
{
	/* what DBL_MAX begins with */
	static const glm_decimal largest = {
		1, 292, 17, {1, 7, 9, 7, 6, 9, 3, 1, 3, 4, 8, 6, 2, 3, 1, 5, 7}};
	glm_decimal size = *d;

	size.sign = d->sign != 0;
	return glm_decimal_compare(&size, &largest) <= 0;
}

bool
glm_decimal_is_integer(const glm_decimal *d)
{
	return d->n == 0 || d->exponent >= 0;
}

bool
glm_decimal_is_multiple(const glm_decimal *a, const glm_decimal *b, bool *decided)
{
	uint64_t divisor = 0;
	uint64_t rest = 0;

	/* a has no zero at its end, and would have to have some */
	*decided = true;
	if (a->n > 0 && a->exponent < b->exponent)
		return false;
	*decided = b->n <= GLM_EXACT_DIGITS && b->n > 0;
	if (!*decided)
		return false;
	for (int i = 0; i < b->n; i++)
		divisor = 10 * divisor + b->digit[i];
	for (int i = 0; i < a->n; i++)
		rest = (10 * rest + a->digit[i]) % divisor;
	for (int i = b->exponent; a->n > 0 && i < a->exponent && rest > 0; i++)
		rest = 10 * rest % divisor;
	return rest == 0;
}
