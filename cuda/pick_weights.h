/*
 * pick_weights.h - what a pick knows of the ids: logits with penalties, biases and mask, their
 * order, weights, and sums of them by all threads of a block.
 */
#ifndef GLM_CUDA_PICK_WEIGHTS_H
#define GLM_CUDA_PICK_WEIGHTS_H

#include "cuda/arithmetic.h"

#define PICK_THREADS GLM_CUDA_SORT
#define SMALLEST_POWER -700
#define ROUND_DOUBLE 0x1.8p52
#define LARGEST_FLOAT 0x1.fffffep127f

struct pick_state
{
	const cuda_pick *how;
	const float		*logit;	  /* [vocab], the model's */
	const float		*changed; /* [vocab], by which ids are picked */
	double			*sums;	  /* of blocks of ids */
	cuda_candidate	*chosen;  /* in order */
	uint64_t		*key;	  /* shared [GLM_CUDA_SORT] */
	float			*weight;  /* shared [GLM_CUDA_SORT], of the keys */
	int				*count;	  /* shared [256 + 4] */
	double			 max;	  /* of the logits that weights are made of */
};

/* ---- Logits and weights ------------------------------------------------------------- */

DEVICE bool
has_bit(const uint32_t *bits, int id)
{
	return (bits[id / 32] >> id % 32 & 1) != 0;
}

DEVICE bool
is_allowed(const pick_state &s, int id)
{
	return s.how->mask == NULL || has_bit(s.how->mask, id);
}

/* The logit of an id with the repetition penalty, if that is for it. */
DEVICE double
penalized(const pick_state &s, int id)
{
	float x = s.logit[id];

	if (s.how->seen == NULL || !has_bit(s.how->seen, id))
		return x;
	return x > 0 ? __ddiv_rn(x, s.how->repetition) : __dmul_rn(x, s.how->repetition);
}

/* Rounded once, and never to an infinity. */
DEVICE float
rounded(double value)
{
	value = value < -LARGEST_FLOAT ? -LARGEST_FLOAT : value;
	return __double2float_rn(value > LARGEST_FLOAT ? LARGEST_FLOAT : value);
}

/* changed_logit() of adjust.c */
DEVICE float
changed_logit(const pick_state &s, const cuda_change &c)
{
	double value = __dsub_rn(penalized(s, c.id), __dmul_rn(s.how->frequency, (double) c.count));

	if (c.count > 0)
		value = __dsub_rn(value, s.how->presence);
	return c.bias <= GLM_CUDA_BAN ? MINUS_INFINITY : rounded(__dadd_rn(value, (double) c.bias));
}

/*
 * Finds the logits by which an id is picked: where nothing changes them the model's own, else
 * those with penalties, biases and mask, in `room`.
 */
DEVICE void
change_logits(pick_state &s, float *room)
{
	s.changed = s.logit;
	if (s.how->mask == NULL && s.how->seen == NULL && s.how->n_changes == 0)
		return;
	s.changed = room;
	for (int i = (int) threadIdx.x; i < s.how->n_ids; i += PICK_THREADS)
		room[i] = is_allowed(s, i) ? rounded(penalized(s, i)) : MINUS_INFINITY;
	__syncthreads();
	for (int i = (int) threadIdx.x; i < s.how->n_changes; i += PICK_THREADS)
	{
		const cuda_change &c = s.how->change[i];

		if (is_allowed(s, c.id))
			room[c.id] = changed_logit(s, c);
	}
	__syncthreads();
}

