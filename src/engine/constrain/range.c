/*
 * range.c - which texts are numbers of a range, and which can become one.
 *
 * What can become of the beginning of a number are intervals, one for each number of digits
 * that may still come before the decimal point: "12" is 12 and a fraction, 120 to 129 and a
 * fraction, and so on.  They and the bounds are compared digit by digit, as numbers with
 * PLACES digits on either side of the point, which is more than the text of a number has.
 */
#include "engine/constrain/number_text.h"

#include <string.h>

#define PLACES 40
#define POINT PLACES /* index of the first digit behind it */

typedef struct fixed
{
	uint8_t digit[2 * PLACES];
} fixed;

/* A bound of the size of a number, its sign left out. */
typedef struct bound
{
	const glm_decimal *value; /* of which the sign does not count; NULL: none */
	bool			   strict;
} bound;

/* What the size has to be, both ends in it; `step`, of which it is a multiple, or NULL. */
typedef struct sizes
{
	fixed			   low, high;
	const glm_decimal *step;
} sizes;

/* ---- Digits --------------------------------------------------------------------------------- */

static int
compare(const fixed *a, const fixed *b)
{
	return memcmp(a->digit, b->digit, sizeof(a->digit));
}

/* false: it does not fit.  false in *exact: digits were cut off. */
static bool
fixed_of(fixed *f, const glm_decimal *d, bool *exact)
{
	*f = (fixed){{0}};
	*exact = true;
	for (int i = 0; i < d->n; i++)
	{
		int at = POINT - (d->exponent + d->n - i);

		if (at < 0)
			return false;
		if (at < 2 * PLACES)
			f->digit[at] = d->digit[i];
		else
			*exact = false;
	}
	return true;
}

/* Adds one at a digit; false: it overflows. */
static bool
add_one(fixed *f, int at)
{
	for (; at >= 0; at--)
	{
		if (++f->digit[at] < 10)
			return true;
		f->digit[at] = 0;
	}
	return false;
}

/* Subtracts one of the smallest; false: it was 0. */
static bool
subtract_one(fixed *f)
{
	for (int at = 2 * PLACES - 1; at >= 0; at--)
	{
		if (f->digit[at]-- > 0)
			return true;
		f->digit[at] = 9;
	}
	return false;
}

/* Adds a number that counts units of a digit; false: it overflows. */
static bool
add(fixed *f, uint64_t number, int at)
{
	for (; number > 0; at--)
	{
		if (at < 0)
			return false;
		number += f->digit[at];
		f->digit[at] = (uint8_t) (number % 10);
		number /= 10;
	}
	return true;
}

/* Up to the next that has no digits behind this one; false: it overflows. */
static bool
round_up(fixed *f, int last)
{
	bool more = false;

	for (int at = last + 1; at < 2 * PLACES; at++)
	{
		more |= f->digit[at] > 0;
		f->digit[at] = 0;
	}
	return !more || add_one(f, last);
}

/* ---- The range ------------------------------------------------------------------------------ */

static bool
low_size(fixed *low, bound b)
{
	bool exact;

	*low = (fixed){{0}};
	if (b.value == NULL)
		return true;
	if (!fixed_of(low, b.value, &exact))
		return false;
	return (exact && !b.strict) || add_one(low, 2 * PLACES - 1);
}

static bool
high_size(fixed *high, bound b)
{
	bool exact;

	if (b.value == NULL || !fixed_of(high, b.value, &exact))
	{
		memset(high->digit, 9, sizeof(high->digit));
		return true;
	}
	return !exact || !b.strict || subtract_one(high);
}

/* The sizes of the numbers in a range that have this sign; 0 has none.  false: there are none. */
static bool
sizes_of(sizes *s, const glm_range *range, bool negative)
{
	static const glm_decimal zero;
	bound					 near = {range->low, range->above_low};
	bound					 far = {range->high, range->below_high};
	int						 sign = negative ? -1 : 1;

	if (negative)
	{
		bound high = far;

		far = near;
		near = high;
		if (near.value == NULL || near.value->sign >= 0)
			near = (bound){&zero, true};
	}
	else if (near.value != NULL && near.value->sign < 0)
		near.value = NULL;
	if (far.value != NULL && far.value->sign == -sign)
		return false;
	s->step = range->multiple_of;
	return low_size(&s->low, near) && high_size(&s->high, far) && compare(&s->low, &s->high) <= 0;
}

