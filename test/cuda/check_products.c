/*
 * check_products.c - activations in 8 bits, products with packed and with plain weights.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check_codes.h"
#include "check_matrix.h"
#include "engine/compute/kernels/kernels.h"

static cuda_codes
quantize_there(const float *a, int m, int cols, int group)
{
	cuda_codes to = ck_codes(m, cols, group);

	cuda_quantize(&ck_launcher,
				  &(quantize_args){.to = to, .a = a, .lda = (uint64_t) cols, .cols = cols});
	return to;
}

static void
check_quantize(void)
{
	int		   m = ck_draw(1, 20), cols = ck_draw(1, 500), group = 32 << ck_draw(0, 2);
	float	  *a = ck_take((size_t) (m * cols) * 4);
	cuda_codes to;

	ck_fill(a, (size_t) (m * cols));
	if (ck_draw(0, 2) == 0)
		a[ck_draw(0, m * cols - 1)] = ck_draw(0, 1) ? INFINITY : NAN;
	a[ck_draw(0, m * cols - 1)] = 0x1p-110f;
	to = quantize_there(a, m, cols, group);
	ck_same_codes("quantize", &to, a, cols);
}

void
ck_quantize(int times)
{
	for (int i = 0; i < times; i++)
	{
		check_quantize();
		ck_free_all();
	}
}

/* ---- Packed weights ------------------------------------------------------------------ */

/* The tiles, woven, elsewhere. */
static uint8_t *
weave_there(const glm_tensor *t, size_t tile_bytes, size_t head, int groups)
{
	size_t	   tiles = glm_packed_tiles((size_t) t->shape[0]);
	uint8_t	  *w = ck_take(tiles * tile_bytes);
	weave_args a = {.tiles = w,
					.tile_bytes = tile_bytes,
					.head = head,
					.n_tiles = (int) tiles,
					.groups = groups,
					.group = t->group,
					.bits = t->dtype == GLM_Q4 ? 4 : 8};

	memcpy(w, t->data, tiles * tile_bytes);
	cuda_weave(&ck_launcher, &a);
	ck_constant(w);
	return w;
}

/* One of the kinds that take so many rows. */
static cuda_kernel
some_kernel(int m)
{
	static const cuda_kernel kinds[] = {GLM_CUDA_wgmma_q4_32, GLM_CUDA_many_q4_32,
										GLM_CUDA_some_q4_32, GLM_CUDA_few_q4_32};

	return kinds[ck_draw(ck_has(kinds[0]) ? 0 : 1, m <= GLM_CUDA_FEW ? 3 : 2)];
}

static void
check_packed(int m, int rows, int cols)
{
	glm_tensor	  t = ck_matrix(ck_draw(0, 1) ? GLM_Q4 : GLM_Q8, rows, cols);
	size_t		  tile_bytes = glm_packed_tile_bytes(t.dtype, (size_t) cols, (size_t) t.group);
	size_t		  head = glm_packed_head(t.dtype, (size_t) cols, (size_t) t.group);
	size_t		  ldc = (size_t) rows + (size_t) ck_draw(0, 20), bytes = (size_t) m * ldc * 4;
	float		 *a = ck_take((size_t) (m * cols) * 4), *bias = ck_take((size_t) rows * 4);
	float		 *got = ck_take(bytes), *wanted = ck_take(bytes), *before = ck_take(bytes);
	bool		  with_bias = ck_draw(0, 1), add = ck_draw(0, 1);
	glm_int8_rows x;
	cuda_codes	  q;
	char		  what[96];

	ck_fill(a, (size_t) (m * cols));
	ck_fill(bias, (size_t) rows);
	ck_fill(before, (size_t) m * ldc);
	x = ck_rounded(a, m, cols, t.group);
	glm_packed_scalar.product(&(glm_packed_product){.x = &x,
													.w = t.data,
													.dtype = t.dtype,
													.n = rows,
													.bias = with_bias ? bias : NULL,
													.c = wanted,
													.ldc = ldc},
							  0, (int) glm_packed_tiles((size_t) rows));
	for (int i = 0; add && i < m; i++)
	{
		float *sum = wanted + (size_t) i * ldc, *c = before + (size_t) i * ldc;

		memcpy(got + (size_t) i * ldc, c, (size_t) rows * 4);
		glm_kernels_scalar.add(c, sum, (size_t) rows);
		memcpy(sum, c, (size_t) rows * 4);
	}
	q = quantize_there(a, m, cols, t.group);
	cuda_packed_by(&ck_launcher, some_kernel(m),
				   &(packed_args){.c = got,
								  .ldc = ldc,
								  .w = weave_there(&t, tile_bytes, head, q.groups),
								  .tile_bytes = tile_bytes,
								  .head = head,
								  .bias = with_bias ? bias : NULL,
								  .code = q.code,
								  .scale = q.scale,
								  .minus_sum = q.minus_sum,
								  .m = m,
								  .n = rows,
								  .groups = q.groups,
								  .ld = q.ld,
								  .add = add},
				   (int) t.dtype, t.group);
	snprintf(what, sizeof(what), "packed %s group %d: m %d, %d rows, %d columns",
			 glm_dtypes[t.dtype].name, t.group, m, rows, cols);
	ck_same(what, got, wanted, bytes);
}

