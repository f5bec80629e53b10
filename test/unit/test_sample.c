/*
 * test_sample.c - the sampler against a slow one that sorts everything in
 * double precision, with and without masks, and against answers known by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/serve/sample.h"

static glm_request
request(double temperature)
{
	return (glm_request){.temperature = temperature, .top_p = 1, .repetition_penalty = 1};
}

static glm_sampler *
open_sampler(const glm_request *req, int vocab)
{
	glm_sampler *s = glm_sampler_open(req, vocab);

	assert_non_null(s);
	return s;
}

/* Picks from a copy, so that one array serves many picks. */
static int32_t
pick_allowed(glm_sampler *s, const float *logits, int vocab, uint64_t index,
			 const uint64_t *allowed)
{
	float	 *copy = malloc((size_t) vocab * sizeof(float));
	int32_t	  token = -1;
	glm_error err;

	assert_non_null(copy);
	memcpy(copy, logits, (size_t) vocab * sizeof(float));
	assert_true(glm_sampler_pick(s, copy, index, allowed, &token, NULL, &err));
	free(copy);
	return token;
}

static int32_t
pick(glm_sampler *s, const float *logits, int vocab, uint64_t index)
{
	return pick_allowed(s, logits, vocab, index, NULL);
}

/* One pick of a new sampler. */
static int32_t
pick_once(const glm_request *req, const float *logits, int vocab, uint64_t index)
{
	glm_sampler *s = open_sampler(req, vocab);
	int32_t		 token = pick(s, logits, vocab, index);

	glm_sampler_close(s);
	return token;
}

static uint32_t
random_bits(void)
{
	static uint64_t seed = 3;

	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t) (seed >> 32);
}

/* ---- Greedy ---------------------------------------------------------------- */

static void
test_greedy(void **state)
{
	float		logits[] = {-3, 2, 7, 7, -1, 7};
	float		negative[] = {-3, -2, -7};
	glm_request req = request(0);

	(void) state;
	assert_int_equal(pick_once(&req, logits, 6, 0), 2); /* the first of equals */
	assert_int_equal(pick_once(&req, negative, 3, 0), 1);
	req.top_k = 3;
	req.top_p = 0.1;
	req.seed = 99;
	assert_int_equal(pick_once(&req, logits, 6, 5), 2);
}

static void
test_penalty(void **state)
{
	float		 logits[] = {4, 3, -1, -1.5f};
	glm_request	 req = request(0);
	glm_sampler *s;

	(void) state;
	req.repetition_penalty = 2;
	s = open_sampler(&req, 4);
	assert_int_equal(pick(s, logits, 4, 0), 0); /* which counts from now on: 4 / 2 = 2 */
	glm_sampler_advance(s, 0);					/* but once */
	assert_int_equal(pick(s, logits, 4, 1), 1); /* 3 / 2 */
	assert_int_equal(pick(s, logits, 4, 2), 0);
	glm_sampler_advance(s, -1); /* ids that are not in the vocabulary */
	glm_sampler_advance(s, 4);
	assert_int_equal(pick(s, logits, 4, 3), 0);
	glm_sampler_close(s);

	/* negative logits are multiplied: -1 becomes -2, below -1.5 */
	s = open_sampler(&req, 2);
	glm_sampler_advance(s, 0);
	assert_int_equal(pick(s, logits + 2, 2, 0), 1);
	glm_sampler_close(s);

	/* below 1 it rewards, and cannot make an infinity */
	req.repetition_penalty = 1e-300;
	s = open_sampler(&req, 4);
	glm_sampler_advance(s, 1);
	assert_int_equal(pick(s, logits, 4, 0), 1);
	glm_sampler_close(s);
}

static void
test_not_finite(void **state)
{
	static const float bad[] = {NAN, INFINITY, -INFINITY};
	glm_request		   req = request(0.8);
	glm_sampler		  *s = open_sampler(&req, 37);

	(void) state;
	for (int b = 0; b < 3; b++)
		for (int at = 0; at < 37; at++)
		{
			float	  logits[37] = {0};
			int32_t	  token;
			glm_error err = {0};

			logits[at] = bad[b];
			assert_false(glm_sampler_pick(s, logits, 0, NULL, &token, NULL, &err));
			assert_int_equal(err.status, GLM_NOT_FINITE);
		}
	glm_sampler_close(s);
}

