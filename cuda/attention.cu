/*
 * attention.cu - attention over KV blocks, in the order of cpu_attention.c: stretches of 512
 * positions, each for itself, joined in order.
 *
 * A block of `attend` has a stretch of a row's positions for up to GLM_CUDA_HEADS heads of
 * one group, which share what it reads of keys and values.  Keys lie transposed, so threads
 * are positions while scores are made, and columns of the heads while values are added up:
 * neighbours read neighbours in both.
 */
#include "cuda/kv_blocks.h"
#include "cuda/round_codes.h"

#define ATTEND_THREADS 128

/* ---- A stretch ---------------------------------------------------------------------- */

/* Element (i, j) of a half [rows, columns]; keys: rows are dimensions; else positions. */
DEVICE float
kv_element(const char *half, const cuda_kv &kv, int i, int j, bool keys)
{
	int columns = keys ? GLM_CUDA_KV_BLOCK : kv.head_dim, at = i * columns + j;
	int groups = (kv.head_dim + GLM_CUDA_KV_GROUP - 1) / GLM_CUDA_KV_GROUP;

	if (kv.dtype != GLM_CUDA_I8)
		return element(half, (uint64_t) at, kv.dtype);
	return __fmul_rn(
		(float) ((const int8_t *) half)[at],
		((const float *) (half + GLM_CUDA_KV_BLOCK *
									 kv.head_dim))[keys ? i / GLM_CUDA_KV_GROUP * columns + j
														: i * groups + j / GLM_CUDA_KV_GROUP]);
}

/* What a block of attend has in shared memory. */
struct stretch
{
	float *query;	 /* [heads, head_dim] */
	float *weight;	 /* [heads, GLM_CUDA_STRETCH]: scores first */
	float *most;	 /* [heads, warps], then in [0] of each the largest */
	int	   start, n; /* positions */
	int	   heads;
	int	   group;
};

DEVICE void
score_positions(const attend_args &a, const cuda_row &row, const stretch &s)
{
	float most[GLM_CUDA_HEADS];
	int	  lane = (int) threadIdx.x % 32, warp = (int) threadIdx.x / 32;

	UNROLL
	for (int h = 0; h < GLM_CUDA_HEADS; h++)
		most[h] = MINUS_INFINITY;
	for (int i = (int) threadIdx.x; i < s.n; i += ATTEND_THREADS)
	{
		int			p = s.start + i;
		const char *keys = keys_of(a.kv, row, p / GLM_CUDA_KV_BLOCK, s.group);
		float		sum[GLM_CUDA_HEADS];

		UNROLL
		for (int h = 0; h < GLM_CUDA_HEADS; h++)
			sum[h] = 0;
		for (int d = 0; d < a.kv.head_dim; d++)
		{
			float k = kv_element(keys, a.kv, d, p % GLM_CUDA_KV_BLOCK, true);

			UNROLL
			for (int h = 0; h < GLM_CUDA_HEADS; h++)
				if (h < s.heads)
					sum[h] = __fmaf_rn(s.query[h * a.kv.head_dim + d], k, sum[h]);
		}
		UNROLL
		for (int h = 0; h < GLM_CUDA_HEADS; h++)
			if (h < s.heads)
			{
				s.weight[h * GLM_CUDA_STRETCH + i] = sum[h];
				most[h] = sum[h] > most[h] ? sum[h] : most[h];
			}
	}
	UNROLL
	for (int h = 0; h < GLM_CUDA_HEADS; h++)
	{
		most[h] = largest_of_warp(most[h]);
		if (lane == 0 && h < s.heads)
			s.most[h * (ATTEND_THREADS / 32) + warp] = most[h];
	}
	__syncthreads();
}

/* Scores become weights; sum and max of each head go where its results do. */
DEVICE void
weigh_positions(const stretch &s, float *results, uint64_t each, int n)
{
	int lane = (int) threadIdx.x % 32, warp = (int) threadIdx.x / 32;

	for (int h = 0; h < s.heads; h++)
	{
		float *weight = s.weight + h * GLM_CUDA_STRETCH;
		float  max = MINUS_INFINITY;

		for (int w = 0; w < ATTEND_THREADS / 32; w++)
		{
			float other = s.most[h * (ATTEND_THREADS / 32) + w];

			max = other > max ? other : max;
		}
		for (int i = (int) threadIdx.x; i < s.n; i += ATTEND_THREADS)
			weight[i] = exponential(__fsub_rn(weight[i], max));
		if (threadIdx.x == 0)
			results[h * each + n] = max;
	}
	__syncthreads();
	for (int h = warp; h < s.heads; h += ATTEND_THREADS / 32)
	{
		float sum = 0;

		for (int i = lane % LANES; i < s.n; i += LANES)
			sum = __fadd_rn(sum, s.weight[h * GLM_CUDA_STRETCH + i]);
		sum = sum_lanes16(sum);
		if (lane == 0)
			results[h * each + n + 1] = sum;
	}
}

