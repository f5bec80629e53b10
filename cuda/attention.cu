/*
 * attention.cu - attention over KV blocks, in the order of cpu_attention.c: stretches of 512
 * positions, each for itself; join.cu joins them.
 *
 * A block has a stretch of the positions of one row, or of two that follow each other, for
 * some heads of one group: what it reads of keys and values serves all of these.  Keys lie
 * transposed, so threads are positions while scores are made, and columns of the heads while
 * values are added up: neighbours read neighbours in both.  Every sum is a chain of one
 * thread, so there are many of them in each, and what they share is read in pieces: four
 * positions of a key, four elements of a query, four weights.
 *
 * attend_few has two heads, for passes too small to fill the device; attend eight; attend_two
 * eight of two rows, for prompts.
 */
#include "cuda/kv_blocks.h"

#define ATTEND_THREADS 128
#define ATTEND_WARPS (ATTEND_THREADS / 32)

/* ---- Keys and values ----------------------------------------------------------------- */

template <int DTYPE> struct kv_type;
template <> struct kv_type<GLM_CUDA_F32>
{
	typedef float type;
};
template <> struct kv_type<GLM_CUDA_F16>
{
	typedef uint16_t type;
};
template <> struct kv_type<GLM_CUDA_I8>
{
	typedef int8_t type;
};

DEVICE float
widened(float x)
{
	return x;
}
DEVICE float
widened(uint16_t x)
{
	return f16_to_f32(x);
}
DEVICE float
widened(int8_t x)
{
	return (float) x;
}

/* Elements `at` to at + N of `from`; at is a multiple of N: one load. */
template <int DTYPE, int N>
DEVICE void
load_run(float x[N], const void *from, int at)
{
	typedef typename kv_type<DTYPE>::type type;
	struct alignas(sizeof(type) * N) run
	{
		type element[N];
	};
	run r = ((const run *) from)[(unsigned) at / N];

	UNROLL
	for (int i = 0; i < N; i++)
		x[i] = widened(r.element[i]);
}

/* ---- A stretch ---------------------------------------------------------------------- */

/* Of ROWS rows and HEADS heads of each; query q is head q % HEADS of row q / HEADS. */
template <int HEADS, int ROWS, int DTYPE> struct stretch
{
	enum
	{
		H = HEADS,
		R = ROWS,
		QUERIES = HEADS * ROWS,
		/* while values are added up: columns of a thread, and threads that share those */
		COLUMNS = HEADS > 2 ? 2 : 1,
		SPLIT = COLUMNS,
		EACH = QUERIES / SPLIT, /* queries of a thread */
		LINES = ATTEND_THREADS / SPLIT
	};
	static constexpr int TYPE = DTYPE;

	float	*query;	 /* [QUERIES, pitch] */
	float	*weight; /* [QUERIES, GLM_CUDA_STRETCH]: scores first */
	float	*most;	 /* [QUERIES, warps] */
	float	*part;	 /* where the results of the first head of the first row go */
	uint64_t each;	 /* from a head's results to the next one's */
	int		 pitch;	 /* head_dim rounded up to 4 */
	int		 start;	 /* the first position */
	int		 heads;	 /* that there are */
	int		 group;
	cuda_row row; /* the first: all have its blocks */

	/* How many positions has a row? */
	DEVICE_MEMBER int
	n(int r) const
	{
		int n = row.position + r + 1 - start;

		return n < GLM_CUDA_STRETCH ? n : GLM_CUDA_STRETCH;
	}

	DEVICE_MEMBER float *
	results(const attend_args &a, int q) const
	{
		return part + (q / HEADS * (uint64_t) a.kv.heads + q % HEADS) * each;
	}
};

/* Element d of N keys from place `place` on, by the scales of their groups. */
template <class S, int N>
DEVICE void
load_keys(float k[N], float scale[N], const char *keys, int d, int place, int hd)
{
	load_run<S::TYPE, N>(k, keys, d * GLM_CUDA_KV_BLOCK + place);
	if constexpr (S::TYPE == GLM_CUDA_I8)
	{
		if (d % GLM_CUDA_KV_GROUP == 0)
			load_run<GLM_CUDA_F32, N>(scale, keys + GLM_CUDA_KV_BLOCK * hd,
									  d / GLM_CUDA_KV_GROUP * GLM_CUDA_KV_BLOCK + place);
		UNROLL
		for (int i = 0; i < N; i++)
			k[i] = __fmul_rn(k[i], scale[i]);
	}
}