/* ---- Log probabilities ------------------------------------------------------- */

static void
test_logprob_is_the_models(void **state)
{
	float		 logits[50];
	glm_request	 req = request(0.3);
	glm_sampler *s;

	(void) state;
	req.repetition_penalty = 1.5;
	req.top_k = 20;
	s = open_sampler(&req, 50);
	for (uint64_t trial = 0; trial < 200; trial++)
	{
		double	  sum = 0;
		float	  raw[50], logprob;
		int32_t	  token;
		glm_error err;

		for (int i = 0; i < 50; i++)
		{
			raw[i] = logits[i] = (float) (int32_t) random_bits() * 0x1p-28f;
			sum += exp((double) raw[i]);
		}
		assert_true(glm_sampler_pick(s, logits, trial, NULL, &token, &logprob, &err));
		assert_true(fabs(logprob - (raw[token] - log(sum))) < 1e-5);
	}
	glm_sampler_close(s);
}

/*
 * One token weighs 1, all others 2^-54, which 1 does not feel: what counts is how many
 * of them are added up before they meet it.  So the sum tells whether it was made in
 * blocks of 64 ids, of which the first loses its small ones and the last has half as many.
 */
static void
test_sums_in_blocks(void **state)
{
	const int	 vocab = 65536 - 32;
	float		*logits = malloc((size_t) vocab * sizeof(float)), logprob;
	glm_request	 req = request(0);
	glm_sampler *s = open_sampler(&req, vocab);
	int32_t		 token;
	glm_error	 err;

	(void) state;
	assert_non_null(logits);
	for (int i = 0; i < vocab; i++)
		logits[i] = i == 0 ? 0 : (float) (-54 * log(2));
	assert_true(glm_sampler_pick(s, logits, 0, NULL, &token, &logprob, &err));
	assert_int_equal(token, 0);
	assert_true(logprob == (float) -log(1 + 1022 * 0x1p-48 + 0x1p-49));
	glm_sampler_close(s);
	free(logits);
}

/* ---- The generator ------------------------------------------------------------ */

/*
 * With 65,536 equal logits the token is the upper 16 bits of the random number.
 * Expected: Philox4x32-10 as published (the first is Random123's known answer),
 * computed by another program.
 */
static void
test_philox(void **state)
{
	static const struct
	{
		uint64_t seed;
		uint64_t index;
		int		 token;
	} known[] = {
		{0, 0, 0x6627},
		{0, 1, 0xf8e4},
		{1, 0, 0xe3e8},
		{42, 7, 0x5bbd},
		{0xdeadbeefcafef00d, 0x123456789a, 0x9e45},
	};
	float *logits = calloc(65536, sizeof(float));

	(void) state;
	assert_non_null(logits);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
	{
		glm_request req = request(1);

		req.seed = known[i].seed;
		assert_int_equal(pick_once(&req, logits, 65536, known[i].index), known[i].token);
	}
	free(logits);
}

static void
test_same_seed_same_token(void **state)
{
	float		 logits[100];
	glm_request	 req = request(1);
	glm_sampler *s;
	int			 differ = 0;

	(void) state;
	for (int i = 0; i < 100; i++)
		logits[i] = (float) (i % 7);
	req.seed = 5;
	s = open_sampler(&req, 100);
	for (uint64_t index = 0; index < 100; index++)
	{
		glm_request other = req;
		int32_t		token = pick(s, logits, 100, index);

		assert_int_equal(pick_once(&req, logits, 100, index), token);
		other.seed = 6;
		differ += pick_once(&other, logits, 100, index) != token;
	}
	assert_true(differ > 50);
	glm_sampler_close(s);
}

/* ---- Filters ------------------------------------------------------------------ */