/* ---- What digits can become ------------------------------------------------------------------ */

/* Is there a multiple from `low` to `high`, with at most `places` digits behind the point? */
static bool
has_multiple(fixed low, const fixed *high, const glm_decimal *step, int places)
{
	static const fixed zero;
	int				   last = POINT - 1 - step->exponent; /* of which the divisor counts units */
	uint64_t		   divisor = 0;
	uint64_t		   rest = 0;

	/* what is not cheap to tell is left to glm_range_holds() */
	if (step->n > GLM_EXACT_DIGITS)
		return true;
	for (int i = 0; i < step->n; i++)
		divisor = 10 * divisor + step->digit[i];
	/* of 0.25 those with one digit are 0.5, 1.0, 1.5 */
	for (; last > POINT - 1 + places; last--)
		divisor /= (divisor % 2 == 0 ? 2 : 1) * (divisor % 5 == 0 ? 5 : 1);
	if (last < 0) /* only 0 is short enough */
		return compare(&low, &zero) == 0;
	if (divisor == 0 || !round_up(&low, last))
		return false;
	for (int at = 0; at <= last; at++)
		rest = (10 * rest + low.digit[at]) % divisor;
	return (rest == 0 || add(&low, divisor - rest, last)) && compare(&low, high) <= 0;
}

/* Is there one from `from` to `to` that has a size, with at most `places` digits behind the point? */
static bool
meets(const fixed *from, const fixed *to, int places, const sizes *s)
{
	fixed		 low = compare(from, &s->low) < 0 ? s->low : *from;
	const fixed *high = compare(to, &s->high) < 0 ? to : &s->high;

	if (!round_up(&low, POINT - 1 + places) || compare(&low, high) > 0)
		return false;
	return s->step == NULL || has_multiple(low, high, s->step, places);
}

static void
put_digits(fixed *f, int at, const char *digit, int n)
{
	for (int i = 0; i < n; i++)
		f->digit[at + i] = (uint8_t) (digit[i] - '0');
}

/* "12.3" with up to `room` more digits */
static bool
fraction_reaches(const glm_number_text *parts, int room, const sizes *s)
{
	fixed from = {{0}};
	fixed to;

	if (parts->n_fraction + room == 0)
		return false;
	put_digits(&from, POINT - parts->n_whole, parts->whole, parts->n_whole);
	put_digits(&from, POINT, parts->fraction, parts->n_fraction);
	to = from;
	memset(to.digit + POINT + parts->n_fraction, 9, (size_t) room);
	return meets(&from, &to, parts->n_fraction + room, s);
}

/* "12" with `more` digits behind it and a fraction of up to `places` */
static bool
whole_reaches(const glm_number_text *parts, int more, int places, const sizes *s, bool *beyond)
{
	int	  at = POINT - parts->n_whole - more;
	fixed from = {{0}};
	fixed to;

	put_digits(&from, at, parts->whole, parts->n_whole);
	to = from;
	memset(to.digit + at + parts->n_whole, 9, (size_t) (more + places));
	*beyond = compare(&from, &s->high) > 0;
	return !*beyond && meets(&from, &to, places, s);
}

static bool
digits_reach(const glm_number_text *parts, int room, bool integer, const sizes *s)
{
	bool beyond = false;

	if (parts->point)
		return fraction_reaches(parts, room, s);
	if (parts->whole[0] == '0')
		return whole_reaches(parts, 0, integer || room < 2 ? 0 : room - 1, s, &beyond);
	for (int more = 0; more <= room && !beyond; more++)
	{
		int left = room - more - 1; /* behind the point */

		if (whole_reaches(parts, more, integer || left < 1 ? 0 : left, s, &beyond))
			return true;
	}
	return false;
}