template <int N> struct alignas(4 * N) score_of
{
	float of[N];
};

/* Scores of N positions from i on, of all queries; what there is no position for is not used. */
template <class S, int N>
DEVICE void
score_run(const attend_args &a, const S &s, int i, float most[S::QUERIES])
{
	int			hd = a.kv.head_dim, p = s.start + i, place = p % GLM_CUDA_KV_BLOCK, d = 0;
	const char *keys = keys_of(a.kv, s.row, p / GLM_CUDA_KV_BLOCK, s.group);
	float		sum[S::QUERIES][N] = {}, scale[N] = {};

	for (; d + 4 <= hd; d += 4)
	{
		float k[4][N];

		UNROLL
		for (int j = 0; j < 4; j++)
			load_keys<S, N>(k[j], scale, keys, d + j, place, hd);
		UNROLL
		for (int q = 0; q < S::QUERIES; q++)
		{
			float4 by = *(const float4 *) (s.query + q * s.pitch + d);

			UNROLL
			for (int j = 0; j < N; j++)
			{
				sum[q][j] = __fmaf_rn(by.x, k[0][j], sum[q][j]);
				sum[q][j] = __fmaf_rn(by.y, k[1][j], sum[q][j]);
				sum[q][j] = __fmaf_rn(by.z, k[2][j], sum[q][j]);
				sum[q][j] = __fmaf_rn(by.w, k[3][j], sum[q][j]);
			}
		}
	}
	NO_UNROLL
	for (; d < hd; d++)
	{
		float k[N];

		load_keys<S, N>(k, scale, keys, d, place, hd);
		UNROLL
		for (int q = 0; q < S::QUERIES; q++)
		{
			UNROLL
			for (int j = 0; j < N; j++)
				sum[q][j] = __fmaf_rn(s.query[q * s.pitch + d], k[j], sum[q][j]);
		}
	}
	UNROLL
	for (int q = 0; q < S::QUERIES; q++)
	{
		score_of<N> scores;

		UNROLL
		for (int j = 0; j < N; j++)
		{
			scores.of[j] = sum[q][j];
			most[q] = i + j < s.n(q / S::H) && sum[q][j] > most[q] ? sum[q][j] : most[q];
		}
		*(score_of<N> *) (s.weight + q * GLM_CUDA_STRETCH + i) = scores;
	}
}

template <class S>
DEVICE void
score_positions(const attend_args &a, const S &s)
{
	int	  lane = (int) threadIdx.x % 32, warp = (int) threadIdx.x / 32, n = s.n(S::R - 1);
	float most[S::QUERIES];

	UNROLL
	for (int q = 0; q < S::QUERIES; q++)
		most[q] = MINUS_INFINITY;
	if (S::R > 1 || n > ATTEND_THREADS)
	{
		if ((int) threadIdx.x * 4 < n)
			score_run<S, 4>(a, s, (int) threadIdx.x * 4, most);
	}
	else if ((int) threadIdx.x < n)
		score_run<S, 1>(a, s, (int) threadIdx.x, most);
	UNROLL
	for (int q = 0; q < S::QUERIES; q++)
	{
		most[q] = largest_of_warp(most[q]);
		if (lane == 0)
			s.most[q * ATTEND_WARPS + warp] = most[q];
	}
	__syncthreads();
}

