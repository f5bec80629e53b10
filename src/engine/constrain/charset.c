/*
 * charset.c - sets of code points, and how UTF-8 spells them byte by byte.
 *
 * A set at a lead byte holds code points; one behind it, those last bits of them that its
 * bytes to come spell.  Either way a byte cuts a slice out of it, 64 of which are kept.
 */
#include "engine/constrain/charset.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SETS 30000 /* numbers are kept in 16 bits */
#define AT_LEAD 0

struct glm_charset
{
	uint64_t		ascii[2];
	int				to_come;  /* bytes, or AT_LEAD */
	glm_char_ranges ranges;	  /* sorted, with a gap between any two */
	int16_t			next[64]; /* by the low six bits of a byte; 0: not yet known */
};

void
glm_char_ranges_add(glm_arena *arena, glm_char_ranges *ranges, uint32_t low, uint32_t high)
{
	ranges->range = glm_arena_grow(arena, ranges->range, sizeof(*ranges->range), &ranges->capacity,
								   ranges->n + 1);
	ranges->range[ranges->n++] = (glm_char_range){low, high};
}

static int
by_low(const void *a, const void *b)
{
	const glm_char_range *x = a;
	const glm_char_range *y = b;

	return (x->low > y->low) - (x->low < y->low);
}

/* Sorts them and joins those that touch. */
static void
tidy(glm_char_ranges *ranges)
{
	glm_char_range *range = ranges->range;
	int				n = 0;

	if (ranges->n == 0)
		return;
	qsort(range, (size_t) ranges->n, sizeof(*range), by_low);
	for (int i = 1; i < ranges->n; i++)
	{
		if (range[i].low > range[n].high + 1)
			range[++n] = range[i];
		else if (range[i].high > range[n].high)
			range[n].high = range[i].high;
	}
	ranges->n = n + 1;
}

void
glm_char_ranges_add_others(glm_arena *arena, glm_char_ranges *ranges, const glm_char_ranges *other)
{
	glm_char_ranges sorted = {0};
	uint32_t		from = 0;

	for (int i = 0; i < other->n; i++)
		glm_char_ranges_add(arena, &sorted, other->range[i].low, other->range[i].high);
	tidy(&sorted);
	for (int i = 0; i < sorted.n; i++)
	{
		if (sorted.range[i].low > from)
			glm_char_ranges_add(arena, ranges, from, sorted.range[i].low - 1);
		from = sorted.range[i].high + 1;
	}
	if (from <= GLM_LAST_CODE_POINT)
		glm_char_ranges_add(arena, ranges, from, GLM_LAST_CODE_POINT);
}

/* ---- Sets, once each ------------------------------------------------------------------------ */

glm_charsets *
glm_charsets_new(glm_arena *arena)
{
	glm_charsets *sets = GLM_NEW(arena, glm_charsets, 1);

	sets->arena = arena;
	return sets;
}

static void
fill_ascii(glm_charset *set)
{
	const glm_char_range *range = set->ranges.range;

	for (int i = 0; i < set->ranges.n; i++)
		for (uint32_t c = range[i].low; c <= range[i].high && c < 0x80; c++)
			set->ascii[c / 64] |= UINT64_C(1) << c % 64;
}

/* The number of this set, whose ranges are tidy and stay where they are. */
static int
intern(glm_charsets *sets, const glm_char_ranges *ranges, int to_come)
{
	size_t		 size = sizeof(*ranges->range) * (size_t) ranges->n;
	uint64_t	 hash = glm_hash_bytes(ranges->range, size) + (uint64_t) to_come;
	glm_charset *set;

	for (int i = glm_intern_first(&sets->index, hash); i >= 0; i = glm_intern_next(&sets->index, i))
	{
		set = &sets->set[i];
		if (set->to_come == to_come && set->ranges.n == ranges->n &&
			(size == 0 || memcmp(set->ranges.range, ranges->range, size) == 0))
			return i + 1;
	}
	if (sets->n == MAX_SETS)
		glm_arena_fail(sets->arena, GLM_TOO_COMPLEX, "pattern has too many classes of characters");
	sets->set = glm_arena_grow(sets->arena, sets->set, sizeof(*set), &sets->capacity, sets->n + 1);
	set = &sets->set[sets->n];
	*set = (glm_charset){.to_come = to_come, .ranges = *ranges};
	if (to_come == AT_LEAD)
		fill_ascii(set);
	glm_intern_add(sets->arena, &sets->index, hash);
	return ++sets->n;
}

