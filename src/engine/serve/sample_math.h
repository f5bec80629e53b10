/*
 * sample_math.h - the sampler's arithmetic: exponentials, sums over tokens and random
 * numbers, each as one sequence of IEEE operations, so that a token depends neither
 * on the C library nor on what computes it.
 *
 * Sums over tokens are made in double and in blocks of BLOCK tokens: those of a block
 * are added up in order from +0, then the blocks in order from +0.  A running sum is the
 * sum of the blocks before plus that of its own block so far.
 *
 * Random numbers are Philox4x32-10's, a counter-based generator: key = seed, counter =
 * index of the draw.
 */
#ifndef GLM_SAMPLE_MATH_H
#define GLM_SAMPLE_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 64 /* tokens whose exponentials are made, and added up, together */

/*
 * y[i] = exp((logit[i] - max) / temperature) for n <= BLOCK logits that are at
 * most max, with a relative error below 1e-10, by additions and multiplications in
 * a fixed order: 2^n times the series of exp(r), |r| <= 0.35, to r^9.  What is below
 * -700 counts as -700.  Written for the compiler to take several side by side.
 */
static inline void
exponentials(double *y, const float *logit, int n, double max, double temperature)
{
	static const double series[] = {1,		  1,		1. / 2,	   1. / 6,	   1. / 24,
									1. / 120, 1. / 720, 1. / 5040, 1. / 40320, 1. / 362880};
	const double		round = 0x1.8p52;

	for (int i = 0; i < n; i++)
	{
		double x = (logit[i] - max) / temperature;
		double within = x < -700 ? -700 : x;
		double t =
			within * 0x1.71547652b82fep+0 + round; /* x / ln 2; the integer in its low bits */
		double	 whole = t - round;
		double	 r = (within - whole * 0x1.62e42fefa0000p-1) - whole * 0x1.cf79abc9e3b3ap-40;
		double	 p = series[9];
		double	 power;
		uint64_t bits;

#pragma GCC unroll 9
		for (int k = 8; k >= 0; k--)
			p = p * r + series[k];
		memcpy(&bits, &t, sizeof bits);
		bits = (bits << 52) + 0x3ff0000000000000u;
		memcpy(&power, &bits, sizeof power);
		y[i] = p * power;
	}
}

/* A sum over tokens, one after the other; all begins at 0. */
typedef struct token_sum
{
	double blocks; /* those that are whole */
	double block;  /* the one that is not */
	int	   n;	   /* its tokens */
} token_sum;

static inline void
add_token(token_sum *sum, double x)
{
	sum->block += x;
	if (++sum->n < BLOCK)
		return;
	sum->blocks += sum->block;
	sum->block = 0;
	sum->n = 0;
}

/* A block at once: n <= BLOCK tokens, fewer only if they are the last. */
static inline void
add_block(token_sum *sum, const double *x, int n)
{
	double block = 0;

	for (int i = 0; i < n; i++)
		block += x[i];
	sum->blocks += block;
}

static inline double
sum_of(const token_sum *sum)
{
	return sum->blocks + sum->block;
}

/* ln p of a token, by what glm_logits_sum() gave */
static inline float
log_probability(double logit, double max, double sum)
{
	return (float) (logit - (max + log(sum)));
}

/* One round of Philox4x32. */
static inline void
philox_round(uint32_t x[4], uint32_t k0, uint32_t k1)
{
	uint64_t a = (uint64_t) 0xD2511F53 * x[0];
	uint64_t b = (uint64_t) 0xCD9E8D57 * x[2];

	x[0] = (uint32_t) (b >> 32) ^ x[1] ^ k0;
	x[1] = (uint32_t) b;
	x[2] = (uint32_t) (a >> 32) ^ x[3] ^ k1;
	x[3] = (uint32_t) a;
}

/* The number of this seed and index, uniform in [0, 1), of 53 bits. */
static inline double
uniform(uint64_t seed, uint64_t index)
{
	uint32_t x[4] = {(uint32_t) index, (uint32_t) (index >> 32), 0, 0};
	uint32_t k0 = (uint32_t) seed;
	uint32_t k1 = (uint32_t) (seed >> 32);

	for (int i = 0; i < 10; i++)
	{
		philox_round(x, k0, k1);
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
	return (double) (((uint64_t) x[0] << 32 | x[1]) >> 11) * 0x1p-53;
}

#endif /* GLM_SAMPLE_MATH_H */