/* e^((logit - max) / temperature) */
DEVICE double
power_of(float logit, double max, double temperature)
{
	const double series[] = {1,		   1,		 1. / 2,	1. / 6,		1. / 24,
							 1. / 120, 1. / 720, 1. / 5040, 1. / 40320, 1. / 362880};
	double		 x = __ddiv_rn(__dsub_rn(logit, max), temperature);
	double		 within = x < SMALLEST_POWER ? SMALLEST_POWER : x;
	double		 t = __dadd_rn(__dmul_rn(within, 0x1.71547652b82fep+0), ROUND_DOUBLE);
	double		 whole = __dsub_rn(t, ROUND_DOUBLE);
	double		 r = __dsub_rn(__dsub_rn(within, __dmul_rn(whole, 0x1.62e42fefa0000p-1)),
							   __dmul_rn(whole, 0x1.cf79abc9e3b3ap-40));
	double		 p = series[9];

	UNROLL
	for (int k = 8; k >= 0; k--)
		p = __dadd_rn(__dmul_rn(p, r), series[k]);
	return __dmul_rn(p,
					 __longlong_as_double((long long) (((uint64_t) __double_as_longlong(t) << 52) +
													   0x3ff0000000000000ull)));
}

DEVICE float
weight_of(const pick_state &s, float logit)
{
	return __double2float_rn(power_of(logit, s.max, s.how->temperature));
}

/* ---- All threads together ------------------------------------------------------------ */

/* Keys sort as candidates do, the first one's is the largest: logit, then the lower id. */
DEVICE uint64_t
key_of(float logit, int id)
{
	unsigned bits = __float_as_uint(logit == 0 ? 0.0f : logit);

	bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
	return (uint64_t) bits << 32 | (0xffffffffu - (unsigned) id);
}

DEVICE int
id_of(uint64_t key)
{
	return (int) (0xffffffffu - (unsigned) key);
}

/* s.key is read to the end: who writes there next has a barrier before. */
DEVICE uint64_t
largest_of_block(const pick_state &s, uint64_t x)
{
	x = largest_of_warp(x);
	__syncthreads();
	if (threadIdx.x % 32 == 0)
		s.key[threadIdx.x / 32] = x;
	__syncthreads();
	x = s.key[0];
	for (int i = 1; i < PICK_THREADS / 32; i++)
		x = s.key[i] > x ? s.key[i] : x;
	return x;
}

/* The key of the first candidate; raw: by the logits as they are. */
DEVICE uint64_t
first_key(const pick_state &s, bool raw)
{
	uint64_t key = 0;

	for (int i = (int) threadIdx.x; i < s.how->n_ids; i += PICK_THREADS)
	{
		uint64_t other = key_of(raw ? s.logit[i] : s.changed[i], i);

		key = other > key ? other : key;
	}
	return largest_of_block(s, key);
}

enum sum_kind
{
	SUM_LOGITS, /* e^(logit - max), of logits as they are */
	SUM_WEIGHTS /* those that are at least `least` */
};

/* What id i has in a sum. */
DEVICE double
summand(const pick_state &s, sum_kind kind, double least, int i)
{
	float weight;

	if (kind == SUM_LOGITS)
		return power_of(s.logit[i], s.max, 1);
	weight = weight_of(s, s.changed[i]);
	return weight >= least ? weight : 0;
}

/* The sum over all ids, in thread 0; those of their blocks stay in s.sums. */
DEVICE double
sum_ids(const pick_state &s, sum_kind kind, double least)
{
	int	   blocks = (s.how->n_ids + GLM_CUDA_SUM_BLOCK - 1) / GLM_CUDA_SUM_BLOCK;
	double sum = 0;

	for (int b = (int) threadIdx.x; b < blocks; b += PICK_THREADS)
	{
		double block = 0;

		for (int i = b * GLM_CUDA_SUM_BLOCK; i < s.how->n_ids && i < (b + 1) * GLM_CUDA_SUM_BLOCK;
			 i++)
			block = __dadd_rn(block, summand(s, kind, least, i));
		s.sums[b] = block;
	}
	__syncthreads();
	for (int b = 0; threadIdx.x == 0 && b < blocks; b++)
		sum = __dadd_rn(sum, s.sums[b]);
	return sum;
}

#endif /* GLM_CUDA_PICK_WEIGHTS_H */