/* How often each of n <= 8 tokens comes in `draws` draws. */
static void
count(const glm_request *req, const double *p, int n, int draws, int *times)
{
	float		 logits[8];
	glm_sampler *s = open_sampler(req, n);

	for (int i = 0; i < n; i++)
		logits[i] = (float) log(p[i]);
	memset(times, 0, (size_t) n * sizeof(int));
	for (int i = 0; i < draws; i++)
		times[pick(s, logits, n, (uint64_t) i)]++;
	glm_sampler_close(s);
}

static void
test_frequencies(void **state)
{
	const double p[] = {0.05, 0.5, 0.15, 0.3};
	glm_request	 req = request(1);
	int			 times[4];

	(void) state;
	count(&req, p, 4, 20000, times);
	for (int i = 0; i < 4; i++)
		assert_true(fabs(times[i] / 20000.0 - p[i]) < 0.012);

	/* temperature 0.5 squares the odds */
	req.temperature = 0.5;
	count(&req, p, 4, 20000, times);
	for (int i = 0; i < 4; i++)
		assert_true(fabs(times[i] / 20000.0 - p[i] * p[i] / 0.365) < 0.012);

	/* top_k 2 leaves 0.5 and 0.3 in their proportion */
	req.temperature = 1;
	req.top_k = 2;
	count(&req, p, 4, 20000, times);
	assert_int_equal(times[0] + times[2], 0);
	assert_true(fabs(times[1] / 20000.0 - 0.625) < 0.012);
}

/* Which of the four tokens of probability 0.05, 0.5, 0.15, 0.3 come at all? */
static int
drawn(const glm_request *req)
{
	const double p[] = {0.05, 0.5, 0.15, 0.3};
	int			 times[4], set = 0;

	count(req, p, 4, 2000, times);
	for (int i = 0; i < 4; i++)
		set |= (times[i] > 0) << i;
	return set;
}

static void
test_filters(void **state)
{
	glm_request req = request(1);

	(void) state;
	assert_int_equal(drawn(&req), 0xf);
	req.top_p = 0.79; /* the smallest set that reaches it */
	assert_int_equal(drawn(&req), 0xa);
	req.top_p = 0.81;
	assert_int_equal(drawn(&req), 0xe);
	req.top_p = 1e-9; /* never empty */
	assert_int_equal(drawn(&req), 0x2);
	req.top_p = 0.6; /* 0.5 of the 0.8 that top_k leaves is 0.625 */
	req.top_k = 2;
	assert_int_equal(drawn(&req), 0x2);

	req = request(1);
	req.min_p = 0.25; /* of the largest: 0.125 */
	assert_int_equal(drawn(&req), 0xe);
	req.top_k = 3;
	assert_int_equal(drawn(&req), 0xe);
	req.min_p = 0.5;
	assert_int_equal(drawn(&req), 0xa);
	req.min_p = 0.999;
	assert_int_equal(drawn(&req), 0x2);
}

static void
test_extreme_temperatures(void **state)
{
	float		 logits[] = {1, 88, 87.9f, -1e30f, 1e30f};
	glm_request	 req = request(1e-300);
	int			 times[8];
	const double p[] = {1e-9, 1, 1e-5, 1};

	(void) state;
	for (uint64_t i = 0; i < 50; i++)
	{
		assert_int_equal(pick_once(&req, logits, 5, i), 4);
		assert_int_equal(pick_once(&req, logits, 3, i), 1);
	}
	req.temperature = 1e300; /* all alike */
	count(&req, p, 4, 8000, times);
	for (int i = 0; i < 4; i++)
		assert_true(abs(times[i] - 2000) < 200);
}

/* ---- Against the slow sampler ---------------------------------------------------- */

#define SLOW_VOCAB 300
#define MASK_WORDS ((SLOW_VOCAB + 63) / 64)

/* A bit for so many ids in 1024, at least for one. */
static void
make_mask(uint64_t *allowed, int share)
{
	int one = (int) (random_bits() % SLOW_VOCAB);

	memset(allowed, 0, MASK_WORDS * sizeof(*allowed));
	allowed[one / 64] |= (uint64_t) 1 << one % 64;
	for (int i = 0; i < SLOW_VOCAB; i++)
		allowed[i / 64] |= (uint64_t) ((int) (random_bits() >> 22) < share) << i % 64;
}