/* Scores become weights; sum and max of each query go where its results do. */
template <class S>
DEVICE void
weigh_positions(const attend_args &a, const S &s)
{
	int line = (int) threadIdx.x / LANES, hd = a.kv.head_dim;

	for (int q = 0; q < S::QUERIES; q++)
	{
		float *weight = s.weight + q * GLM_CUDA_STRETCH;
		float  max = MINUS_INFINITY;

		if (q % S::H >= s.heads)
			continue;
		for (int w = 0; w < ATTEND_WARPS; w++)
		{
			float other = s.most[q * ATTEND_WARPS + w];

			max = other > max ? other : max;
		}
		for (int i = (int) threadIdx.x; i < s.n(q / S::H); i += ATTEND_THREADS)
			weight[i] = exponential(__fsub_rn(weight[i], max));
		if (threadIdx.x == 0)
			s.results(a, q)[hd] = max;
	}
	__syncthreads();
	/* half a warp a query */
	for (int first = line / 2 * 2; first < S::QUERIES; first += ATTEND_THREADS / LANES)
	{
		int	  q = first + line % 2;
		bool  mine = q % S::H < s.heads;
		float sum = 0;

		for (int i = (int) threadIdx.x % LANES; mine && i < s.n(q / S::H); i += LANES)
			sum = __fadd_rn(sum, s.weight[q * GLM_CUDA_STRETCH + i]);
		sum = sum_lanes16(sum);
		if (mine && threadIdx.x % LANES == 0)
			s.results(a, q)[hd + 1] = sum;
	}
}

/* Columns d on of the value at a place. */
template <class S>
DEVICE void
load_values(float v[S::COLUMNS], const char *values, int place, int d, int hd)
{
	int groups = (hd + GLM_CUDA_KV_GROUP - 1) / GLM_CUDA_KV_GROUP;

	load_run<S::TYPE, S::COLUMNS>(v, values, place * hd + d);
	if constexpr (S::TYPE == GLM_CUDA_I8)
	{
		const float *scales = (const float *) (values + GLM_CUDA_KV_BLOCK * hd);
		float		 scale = scales[place * groups + d / GLM_CUDA_KV_GROUP];

		UNROLL
		for (int i = 0; i < S::COLUMNS; i++)
			v[i] = __fmul_rn(v[i], scale);
	}
}

/* Adds to sum the values of a block's first n positions, by weights from `weight` on. */
template <class S>
DEVICE void
add_block(float sum[S::EACH][S::COLUMNS], const char *values, const float *weight, int n, int d,
		  int hd)
{
	int i = 0;

	for (; i + 4 <= n; i += 4)
	{
		float v[4][S::COLUMNS];

		UNROLL
		for (int j = 0; j < 4; j++)
			load_values<S>(v[j], values, i + j, d, hd);
		UNROLL
		for (int q = 0; q < S::EACH; q++)
		{
			float4 by = *(const float4 *) (weight + q * GLM_CUDA_STRETCH + i);

			UNROLL
			for (int c = 0; c < S::COLUMNS; c++)
			{
				sum[q][c] = __fmaf_rn(by.x, v[0][c], sum[q][c]);
				sum[q][c] = __fmaf_rn(by.y, v[1][c], sum[q][c]);
				sum[q][c] = __fmaf_rn(by.z, v[2][c], sum[q][c]);
				sum[q][c] = __fmaf_rn(by.w, v[3][c], sum[q][c]);
			}
		}
	}
	NO_UNROLL
	for (; i < n; i++)
	{
		float v[S::COLUMNS];

		load_values<S>(v, values, i, d, hd);
		UNROLL
		for (int q = 0; q < S::EACH; q++)
		{
			UNROLL
			for (int c = 0; c < S::COLUMNS; c++)
				sum[q][c] = __fmaf_rn(weight[q * GLM_CUDA_STRETCH + i], v[c], sum[q][c]);
		}
	}
}

/* A thread has COLUMNS columns of EACH queries, all of one row. */
template <class S>
DEVICE void
add_values(const attend_args &a, const S &s)
{
	int first = (int) threadIdx.x / S::LINES * S::EACH, hd = a.kv.head_dim;
	int n = s.n(first / S::H);

	for (int d = (int) threadIdx.x % S::LINES * S::COLUMNS; d < hd; d += S::LINES * S::COLUMNS)
	{
		float sum[S::EACH][S::COLUMNS] = {};

		for (int i = 0; i < n; i += GLM_CUDA_KV_BLOCK)
			add_block<S>(sum,
						 keys_of(a.kv, s.row, (s.start + i) / GLM_CUDA_KV_BLOCK, s.group) +
							 a.kv.groups * a.kv.half,
						 s.weight + first * GLM_CUDA_STRETCH + i,
						 n - i < GLM_CUDA_KV_BLOCK ? n - i : GLM_CUDA_KV_BLOCK, d, hd);
		UNROLL
		for (int q = 0; q < S::EACH; q++)
		{
			UNROLL
			for (int c = 0; c < S::COLUMNS; c++)
				if ((first + q) % S::H < s.heads)
					s.results(a, first + q)[d + c] = sum[q][c];
		}
	}
}