/* A sign alone: with any digit behind it. */
static bool
sign_reaches(int room, bool integer, const sizes *s)
{
	for (char digit = '0'; digit <= '9'; digit++)
	{
		glm_number_text parts = {.whole = &digit, .n_whole = 1};

		if (room > 0 && digits_reach(&parts, room - 1, integer, s))
			return true;
	}
	return false;
}

/* ---- Whole numbers -------------------------------------------------------------------------- */

static bool
has_value(const glm_range *range, const glm_decimal *d, bool *decided)
{
	int low = range->low != NULL ? glm_decimal_compare(d, range->low) : 1;
	int high = range->high != NULL ? glm_decimal_compare(d, range->high) : -1;

	*decided = true;
	if (low < 0 || (low == 0 && range->above_low) || high > 0 || (high == 0 && range->below_high) ||
		!glm_decimal_is_finite(d))
		return false;
	return range->multiple_of == NULL || glm_decimal_is_multiple(d, range->multiple_of, decided);
}

bool
glm_range_holds(const glm_range *range, const char *text, size_t n, bool *decided)
{
	glm_number_text parts;
	glm_decimal		d;

	*decided = true;
	if (!glm_number_split(&parts, text, n) || !glm_number_complete(&parts) ||
		(range->integer && (parts.point || parts.has_exponent)))
		return false;
	*decided = glm_decimal_of(&d, &parts);
	return *decided && has_value(range, &d, decided);
}

/*
 * Is a number times ten to the power of one of [from, to) in the range?  `last` is where its last
 * digit stands, of 0 as it is written: glm_decimal_of() reads no 0.00e-399.
 */
static bool
power_holds(const glm_range *range, const glm_decimal *number, int last, int from, int to, int sign)
{
	for (int power = from; power < to && power <= GLM_DECIMAL_EXPONENT; power++)
	{
		glm_decimal d = *number;
		bool		decided;

		if (d.n > 0)
			d.exponent = last + sign * power;
		if (last + sign * power >= -GLM_DECIMAL_EXPONENT && has_value(range, &d, &decided))
			return true;
	}
	return false;
}

/* "1.5e2" with up to `room` more digits, and a sign if there may be one */
static bool
exponent_reaches(const glm_range *range, const glm_number_text *parts, int room)
{
	glm_number_text before = *parts;
	glm_decimal		number;
	int				typed = 0;
	int				last;

	before.n_exponent = 0;
	if (!glm_decimal_of(&number, &before))
		return false;
	last = number.n > 0 ? number.exponent : -parts->n_fraction;
	for (int i = 0; i < parts->n_exponent && typed <= GLM_DECIMAL_EXPONENT; i++)
		typed = 10 * typed + parts->exponent[i] - '0';
	for (int more = parts->n_exponent == 0, unit = more ? 10 : 1; more <= room && more <= 3;
		 more++, unit *= 10)
	{
		int from = typed * unit;

		if (power_holds(range, &number, last, from, from + unit, parts->exponent_negative ? -1 : 1))
			return true;
		if (parts->n_exponent == 0 && !parts->exponent_signed && more < room &&
			power_holds(range, &number, last, from, from + unit, -1))
			return true;
	}
	return false;
}

bool
glm_range_reaches(const glm_range *range, const char *text, size_t n)
{
	int				room = GLM_NUMBER_BYTES - (int) n;
	glm_number_text parts;
	sizes			s;

	if (n > GLM_NUMBER_BYTES || !glm_number_split(&parts, text, n) ||
		(range->integer && (parts.point || parts.has_exponent)))
		return false;
	if (parts.has_exponent)
		return exponent_reaches(range, &parts, room);
	if (!sizes_of(&s, range, parts.negative))
		return false;
	if (parts.n_whole == 0)
		return sign_reaches(room, range->integer, &s);
	return digits_reach(&parts, room, range->integer, &s);
}