typedef struct candidate
{
	int32_t token;
	double	logit;
	double	p;
} candidate;

static int
by_logit(const void *a, const void *b)
{
	const candidate *x = a;
	const candidate *y = b;

	if (x->logit != y->logit)
		return x->logit > y->logit ? -1 : 1;
	return x->token - y->token;
}

static bool
is_allowed(const uint64_t *allowed, int i)
{
	return allowed == NULL || (allowed[i / 64] >> i % 64 & 1) != 0;
}

/* The candidates that the mask and the filters leave, in order, with their shares. */
static int
slow_filter(const glm_request *req, const float *logits, const uint64_t *allowed, candidate *c)
{
	int	   n = 0, kept = 0;
	double sum = 0, so_far = 0;

	for (int i = 0; i < SLOW_VOCAB; i++)
		if (is_allowed(allowed, i))
			c[n++] = (candidate){.token = i, .logit = logits[i]};
	qsort(c, (size_t) n, sizeof(*c), by_logit);
	if (req->top_k > 0 && req->top_k < n)
		n = req->top_k;
	for (int i = 0; i < n; i++)
		sum += c[i].p = exp((c[i].logit - c[0].logit) / req->temperature);
	/* nine tenths are reached by nine of ten equals, whatever the rounding */
	for (; kept < n && so_far < req->top_p - 1e-9; kept++)
		so_far += c[kept].p / sum;
	while (kept > 1 && c[kept - 1].p < req->min_p)
		kept--;
	return kept;
}

/*
 * Each pick is a token that the slow sampler left, and every such token comes
 * about as often as it should: within five standard deviations.
 */
static void
check_against_slow(const glm_request *req, const uint64_t *allowed)
{
	static float	 logits[SLOW_VOCAB];
	static candidate c[SLOW_VOCAB];
	static int		 times[SLOW_VOCAB];
	glm_sampler		*s = open_sampler(req, SLOW_VOCAB);
	double			 sum = 0;
	int				 kept;

	for (int i = 0; i < SLOW_VOCAB; i++)
		logits[i] = (float) (int32_t) (random_bits() & ~0xfffffffu) * 0x1p-29f; /* with ties */
	kept = slow_filter(req, logits, allowed, c);
	memset(times, 0, sizeof(times));
	for (uint64_t i = 0; i < 4000; i++)
		times[pick_allowed(s, logits, SLOW_VOCAB, i, allowed)]++;
	for (int i = 0; i < kept; i++)
		sum += c[i].p;
	for (int i = 0; i < kept; i++)
	{
		double want = 4000 * c[i].p / sum;

		assert_true(fabs(times[c[i].token] - want) <= 5 * sqrt(want) + 3);
		times[c[i].token] = 0;
	}
	for (int i = 0; i < SLOW_VOCAB; i++)
		assert_int_equal(times[i], 0); /* nothing else ever came */
	glm_sampler_close(s);
}

/* All filters.  share: of how many ids, in 1024, a mask has the bit, 0: there is no mask. */
static void
check_filters(int share)
{
	static const int	top_k[] = {0, 1, 10, 299, 300, 1000};
	static const double top_p[] = {1, 0.9, 0.35};
	static const double min_p[] = {0, 0.05};

	for (int k = 0; k < 6; k++)
		for (int p = 0; p < 3; p++)
			for (int m = 0; m < 2; m++)
			{
				glm_request req = request(0.7);
				uint64_t	allowed[MASK_WORDS];

				req.seed = (uint64_t) (k * 100 + p * 10 + m);
				req.top_k = top_k[k];
				req.top_p = top_p[p];
				req.min_p = min_p[m];
				make_mask(allowed, share);
				check_against_slow(&req, share > 0 ? allowed : NULL);
			}
}

static void
test_against_slow(void **state)
{
	(void) state;
	check_filters(0);
}

static void
test_masks_against_slow(void **state)
{
	static const int share[] = {1, 30, 512, 1000};

	(void) state;
	for (int i = 0; i < 4; i++)
		check_filters(share[i]);
}

