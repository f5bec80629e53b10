/*
 * check.c - the program: every kernel, in every order, against the scalar tables; what it
 * prints is TAP.
 *
 *     check SHAPES               so many random shapes of each kind, others in each order
 *     check SHAPES KIND ORDER    of one kind, in one order
 */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ck_totals ck_count;

static uint64_t state = 1;
static struct
{
	void  *p, *kept; /* kept: while it is hidden */
	size_t bytes;
	bool   is_constant;
} taken[256];
static int n_taken;

/* ---- Random shapes and numbers --------------------------------------------------- */

void
ck_seed(uint64_t seed)
{
	state = seed * 2 + 1;
	for (int i = 0; i < 4; i++)
		ck_bits();
}

uint32_t
ck_bits(void)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t) (state >> 32);
}

int
ck_draw(int least, int most)
{
	return least + (int) (ck_bits() % (uint32_t) (most - least + 1));
}

void
ck_fill(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		x[i] = (float) (int32_t) ck_bits() * 0x1p-31f;
		if (ck_draw(0, 40) == 0)
			x[i] *= 50;
		if (i % 64 == 0 && ck_draw(0, 9) == 0)
		{
			memset(x + i, 0, (n - i < 64 ? n - i : 64) * sizeof(*x));
			i += 63;
		}
	}
}

void *
ck_take(size_t bytes)
{
	void *p = ck_memory(bytes);

	if (p == NULL || n_taken == 256)
		abort();
	memset(p, 0xfb, bytes);
	taken[n_taken].p = p;
	taken[n_taken].bytes = bytes;
	taken[n_taken++].is_constant = false;
	return p;
}

void
ck_free_all(void)
{
	while (n_taken > 0)
		ck_memory_free(taken[--n_taken].p);
}

void
ck_constant(void *p)
{
	for (int i = 0; i < n_taken; i++)
		if (taken[i].p == p)
			taken[i].is_constant = true;
}

void
ck_hide(void)
{
	for (int i = 0; i < n_taken; i++)
		if (!taken[i].is_constant)
		{
			taken[i].kept = malloc(taken[i].bytes + 1);
			if (taken[i].kept == NULL)
				abort();
			memcpy(taken[i].kept, taken[i].p, taken[i].bytes);
			memset(taken[i].p, 0xfb, taken[i].bytes);
		}
}

void
ck_show(void)
{
	for (int i = 0; i < n_taken; i++)
		if (taken[i].kept != NULL)
		{
			memcpy(taken[i].p, taken[i].kept, taken[i].bytes);
			free(taken[i].kept);
			taken[i].kept = NULL;
		}
}

/* ---- What is counted --------------------------------------------------------------- */

void
ck_same(const char *what, const void *got, const void *wanted, size_t bytes)
{
	ck_count.shapes++;
	ck_count.bytes += (long long) bytes;
	if (memcmp(got, wanted, bytes) == 0)
		return;
	for (size_t i = 0; i < bytes; i++)
		if (((const char *) got)[i] != ((const char *) wanted)[i])
		{
			if (ck_count.different++ < 20)
				printf("# different: %s, from byte %zu of %zu on\n", what, i, bytes);
			return;
		}
}

void
ck_same_floats(const char *what, const float *got, const float *wanted, size_t n)
{
	float *a = ck_take(n * sizeof(float)), *b = ck_take(n * sizeof(float));

	for (size_t i = 0; i < n; i++)
	{
		a[i] = isnan(got[i]) ? NAN : got[i];
		b[i] = isnan(wanted[i]) ? NAN : wanted[i];
		/* what was not written is a number, if a strange one */
	}
	ck_same(what, a, b, n * sizeof(float));
}

/* ---- The program --------------------------------------------------------------------- */

typedef struct kind
{
	const char *name;
	void (*check)(int times);
} kind;

static const kind kinds[] = {
	{"rows", ck_rows}, {"quantize", ck_quantize},	{"packed", ck_packed}, {"wide", ck_wide},
	{"fast", ck_fast}, {"attention", ck_attention}, {"pick", ck_pick},
};

static const char *const orders[] = {
	"forward,dependent",		"reverse,ahead", "random:1,small",
	"random:2,ahead,dependent", "forward,early", "random:3,early,ahead",
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define N_ORDERS (sizeof(orders) / sizeof(orders[0]))

/* Are they all as they should be? */
static bool
run(const kind *k, size_t order, int times, int number)
{
	ck_count = (ck_totals){0};
	ck_seed(order + 1);
	k->check(times);
	printf("%s %d - %s, %s: %ld results, %lld bytes, %ld different\n",
		   ck_count.different == 0 && ck_count.shapes > 0 ? "ok" : "not ok", number, k->name,
		   orders[order], ck_count.shapes, ck_count.bytes, ck_count.different);
	fflush(stdout);
	return ck_count.different == 0;
}

int
main(int argc, char **argv)
{
	int	 times = argc > 1 ? atoi(argv[1]) : 20, number = 0;
	bool fine = true;

	if (!ck_open())
		return 1;
	for (size_t i = 0; i < N_KINDS; i++)
		for (size_t j = 0; j < N_ORDERS; j++)
			if ((argc < 3 || strcmp(argv[2], kinds[i].name) == 0) &&
				(argc < 4 || strcmp(argv[3], orders[j]) == 0) && ck_choose(orders[j]))
				fine &= run(&kinds[i], j, times, ++number);
	return fine && number > 0 ? 0 : 1;
}