/* ---- By name -------------------------------------------------------------------------- */

/* Rows from `at` on, blockIdx.x: some heads of a group; .z: a stretch */
template <int HEADS, int ROWS, int DTYPE>
DEVICE void
attend_typed(const attend_args &a, int at, float *shared)
{
	stretch<HEADS, ROWS, DTYPE> s;
	int							hd = a.kv.head_dim, of_group = a.kv.heads / a.kv.groups, head;
	int blocks = (of_group + HEADS - 1) / HEADS, first = (int) blockIdx.x % blocks * HEADS;

	s.row = a.row[at];
	s.group = (int) blockIdx.x / blocks;
	s.heads = of_group - first < HEADS ? of_group - first : HEADS;
	s.start = (int) blockIdx.z * GLM_CUDA_STRETCH;
	if (s.n(ROWS - 1) <= 0)
		return; /* the whole block */
	head = s.group * of_group + first;
	s.pitch = (hd + 3) / 4 * 4;
	s.query = shared;
	s.weight = s.query + HEADS * ROWS * s.pitch;
	s.most = s.weight + HEADS * ROWS * GLM_CUDA_STRETCH;
	s.each = (uint64_t) a.stretches * (hd + 2);
	s.part =
		a.part + ((uint64_t) at * a.kv.heads + head) * s.each + (uint64_t) blockIdx.z * (hd + 2);
	for (int i = (int) threadIdx.x; i < HEADS * ROWS * hd; i += ATTEND_THREADS)
	{
		int q = i / hd, h = q % HEADS < s.heads ? head + q % HEADS : head;

		s.query[q * s.pitch + i % hd] =
			a.qkv[((uint64_t) (at + q / HEADS) * (a.kv.heads + 2 * a.kv.groups) + h) * hd + i % hd];
	}
	__syncthreads();
	score_positions(a, s);
	weigh_positions(a, s);
	add_values(a, s);
}

template <int HEADS, int ROWS>
DEVICE void
attend_rows(const attend_args &a, int at, unsigned char *shared)
{
	if (a.kv.dtype == GLM_CUDA_F16)
		attend_typed<HEADS, ROWS, GLM_CUDA_F16>(a, at, (float *) shared);
	else if (a.kv.dtype == GLM_CUDA_I8)
		attend_typed<HEADS, ROWS, GLM_CUDA_I8>(a, at, (float *) shared);
	else
		attend_typed<HEADS, ROWS, GLM_CUDA_F32>(a, at, (float *) shared);
}

/* blockIdx.y: a row */
KERNEL(attend_few, attend_args, ATTEND_THREADS)
{
	await_previous();
	DYNAMIC_SHARED(shared);

	attend_rows<2, 1>(a, (int) blockIdx.y, shared);
}

KERNEL(attend, attend_args, ATTEND_THREADS)
{
	await_previous();
	DYNAMIC_SHARED(shared);

	attend_rows<8, 1>(a, (int) blockIdx.y, shared);
}

/* blockIdx.y: two rows, together if they follow each other */
KERNEL(attend_two, attend_args, ATTEND_THREADS)
{
	await_previous();
	DYNAMIC_SHARED(shared);
	int	 at = (int) blockIdx.y * 2;
	bool two = at + 1 < a.rows;

	if (two && a.row[at].first_block == a.row[at + 1].first_block &&
		a.row[at].position + 1 == a.row[at + 1].position)
	{
		attend_rows<8, 2>(a, at, shared);
		return;
	}
	attend_rows<8, 1>(a, at, shared);
	/* which ends with reads of weights; queries alone are written before the next barrier */
	if (two)
		attend_rows<8, 1>(a, at + 1, shared);
}
