/*
 * rows.cu - kernels that treat rows element by element, or add up one row: embedding, norm,
 * gathering, SwiGLU.
 */
#include "cuda/round_codes.h"

#define NORM_THREADS 256

/* Element k of row `row` of tiles that are not woven: layout.c's glm_packed_row(). */
DEVICE float
packed_element(const embed_args &a, int row, int k)
{
	int			   r = row % 16, group = k / a.group, groups = (a.width + a.group - 1) / a.group;
	int			   step = a.dtype == GLM_CUDA_Q4 ? 8 : 4;
	const uint8_t *tile = a.table + (uint64_t) (row / 16) * a.tile_bytes;
	int			   byte = tile[a.head + (uint64_t) (k / step) * 64 + r * 4 + k % 4];
	int			   place = group * 16 + r;
	/* 11 bits times 12 bits: no rounding anywhere */
	float		   scale = __fmul_rn(f16_to_f32(((const uint16_t *) tile)[place]), 0.0625f);
	int			   code = a.dtype == GLM_CUDA_Q8 ? byte : k % step < 4 ? byte & 15 : byte >> 4;
	int			   zero = a.dtype == GLM_CUDA_Q8 ? 128 * 16 : tile[groups * 32 + place];

	return __fmul_rn(scale, (float) (code * 16 - zero));
}

KERNEL(embed, embed_args, 128)
{
	await_previous();
	int	   token = a.row[blockIdx.x].token;
	float *x = a.x + (uint64_t) blockIdx.x * a.width;

	token = token < 0 ? a.picked[-1 - token].id : token;
	/* where none was picked nobody has what comes of the row */
	token = token < 0 ? 0 : token;
	for (int i = (int) threadIdx.x; i < a.width; i += (int) blockDim.x)
		x[i] = a.dtype == GLM_CUDA_Q4 || a.dtype == GLM_CUDA_Q8
				   ? packed_element(a, token, i)
				   : element(a.table, (uint64_t) token * a.width + i, a.dtype);
}

/* Lane j of 64 has the squares of x[j], x[j + 64] ...; the tree is that of kernels.h. */
KERNEL(rmsnorm, rmsnorm_args, NORM_THREADS)
{
	await_previous();
	DYNAMIC_SHARED(shared);
	float	*lane = (float *) shared; /* [32], then the factor */
	uint64_t row = blockIdx.x;
	bool	 filling = fills_up(a.to, (int) row);
	int		 me = (int) threadIdx.x;
	float	 sum = 0;

	for (int i = me; !filling && me < SQUARE_LANES && i < a.width; i += SQUARE_LANES)
	{
		float x = a.x[row * a.width + i];

		sum = __fmaf_rn(x, x, sum);
	}
	if (me >= 32 && me < SQUARE_LANES)
		lane[me - 32] = sum;
	__syncthreads();
	if (me < 32)
	{
		sum = __fadd_rn(sum, lane[me]);
		sum = __fadd_rn(sum, __shfl_down_sync(ALL_LANES, sum, 16));
		sum = sum_lanes16(sum);
		if (me == 0)
			lane[32] =
				__fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(__fdiv_rn(sum, (float) a.width), a.eps)));
	}
	__syncthreads();
	for (int p = me / 32, each = columns_of_lane(a.to); p * each * 32 < a.width;
		 p += NORM_THREADS / 32)
	{
		float y[MOST_EACH];

		UNROLL
		for (int j = 0; j < MOST_EACH; j++)
		{
			int	 i = (p * 32 + me % 32) * each + j;
			bool here = j < each && i < a.width && !filling;

			y[j] =
				here ? __fmul_rn(__fmul_rn(a.x[row * a.width + i], lane[32]), a.weight[i]) : 0.0f;
			if (here)
				a.y[row * a.width + i] = y[j];
		}
		if (a.to.group > 0)
			round_group(a.to, (int) row, p, y);
	}
}

KERNEL(gather, gather_args, 128)
{
	await_previous();
	const float *x = a.x + (uint64_t) a.index[blockIdx.x] * a.width;
	float		*y = a.y + (uint64_t) blockIdx.x * a.width;

	for (int i = (int) threadIdx.x; i < a.width; i += (int) blockDim.x)
		y[i] = x[i];
}

/* A warp a piece of a row: blockIdx.x: some pieces; .y: a row */
KERNEL(swiglu, swiglu_args, 128)
{
	await_previous();
	int			 p = (int) (blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32);
	int			 each = columns_of_lane(a.to), row = (int) blockIdx.y;
	bool		 filling = fills_up(a.to, row);
	const float *x = a.x + (uint64_t) row * 2 * a.width;
	float		 c[MOST_EACH];

	if (p * each * 32 >= a.width)
		return; /* whole warps */
	UNROLL
	for (int j = 0; j < MOST_EACH; j++)
	{
		int	 i = (p * 32 + (int) threadIdx.x % 32) * each + j;
		bool here = j < each && i < a.width && !filling;

		c[j] = here
				   ? __fmul_rn(__fdiv_rn(x[i], __fadd_rn(1.0f, exponential(-x[i]))), x[a.width + i])
				   : 0.0f;
		if (here)
			a.c[(uint64_t) row * a.width + i] = c[j];
	}
	if (a.to.group > 0)
		round_group(a.to, row, p, c);
}