/* Appends to *out what lies in [low, high], counted from `origin`. */
static void
cut(glm_arena *arena, const glm_char_ranges *ranges, uint32_t low, uint32_t high, uint32_t origin,
	glm_char_ranges *out)
{
	for (int i = 0; i < ranges->n; i++)
	{
		const glm_char_range *range = &ranges->range[i];
		uint32_t			  from = range->low > low ? range->low : low;
		uint32_t			  to = range->high < high ? range->high : high;

		if (from <= to)
			glm_char_ranges_add(arena, out, from - origin, to - origin);
	}
}

int
glm_charset_of(glm_charsets *sets, glm_char_ranges *ranges, bool negated)
{
	glm_char_ranges others = {0};
	glm_char_ranges kept = {0};

	if (negated)
	{
		glm_char_ranges_add_others(sets->arena, &others, ranges);
		ranges = &others;
	}
	tidy(ranges);
	cut(sets->arena, ranges, 1, 0xD7FF, 0, &kept);
	cut(sets->arena, ranges, 0xE000, GLM_LAST_CODE_POINT, 0, &kept);
	return intern(sets, &kept, AT_LEAD);
}

const uint64_t *
glm_charset_ascii(const glm_charsets *sets, int set)
{
	return sets->set[set - 1].ascii;
}

/* ---- Byte by byte --------------------------------------------------------------------------- */

/* What a lead byte of more than one byte cuts out; false: it is none. */
static bool
lead_slice(uint8_t byte, uint32_t *low, uint32_t *high, uint32_t *origin, int *to_come)
{
	/* by the bytes to come: bits of them, the lowest code point that needs so many */
	static const uint32_t lowest[] = {0, 0x80, 0x800, 0x10000};
	int					  n = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;

	if (byte < 0xC2 || byte > 0xF4)
		return false;
	*to_come = n;
	*origin = (uint32_t) (byte & 0x3F >> n) << 6 * n;
	*low = *origin > lowest[n] ? *origin : lowest[n];
	*high = *origin + (1u << 6 * n) - 1;
	return true;
}

static int
slice(glm_charsets *sets, int number, uint8_t byte)
{
	const glm_charset *set = &sets->set[number - 1];
	glm_arena_mark	   before = glm_arena_here(sets->arena);
	glm_char_ranges	   rest = {0};
	uint32_t		   low, high, origin;
	int				   to_come;
	int				   known = sets->n;
	int				   next;

	if (set->to_come == AT_LEAD)
	{
		if (!lead_slice(byte, &low, &high, &origin, &to_come))
			return GLM_CHARSET_NONE;
	}
	else
	{
		to_come = set->to_come - 1;
		origin = low = (uint32_t) (byte & 0x3F) << 6 * to_come;
		high = low + (1u << 6 * to_come) - 1;
	}
	cut(sets->arena, &set->ranges, low, high, origin, &rest);
	if (rest.n == 0)
		return GLM_CHARSET_NONE;
	if (to_come == 0)
		next = GLM_CHARSET_DONE;
	else
		next = intern(sets, &rest, to_come);
	if (sets->n == known)
		glm_arena_back(sets->arena, before);
	return next;
}

int
glm_charset_next(glm_charsets *sets, int number, uint8_t byte)
{
	glm_charset *set = &sets->set[number - 1];
	int			 next;

	if (set->to_come == AT_LEAD && byte < 0x80)
		return set->ascii[byte / 64] >> byte % 64 & 1 ? GLM_CHARSET_DONE : GLM_CHARSET_NONE;
	if ((set->to_come == AT_LEAD) != (byte >= 0xC0) || byte < 0x80)
		return GLM_CHARSET_NONE;
	next = set->next[byte & 0x3F];
	if (next == 0)
	{
		next = slice(sets, number, byte);
		sets->set[number - 1].next[byte & 0x3F] = (int16_t) next;
	}
	return next;
}