DEVICE void
add_values(const attend_args &a, const cuda_row &row, const stretch &s, float *results,
		   uint64_t each)
{
	for (int d = (int) threadIdx.x; d < a.kv.head_dim; d += ATTEND_THREADS)
	{
		float sum[GLM_CUDA_HEADS];

		UNROLL
		for (int h = 0; h < GLM_CUDA_HEADS; h++)
			sum[h] = 0;
		for (int i = 0; i < s.n; i++)
		{
			int			p = s.start + i;
			const char *values =
				keys_of(a.kv, row, p / GLM_CUDA_KV_BLOCK, s.group) + a.kv.groups * a.kv.half;
			float v = kv_element(values, a.kv, p % GLM_CUDA_KV_BLOCK, d, false);

			UNROLL
			for (int h = 0; h < GLM_CUDA_HEADS; h++)
				if (h < s.heads)
					sum[h] = __fmaf_rn(s.weight[h * GLM_CUDA_STRETCH + i], v, sum[h]);
		}
		UNROLL
		for (int h = 0; h < GLM_CUDA_HEADS; h++)
			if (h < s.heads)
				results[h * each + d] = sum[h];
	}
}

/* blockIdx.x: some heads of a group; .y: a row; .z: a stretch */
KERNEL(attend, attend_args, ATTEND_THREADS)
{
	DYNAMIC_SHARED(shared);
	int		 hd = a.kv.head_dim, of_group = a.kv.heads / a.kv.groups;
	int		 blocks = (of_group + GLM_CUDA_HEADS - 1) / GLM_CUDA_HEADS;
	int		 first = (int) blockIdx.x % blocks * GLM_CUDA_HEADS;
	cuda_row row = a.row[blockIdx.y];
	uint64_t each = (uint64_t) a.stretches * (hd + 2);
	stretch	 s;
	int		 head;

	s.group = (int) blockIdx.x / blocks;
	s.heads = of_group - first < GLM_CUDA_HEADS ? of_group - first : GLM_CUDA_HEADS;
	s.start = (int) blockIdx.z * GLM_CUDA_STRETCH;
	s.n = row.position + 1 - s.start;
	s.n = s.n < GLM_CUDA_STRETCH ? s.n : GLM_CUDA_STRETCH;
	s.query = (float *) shared;
	s.weight = s.query + GLM_CUDA_HEADS * hd;
	s.most = s.weight + GLM_CUDA_HEADS * GLM_CUDA_STRETCH;
	if (s.n <= 0)
		return; /* the whole block */
	head = s.group * of_group + first;
	for (int i = (int) threadIdx.x; i < s.heads * hd; i += ATTEND_THREADS)
		s.query[i] =
			a.qkv[((uint64_t) blockIdx.y * (a.kv.heads + 2 * a.kv.groups) + head) * hd + i];
	__syncthreads();

	float *results = a.part + ((uint64_t) blockIdx.y * a.kv.heads + head) * each +
					 (uint64_t) blockIdx.z * (hd + 2);

	score_positions(a, row, s);
	weigh_positions(s, results, each, hd);
	add_values(a, row, s, results, each);
}

/* Element d of a head of a row with n stretches, whose parts begin at `part`. */
DEVICE float
joined(const join_args &a, const float *part, int n, int d)
{
	float out = part[d], max = part[a.head_dim], sum = part[a.head_dim + 1];

	for (int i = 1; i < n; i++)
	{
		float here, most, before, now;

		part += a.head_dim + 2;
		here = part[a.head_dim];
		most = max > MINUS_INFINITY ? max : MINUS_INFINITY;
		most = here > most ? here : most;
		before = exponential(__fsub_rn(max, most));
		now = exponential(__fsub_rn(here, most));
		out = __fmaf_rn(part[d], now, __fmul_rn(out, before));
		sum = __fmaf_rn(part[a.head_dim + 1], now, __fmul_rn(sum, before));
		max = most;
	}
	return __fdiv_rn(out, sum);
}

/* blockIdx.x: a head; .y: a row.  out' = fma(out_s, e^(max_s - max'), out e^(max - max')) */
KERNEL(join, join_args, 128)
{
	int		 each = columns_of_lane(a.to), row = (int) blockIdx.y;
	bool	 filling = fills_up(a.to, row);
	uint64_t item = (uint64_t) row * a.heads + blockIdx.x;
	int		 n = filling ? 0 : a.row[row].position / GLM_CUDA_STRETCH + 1;

	/* a warp a piece of the head */
	for (int p = (int) threadIdx.x / 32; p * each * 32 < a.head_dim; p += (int) blockDim.x / 32)
	{
		float out[MOST_EACH];

		UNROLL
		for (int j = 0; j < MOST_EACH; j++)
		{
			int	 d = (p * 32 + (int) threadIdx.x % 32) * each + j;
			bool here = j < each && d < a.head_dim && !filling;

			out[j] = here ? joined(a, a.part + item * a.stretches * (a.head_dim + 2), n, d) : 0.0f;
			if (here)
				a.out[item * a.head_dim + d] = out[j];
		}
		if (a.to.group > 0)
			round_group(a.to, row, (int) blockIdx.x * (a.head_dim / a.to.group) + p, out);
	}
}
