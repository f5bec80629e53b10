/*
 * packed_wgmma.cu - products with INT4 and INT8 weights for many rows, as the tensor cores of
 * compute capability 9.0 like them best: wgmma, four warps at a time, which goes on while its
 * warps do other things.
 *
 * The same blocks as many_*, the same integers, and the same floats in the same order.  A warp
 * has its operands of weights in registers, as mma_u8s8() has them.  Activations are read in
 * shared memory by all four warps, as rows of 16 bytes: eight of them, 128 bytes, are a core
 * matrix, two core matrices side by side a step.  Which column stands where in a step is
 * settled by the weights (see weave in quantize.cu): lane t's 16 bytes of 64 columns are four
 * words, one of each core matrix, where they are word t of their row.
 */
#include "cuda/packed_lane.h"

#ifdef HAS_WGMMA

#define WGMMA_STAGES 2

template <int STEPS> struct wgmma_stage
{
	enum
	{
		CORES = STEPS * 2, /* core matrices that a row goes through */
		/* from one to the next: 64 rows, and what keeps lanes that store in banks of their own */
		PITCH = GLM_CUDA_MANY * 16 + (STEPS > 2 ? 16 : 0),
	};
	int8_t	code[CORES][PITCH];
	float	scale[GLM_CUDA_MANY];
	int32_t minus_sum[GLM_CUDA_MANY];
};

/* What a thread brings of each group of 64 rows: STEPS pieces of 16 bytes, and maybe one more. */
template <int STEPS> struct wgmma_source
{
	enum
	{
		PITCH = wgmma_stage<STEPS>::PITCH,
		PIECES = STEPS * 2,						  /* of a row */
		APART = WGMMA_THREADS / PIECES,			  /* rows from a thread's piece to its next */
		MORE = GLM_CUDA_MANY * sizeof(float) / 16 /* of all scales, and of all sums */
	};
	const int8_t *code; /* of the next group */
	unsigned	  from[STEPS];
	const void	 *more; /* or NULL */
	int			  to, to_more, ld;
	uint4		  piece[STEPS];

	DEVICE_MEMBER
	wgmma_source(const packed_args &a, int m0)
	{
		int me = (int) threadIdx.x, row = me / PIECES, part = me % PIECES, at = me % MORE * 4;

		code = a.code + part * 16;
		UNROLL
		for (int i = 0; i < STEPS; i++)
		{
			int there = m0 + row + i * APART < a.m ? m0 + row + i * APART : a.m - 1;

			from[i] = (unsigned) there * (unsigned) (a.groups * STEPS * 32);
		}
		to = row * 16 + (STEPS > 1 ? part / 4 * 4 * PITCH + part % 4 * 4 : part * 8);
		to_more = STEPS * 2 * PITCH + me * 16; /* scale, then minus_sum */
		more = me < MORE ? (const void *) (a.scale + m0 + at) : a.minus_sum + m0 + at;
		more = me < 2 * MORE && m0 + at < a.ld ? more : NULL;
		ld = a.ld;
	}

	/* Codes of the next group, into registers. */
	DEVICE_MEMBER void
	load()
	{
		UNROLL
		for (int i = 0; i < STEPS; i++)
			piece[i] = *(const uint4 *) (code + from[i]);
		code += STEPS * 32;
	}

	/* Those into a stage, and the rest, some time, behind them. */
	DEVICE_MEMBER void
	put(wgmma_stage<STEPS> *stage)
	{
		unsigned char *place = (unsigned char *) stage;

		UNROLL
		for (int i = 0; i < STEPS; i++)
		{
			const unsigned word[4] = {piece[i].x, piece[i].y, piece[i].z, piece[i].w};

			UNROLL
			for (int j = 0; j < 4; j++)
				wgmma_put(place + to + i * APART * 16 +
							  (STEPS > 1 ? j * PITCH : j % 2 * PITCH + j / 2 * 4),
						  word[j]);
		}
		if (more != NULL)
		{
			copy_async16(place + to_more, more);
			more = (const char *) more + (uint64_t) ld * sizeof(float);
		}
		copy_async_commit();
	}
};

/*
 * Describes 64 rows of 32 bytes in shared memory, without a swizzle: 8 rows of 16 bytes are 128
 * in one piece, the next 16 bytes of the rows `leading` bytes further on, the next 8 rows
 * `stride`.
 */
DEVICE uint64_t
wgmma_matrix(const void *at, unsigned leading, unsigned stride)
{
	return (uint64_t) ((shared_address(at) & 0x3ffff) / WGMMA_UNIT) |
		   (uint64_t) (leading / WGMMA_UNIT) << 16 | (uint64_t) (stride / WGMMA_UNIT) << 32;
}