/* The largest logit that is allowed, the first of equals; what it says of itself is the model's. */
static void
test_masked_greedy(void **state)
{
	glm_request	 req = request(0);
	glm_sampler *s = open_sampler(&req, SLOW_VOCAB);

	(void) state;
	for (int trial = 0; trial < 500; trial++)
	{
		float	  raw[SLOW_VOCAB], logits[SLOW_VOCAB], logprob;
		double	  sum = 0;
		uint64_t  allowed[MASK_WORDS];
		int32_t	  token, best = -1;
		glm_error err;

		make_mask(allowed, trial % 2 == 0 ? 20 : 700);
		for (int i = 0; i < SLOW_VOCAB; i++)
		{
			raw[i] = logits[i] = (float) (int32_t) (random_bits() & ~0xfffffffu) * 0x1p-29f;
			sum += exp((double) raw[i]);
			if (is_allowed(allowed, i) && (best < 0 || raw[i] > raw[best]))
				best = i;
		}
		assert_true(glm_sampler_pick(s, logits, 0, allowed, &token, &logprob, &err));
		assert_int_equal(token, best);
		assert_true(fabs(logprob - (raw[token] - log(sum))) < 1e-5);
	}
	glm_sampler_close(s);
}

/* A mask with all bits changes nothing; a penalty comes before any. */
static void
test_whole_mask(void **state)
{
	static const double temperature[] = {0, 0.8};
	float				logits[SLOW_VOCAB];
	uint64_t			all[MASK_WORDS];

	(void) state;
	memset(all, 0xff, sizeof(all));
	for (int i = 0; i < SLOW_VOCAB; i++)
		logits[i] = (float) (int32_t) random_bits() * 0x1p-30f;
	for (int t = 0; t < 2; t++)
	{
		glm_request	 req = request(temperature[t]);
		glm_sampler *masked, *plain;

		req.repetition_penalty = 1.3;
		req.top_p = 0.95;
		masked = open_sampler(&req, SLOW_VOCAB);
		plain = open_sampler(&req, SLOW_VOCAB);
		for (uint64_t i = 0; i < 200; i++)
			assert_int_equal(pick_allowed(masked, logits, SLOW_VOCAB, i, all),
							 pick(plain, logits, SLOW_VOCAB, i));
		glm_sampler_close(masked);
		glm_sampler_close(plain);
	}
}

/* Bits behind the last id are not looked at. */
static void
test_empty_mask(void **state)
{
	static const double temperature[] = {0, 1};

	(void) state;
	for (int t = 0; t < 2; t++)
	{
		glm_request	 req = request(temperature[t]);
		glm_sampler *s = open_sampler(&req, SLOW_VOCAB);
		float		 logits[SLOW_VOCAB] = {0};
		uint64_t	 allowed[MASK_WORDS] = {0};
		int32_t		 token;
		glm_error	 err = {0};

		allowed[MASK_WORDS - 1] = ~(uint64_t) 0 << SLOW_VOCAB % 64;
		assert_false(glm_sampler_pick(s, logits, 0, allowed, &token, NULL, &err));
		assert_int_equal(err.status, GLM_INTERNAL);
		allowed[0] = 1u << 17;
		memset(logits, 0, sizeof(logits));
		assert_true(glm_sampler_pick(s, logits, 0, allowed, &token, NULL, &err));
		assert_int_equal(token, 17);
		glm_sampler_close(s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greedy),
		cmocka_unit_test(test_penalty),
		cmocka_unit_test(test_not_finite),
		cmocka_unit_test(test_logprob_is_the_models),
		cmocka_unit_test(test_sums_in_blocks),
		cmocka_unit_test(test_philox),
		cmocka_unit_test(test_same_seed_same_token),
		cmocka_unit_test(test_frequencies),
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_extreme_temperatures),
		cmocka_unit_test(test_against_slow),
		cmocka_unit_test(test_masks_against_slow),
		cmocka_unit_test(test_masked_greedy),
		cmocka_unit_test(test_whole_mask),
		cmocka_unit_test(test_empty_mask),
	};

	return cmocka_run_group_tests_name("sample", tests, NULL, NULL);
}