/* Rows around where the next kind of kernel begins, or the next block of it. */
void
ck_packed(int times)
{
	static const int rows[] = {1, 8, 9, 32, 33, 64, 65, 130};

	for (int i = 0; i < times; i++)
	{
		int kind = i % 8, most = kind < 4 ? GLM_CUDA_FEW : kind < 7 ? GLM_CUDA_MANY : 150;

		check_packed(i < 8 ? rows[i] : ck_draw(1, most), ck_draw(1, kind < 7 ? 90 : 200),
					 ck_draw(1, i % 5 == 0 ? 2100 : 500));
		ck_free_all();
	}
}

/* ---- Plain weights -------------------------------------------------------------------- */

static void
check_wide(int m, int n, int k)
{
	glm_tensor t = ck_matrix((glm_dtype) ck_draw(GLM_F32, GLM_BF16), n, k);
	size_t	   lda = (size_t) k + (size_t) (k % 8 ? ck_draw(0, 9) : 4 * ck_draw(0, 3)),
		   bytes = (size_t) (m * n) * 4;
	float	  *a = ck_take((size_t) m * lda * 4), *bias = ck_take((size_t) n * 4);
	float	  *got = ck_take(bytes), *wanted = ck_take(bytes), *before = ck_take(bytes);
	bool	   add = ck_draw(0, 1);
	glm_matmul op = {.a = a, .w = t.data, .c = wanted, .m = m, .n = n, .k = k, .lda = lda};
	char	   what[96];

	ck_fill(a, (size_t) m * lda);
	ck_fill(bias, (size_t) n);
	ck_fill(before, (size_t) (m * n));
	op.bias = ck_draw(0, 1) ? bias : NULL;
	op.ldc = (size_t) n;
	glm_kernels_scalar.matmul[t.dtype](&op, 0, n);
	if (add)
	{
		memcpy(got, before, bytes);
		glm_kernels_scalar.add(before, wanted, (size_t) (m * n));
		memcpy(wanted, before, bytes);
	}
	cuda_wide(&ck_launcher, &(wide_args){.c = got,
										 .ldc = (uint64_t) n,
										 .w = t.data,
										 .bias = op.bias,
										 .a = a,
										 .lda = lda,
										 .m = m,
										 .n = n,
										 .k = k,
										 .dtype = (int) t.dtype,
										 .add = add});
	snprintf(what, sizeof(what), "%s: m %d, n %d, k %d", glm_dtypes[t.dtype].name, m, n, k);
	ck_same_floats(what, got, wanted, (size_t) (m * n));
}

void
ck_wide(int times)
{
	for (int i = 0; i < times; i++)
	{
		/* in half of them rows begin where pieces of 16 bytes do */
		check_wide(ck_draw(1, 20), ck_draw(1, 90), i % 2 ? ck_draw(1, 300) : 8 * ck_draw(1, 40));
		ck_free_all();
	}
}
