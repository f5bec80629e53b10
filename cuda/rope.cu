/*
 * rope.cu - rotary embedding, and keys and values into their blocks, as cpu_attention.c
 * does it.  What a thread turns it stores itself.
 */
#include "cuda/kv_blocks.h"
#include "cuda/round_codes.h"

#define SMALLEST 1e-30f /* groups of smaller numbers are zeros */

/* Element d of a head, turned by its position's angles, times `by`. */
DEVICE float
turn(const float *x, const float *angle, float by, int d, int turned)
{
	int	  pair = d / 2 * 2;
	float straight, crossed;

	if (d >= turned)
		return __fmul_rn(x[d], by);
	straight = __fmul_rn(x[d], angle[pair]);
	crossed = __fmul_rn(x[d ^ 1], angle[pair + 1]);
	return __fmul_rn(d % 2 == 0 ? __fsub_rn(straight, crossed) : __fadd_rn(straight, crossed), by);
}

/* Rounds v, element d of keys or values [n], of whose groups a warp has one, as a whole. */
DEVICE void
store_code(char *half, float v, int d, int n, int place, bool keys)
{
	int		 groups = (n + GLM_CUDA_KV_GROUP - 1) / GLM_CUDA_KV_GROUP, g = d / GLM_CUDA_KV_GROUP;
	int8_t	*code = (int8_t *) half;
	float	*scale = (float *) (half + GLM_CUDA_KV_BLOCK * n);
	unsigned most = largest_of_warp(__float_as_uint(v) & 0x7fffffffu);
	bool	 finite = most < 0x7f800000u;
	float	 max = __uint_as_float(most);
	float	 inverse = finite && max >= SMALLEST ? __fdiv_rn(127.0f, max) : 0.0f;
	int bits = finite ? (int) __float_as_uint(__fadd_rn(__fmul_rn(v, inverse), CODE_ROUND)) : 0;

	if (d < n)
		code[keys ? d * GLM_CUDA_KV_BLOCK + place : place * n + d] = (int8_t) bits;
	if (d % GLM_CUDA_KV_GROUP == 0)
		scale[keys ? g * GLM_CUDA_KV_BLOCK + place : place * groups + g] =
			!finite			  ? NOT_A_NUMBER
			: max >= SMALLEST ? __fdiv_rn(max, 127.0f)
							  : 0.0f;
}

DEVICE void
store(char *half, float v, int d, const cuda_kv &kv, int place, bool keys)
{
	int n = kv.head_dim, at = keys ? d * GLM_CUDA_KV_BLOCK + place : place * n + d;

	if (kv.dtype == GLM_CUDA_I8)
		store_code(half, v, d, n, place, keys);
	else if (d < n && kv.dtype == GLM_CUDA_F16)
		((uint16_t *) half)[at] = f32_to_f16(v);
	else if (d < n)
		((float *) half)[at] = v;
}

/* blockIdx.x: a query head, or behind those a group's keys, or its values; .y: a row */
KERNEL(rope_store, rope_store_args, 128)
{
	await_previous();
	DYNAMIC_SHARED(shared);
	float		*x = (float *) shared; /* [head_dim] */
	int			 n = a.kv.head_dim, head = (int) blockIdx.x, of_kv = head - a.kv.heads;
	bool		 values = of_kv >= a.kv.groups, query = of_kv < 0;
	cuda_row	 row = a.row[blockIdx.y];
	float		*line = a.qkv + ((uint64_t) blockIdx.y * gridDim.x + head) * n;
	const float *angle = a.rope + (uint64_t) row.position * a.turned;
	float		 by = query ? __fdiv_rn(1.0f, __fsqrt_rn((float) n)) : 1.0f;

	for (int d = (int) threadIdx.x; d < n; d += (int) blockDim.x)
		x[d] = line[d];
	__syncthreads();
	/* whole warps */
	for (int d = (int) threadIdx.x; d / 32 * 32 < n; d += (int) blockDim.x)
	{
		float v = d >= n ? 0.0f : values ? x[d] : turn(x, angle, by, d, a.turned);

		if (!query)
			store(keys_of(a.kv, row, row.position / GLM_CUDA_KV_BLOCK, of_kv), v, d, a.kv,
				  row.position % GLM_CUDA_KV_BLOCK, !values);
		else if (d < n)
			line[d] = v;
	}
}