/* Asks for the sums of one tile of each warp. */
template <int STEPS>
DEVICE void
begin_wgmma(int c[32], unsigned a[STEPS][4], uint64_t b)
{
	wgmma_fence<STEPS>(c, a);
	UNROLL
	for (int step = 0; step < STEPS; step++)
		wgmma_u8s8(c, a[step], b + step * 2 * wgmma_stage<STEPS>::PITCH / WGMMA_UNIT);
	wgmma_commit();
}

/* Adds them, as add_group() of many_* does. */
template <int STEPS>
DEVICE void
end_wgmma(float sum[8][4], const int c[32], const float scale[2], const wgmma_stage<STEPS> &stage)
{
	UNROLL
	for (int n = 0; n < 8; n++)
	{
		float2 by = *(const float2 *) (stage.scale + n * 8 + threadIdx.x % 4 * 2);

		UNROLL
		for (int i = 0; i < 4; i++)
			sum[n][i] = __fmaf_rn(sum_as_float(c[n * 4 + i]),
								  __fmul_rn(scale[i / 2], i % 2 ? by.y : by.x), sum[n][i]);
	}
}

/* A group's part of sum: the second tile is computed while the first is added. */
template <int BITS, int STEPS>
DEVICE void
wgmma_group(float sum[2][8][4], pair_operands<BITS, STEPS> &w, const float scale[2][2],
			const wgmma_stage<STEPS> &stage)
{
	int		 c[2][32];
	uint64_t b = wgmma_matrix(stage.code, wgmma_stage<STEPS>::PITCH, 128);

	UNROLL
	for (int n = 0; n < 8; n++)
	{
		int2 minus_sum = *(const int2 *) (stage.minus_sum + n * 8 + threadIdx.x % 4 * 2);

		begin_sums(c[0] + n * 4, w.zero[0], minus_sum);
		begin_sums(c[1] + n * 4, w.zero[1], minus_sum);
	}
	begin_wgmma<STEPS>(c[0], w.a[0], b);
	begin_wgmma<STEPS>(c[1], w.a[1], b);
	wgmma_wait<1, STEPS>(c[0], w.a[0]);
	end_wgmma<STEPS>(sum[0], c[0], scale[0], stage);
	wgmma_wait<0, STEPS>(c[1], w.a[1]);
	end_wgmma<STEPS>(sum[1], c[1], scale[1], stage);
}

/* A block: four pairs of tiles, 128 columns of c, and 64 rows. */
template <int BITS, int STEPS>
DEVICE void
product_by_wgmma(const packed_args &a)
{
	DYNAMIC_SHARED(shared);
	wgmma_stage<STEPS>		  *stages = (wgmma_stage<STEPS> *) shared;
	int						   lane = (int) threadIdx.x % 32, m0 = (int) blockIdx.y * GLM_CUDA_MANY;
	int						   pair = (int) blockIdx.x * (WGMMA_THREADS / 32) + warp_index();
	pair_of_tiles<BITS, STEPS> tiles(a, pair, 0, lane);
	wgmma_source<STEPS>		   source(a, m0);
	pair_group<BITS, STEPS>	   w;
	float					   sum[2][8][4] = {};

	/* they are there, whatever other kernels do */
	tiles.load(&w);
	for (int i = 1; i < BROUGHT && i < a.groups; i++)
		tiles.bring(i);
	await_previous();
	source.load();
	source.put(&stages[0]);
	if (a.groups > 1)
		source.load();
	NO_UNROLL
	for (int group = 0; group < a.groups; group++)
	{
		pair_operands<BITS, STEPS> w_of(w, lane);
		float					   row = w.scale(), scale[2][2];

		rows_of_lane(scale[0], row, 0, lane);
		rows_of_lane(scale[1], row, 1, lane);
		tiles.go_on(1);
		if (group + 1 < a.groups)
			tiles.load(&w);
		if (group + BROUGHT < a.groups)
			tiles.bring(BROUGHT - 1);
		copy_async_wait<0>();
		wgmma_show();
		/* all have put theirs into this stage, and are done with the other */
		__syncthreads();
		if (group + 1 < a.groups)
			source.put(&stages[(group + 1) % WGMMA_STAGES]);
		if (group + 2 < a.groups)
			source.load();
		wgmma_group<BITS, STEPS>(sum, w_of, scale, stages[group % WGMMA_STAGES]);
	}
	put_sums(a, sum, pair * 32, m0);
}

#define WGMMA(bits, group)                                                                         \
	KERNEL_OF_BLOCKS(wgmma_q##bits##_##group, packed_args, WGMMA_THREADS, 2)                       \
	{                                                                                              \
		product_by_wgmma<bits, group / 32>(a);                                                     \
	}

WGMMA(4, 32)
WGMMA(4, 64)
WGMMA(4, 128)
WGMMA(8, 32)
WGMMA(8, 64)
WGMMA(8, 128)

#endif /* HAS_WGMMA */
