/*
 * matmul.h - the matrix product of every vector table, written once over the
 * register of the file that includes it.
 *
 * A tile is a few rows of A times a few rows of W, with the 16 lanes of each
 * output in registers while k runs; the lanes of all of a tile's outputs are
 * added together, transposing on the way, because at small K as many additions
 * would go into those sums as into the products.  Where a register holds fewer
 * than 16 lanes, a tile of many outputs makes several passes, some of the lanes
 * each: that reads more than all lanes at once, but from the first-level cache,
 * and needs half the loads for a multiply-add.
 *
 * For a few rows W is widened as it is read.  More share a panel of a few rows of W
 * that is copied and widened once, K_CHUNK columns at a time so that it stays in the
 * first-level cache; between chunks the lanes rest in memory.  Rows that are left over
 * have lower and wider tiles, which keep the registers as full.  When columns run out a
 * tile computes its last one several times.  The order of the tiles is free: no output
 * depends on another.
 *
 * The file that includes this defines before:
 *   vec, VEC                  a register and how many floats it holds
 *   v_zero, v_load, v_store   any address will do
 *   v_fma(a, b, c)            a * b + c
 *   v_widen(w, dtype)         VEC elements of W from any address
 *   v_keep(x)                 makes the compiler load x once, not at each use
 *   TILE_ROWS                 most rows of a tile, at most 4
 *   LOW_ROWS                  up to so many rows W is better widened as it is read
 *   TILE_COLUMNS(rows)        columns of one, at most 16
 *   TILE_REGISTERS(rows)      registers of an output that are computed at a time
 *   SUMS, sums(out, acc)      adds the lanes of SUMS outputs, acc [SUMS][REGISTERS]
 *   v_reduce(acc)             adds the lanes of one, acc [REGISTERS]
 */
#ifndef GLM_MATMUL_H
#define GLM_MATMUL_H

#include <string.h>
#include "engine/weights/weights.h"

#define REGISTERS (GLM_LANES / VEC)

/*
 * Panel, lanes and a tile's rows of A share the first-level cache, the block of
 * A's rows has the second.
 */
#define PANEL_COLUMNS(rows) ((rows) < 16 ? 16 : 8)
#define PANEL_MOST 16
#define LOW_BYTES (64 * 1024) /* of W, that a few rows walk over together */
#define K_WHOLE 512			  /* k up to this is one chunk */
#define K_CHUNK 384
#define BLOCK_ROWS 64
#define BLOCK_BYTES (1024 * 1024)
#define PANEL_STRIDE (K_WHOLE + GLM_LANES) /* no power of two: rows in different cache sets */

/* A tile's operands; its rows, columns and dtype are constants of the code. */
typedef struct tile_args
{
	const float *a; /* [rows, k], rows lda floats apart */
	size_t		 lda;
	const char	*w; /* [n, k], rows w_stride bytes apart */
	size_t		 w_stride;
	int			 n; /* columns that exist, at least one */
	int			 k;
	float		*lanes; /* [rows * columns][16]: where the sums rest */
	bool		 first; /* the lanes begin at 0 */
	bool		 last;	/* the sums are wanted */
	float		*c;		/* [rows, n], rows ldc floats apart */
	size_t		 ldc;
	const float *bias; /* [n] or NULL */
} tile_args;

INLINE size_t
dtype_size(glm_dtype dtype)
{
	return dtype == GLM_F32 ? 4 : 2;
}

/* acc[r * columns + c][q] += a[r] * w[c]: `run` columns, `registers` registers of lanes */
INLINE void
tile_step(vec acc[16][REGISTERS], const float *const a[4], const char *const w[8], glm_dtype dtype,
		  int rows, int columns, int run, int registers)
{
#pragma GCC unroll 4
	for (int q = 0; q < registers; q++)
	{
		vec x[4];

#pragma GCC unroll 4
		for (int r = 0; r < rows; r++)
			x[r] = v_load(a[r] + VEC * q);
#pragma GCC unroll 8
		for (int c = 0; c < run; c++)
		{
			vec wide = v_widen(w[c] + (size_t) (VEC * q) * dtype_size(dtype), dtype);

			if (rows > 1)
				v_keep(wide);
#pragma GCC unroll 4
			for (int r = 0; r < rows; r++)
				acc[r * columns + c][q] = v_fma(x[r], wide, acc[r * columns + c][q]);
		}
	}
}

/*
 * The last, incomplete step of k, made whole with zeros, for lanes that rest in
 * memory.  Apart from the tile, so that the registers there are all its own.
 */
static __attribute__((noinline)) void
tile_tail(const tile_args *t, glm_dtype dtype, int rows, int columns)
{
	const size_t size = dtype_size(dtype);
	int			 k0 = t->k / GLM_LANES * GLM_LANES, left = t->k - k0;
	vec			 x[4][REGISTERS];

	for (int r = 0; r < rows; r++)
	{
		float whole[GLM_LANES] = {0};

		memcpy(whole, t->a + (size_t) r * t->lda + k0, (size_t) left * sizeof(float));
		for (int q = 0; q < REGISTERS; q++)
			x[r][q] = v_load(whole + VEC * q);
	}
	for (int c = 0; c < columns && c < t->n; c++)
	{
		float whole[GLM_LANES] = {0}; /* room for any dtype */

		memcpy(whole, t->w + (size_t) c * t->w_stride + (size_t) k0 * size, (size_t) left * size);
		for (int q = 0; q < REGISTERS; q++)
		{
			vec wide = v_widen((const char *) whole + (size_t) (VEC * q) * size, dtype);

			for (int r = 0; r < rows; r++)
			{
				float *lane = t->lanes + (r * columns + c) * GLM_LANES + VEC * q;

				v_store(lane, v_fma(x[r][q], wide, v_load(lane)));
			}
		}
	}
}

/* All whole steps of k for `run` columns from c0 on and the lanes of `registers` registers from q0 on. */
INLINE void
tile_run(vec acc[16][REGISTERS], const tile_args *t, glm_dtype dtype, int rows, int columns, int c0,
		 int run, int q0, int registers)
{
	const size_t size = dtype_size(dtype);
	const float *a[4];
	const char	*w[8];

#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
		a[r] = t->a + (size_t) r * t->lda + VEC * q0;
#pragma GCC unroll 8
	for (int c = 0; c < run; c++)
	{
		int column = c0 + c < t->n ? c0 + c : t->n - 1;

		w[c] = t->w + (size_t) column * t->w_stride + (size_t) (VEC * q0) * size;
	}
	for (int k = t->k; k >= GLM_LANES; k -= GLM_LANES)
	{
		tile_step(acc, a, w, dtype, rows, columns, run, registers);
#pragma GCC unroll 4
		for (int r = 0; r < rows; r++)
			a[r] += GLM_LANES;
#pragma GCC unroll 8
		for (int c = 0; c < run; c++)
			w[c] += GLM_LANES * size;
	}
}

/* Sums of lanes that rest in memory. */
INLINE void
sum_lanes(float *out, const float *lanes, int outputs)
{
	for (int i = 0; i < outputs; i += SUMS)
	{
		vec acc[SUMS][REGISTERS];

#pragma GCC unroll 16
		for (int s = 0; s < SUMS; s++)
		{
			int from = i + s < outputs ? i + s : outputs - 1;

#pragma GCC unroll 4
			for (int q = 0; q < REGISTERS; q++)
				acc[s][q] = v_load(lanes + from * GLM_LANES + VEC * q);
		}
		sums(out + i, acc);
	}
}

/* Sums into C, rows of out `columns` floats apart. */
INLINE void
tile_write(const tile_args *t, const float *out, int rows, int columns)
{
	int n = t->n < columns ? t->n : columns;

#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
	{
		float *c = t->c + (size_t) r * t->ldc;

		if (n == columns && t->bias == NULL)
			memcpy(c, out + r * columns, (size_t) columns * sizeof(float));
		else
			for (int j = 0; j < n; j++)
				c[j] = t->bias ? out[r * columns + j] + t->bias[j] : out[r * columns + j];
	}
}

INLINE void
tile(const tile_args *t, glm_dtype dtype, int rows, int columns, int registers)
{
	const int outputs = rows * columns;
	const int run = columns < 8 ? columns : 8;
	bool	  rest = t->k % GLM_LANES != 0;
	float	  out[16];
	vec		  acc[16][REGISTERS];

#pragma GCC unroll 4
	for (int q0 = 0; q0 < REGISTERS; q0 += registers)
	{
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
#pragma GCC unroll 4
			for (int q = 0; q < registers; q++)
				acc[i][q] = v_zero();
		if (!t->first)
#pragma GCC unroll 16
			for (int i = 0; i < outputs; i++)
#pragma GCC unroll 4
				for (int q = 0; q < registers; q++)
					acc[i][q] = v_load(t->lanes + i * GLM_LANES + VEC * (q0 + q));
#pragma GCC unroll 2
		for (int c0 = 0; c0 < columns; c0 += run)
			tile_run(acc + c0, t, dtype, rows, columns, c0, run, q0, registers);
		if (registers < REGISTERS || !t->last || rest)
		{
#pragma GCC unroll 16
			for (int i = 0; i < outputs; i++)
#pragma GCC unroll 4
				for (int q = 0; q < registers; q++)
					v_store(t->lanes + i * GLM_LANES + VEC * (q0 + q), acc[i][q]);
			/* there, not in registers that the next pass wants */
			__asm__ volatile("" : : "r"(t->lanes) : "memory");
		}
	}
	if (rest)
	{
		tile_args copy = *t; /* so that t itself can live in registers */

		tile_tail(&copy, dtype, rows, columns);
	}
	if (!t->last)
		return;
	if (registers < REGISTERS || rest)
		sum_lanes(out, t->lanes, outputs);
	else
	{
#pragma GCC unroll 4
		for (int i = 0; i < 16; i += SUMS)
			if (i < outputs)
				sums(out + i, acc + i);
	}
	tile_write(t, out, rows, columns);
}

/* ---- A few rows ----------------------------------------------------------- */

INLINE void
matmul_low(const glm_matmul *op, int n0, int n1, glm_dtype dtype, int rows)
{
	float	  lanes[16 * GLM_LANES];
	tile_args t = {.a = op->a,
				   .lda = op->lda,
				   .w_stride = (size_t) op->k * dtype_size(dtype),
				   .k = op->k,
				   .lanes = lanes,
				   .first = true,
				   .last = true,
				   .ldc = op->ldc};

	for (int j = n0; j < n1; j += TILE_COLUMNS(rows))
	{
		t.w = (const char *) op->w + (size_t) j * t.w_stride;
		t.n = n1 - j;
		t.c = op->c + j;
		t.bias = op->bias ? op->bias + j : NULL;
		tile(&t, dtype, rows, TILE_COLUMNS(rows), TILE_REGISTERS(rows));
	}
}

/* ---- Many rows: blocks of rows, panels of columns, chunks of k ------------- */

/* y [n, PANEL_STRIDE] = the columns [k0, k0 + k) of n rows of W */
INLINE void
widen_panel(float *y, const char *w, size_t w_stride, int n, int k, glm_dtype dtype)
{
	const size_t size = dtype_size(dtype);

	for (int r = 0; r < n; r++, w += w_stride, y += PANEL_STRIDE)
	{
		int i = 0;

		for (; i + GLM_LANES <= k; i += GLM_LANES)
#pragma GCC unroll 4
			for (int q = 0; q < GLM_LANES; q += VEC)
				v_store(y + i + q, v_widen(w + (size_t) (i + q) * size, dtype));
		if (i < k)
		{
			float whole[GLM_LANES] = {0};

			memcpy(whole, w + (size_t) i * size, (size_t) (k - i) * size);
			for (int q = 0; q < GLM_LANES; q += VEC)
				v_store(y + i + q, v_widen((const char *) whole + (size_t) q * size, dtype));
		}
	}
}

/* Asks for n rows of W, `bytes` of each, that will be widened next. */
INLINE void
prefetch_rows(const char *w, size_t w_stride, int n, size_t bytes)
{
	for (int r = 0; r < n; r++)
		for (size_t i = 0; i < bytes; i += 64)
			__builtin_prefetch(w + (size_t) r * w_stride + i);
}

/* The panel's columns for the rows of a tile that is `rows` high. */
INLINE void
panel_rows(tile_args t, int rows)
{
	const int	columns = TILE_COLUMNS(rows);
	float	   *c = t.c, *lanes = t.lanes;
	const char *w = t.w;
	int			n = t.n;

	for (int j = 0; j < n; j += columns)
	{
		t.w = w + (size_t) j * t.w_stride;
		t.n = n - j;
		t.c = c + j;
		t.lanes = lanes + rows * j * GLM_LANES;
		tile(&t, GLM_F32, rows, columns, TILE_REGISTERS(rows));
		t.bias = t.bias ? t.bias + columns : NULL;
	}
}

/* One chunk of k for m rows and the fp32 panel t.w; each tile has lanes of its own. */
static void
panel_chunk(tile_args t, int m)
{
	int i = 0, panel = PANEL_COLUMNS(m);

	for (; i + TILE_ROWS <= m; i += TILE_ROWS)
	{
		panel_rows(t, TILE_ROWS);
		t.a += TILE_ROWS * t.lda;
		t.c += TILE_ROWS * t.ldc;
		t.lanes += TILE_ROWS * panel * GLM_LANES;
	}
	if (m - i == 1)
		panel_rows(t, 1);
	else if (m - i == 2)
		panel_rows(t, 2);
	else if (m - i == 3)
		panel_rows(t, 3);
}

/* The rows of op against its columns [j, j + n), those of a panel; n1 is where all end. */
INLINE void
matmul_panel(const glm_matmul *op, int j, int n, int n1, glm_dtype dtype)
{
	const size_t row_bytes = (size_t) op->k * dtype_size(dtype);
	const char	*w = (const char *) op->w + (size_t) j * row_bytes;
	const int	 most = op->k <= K_WHOLE ? K_WHOLE : K_CHUNK;
	float		 panel[PANEL_MOST * PANEL_STRIDE];
	float		 lanes[(BLOCK_ROWS * 8 + 16) * GLM_LANES]; /* the last tile may be wider */
	tile_args	 t = {.a = op->a,
					  .lda = op->lda,
					  .w = (const char *) panel,
					  .w_stride = PANEL_STRIDE * sizeof(float),
					  .n = n,
					  .lanes = lanes,
					  .c = op->c + j,
					  .ldc = op->ldc,
					  .bias = op->bias ? op->bias + j : NULL};

	for (int k0 = 0; k0 < op->k; k0 += t.k)
	{
		const char *chunk = w + (size_t) k0 * dtype_size(dtype);

		t.k = op->k - k0 <= most ? op->k - k0 : K_CHUNK;
		t.first = k0 == 0;
		t.last = k0 + t.k == op->k;
		t.a = op->a + k0;
		if (dtype == GLM_F32 && t.k == op->k)
		{
			t.w = chunk;
			t.w_stride = row_bytes;
		}
		else
			widen_panel(panel, chunk, row_bytes, n, t.k, dtype);
		/* while this one is multiplied; far rows are beyond the prefetcher */
		if (!t.last)
			prefetch_rows(chunk + (size_t) t.k * dtype_size(dtype), row_bytes, n,
						  (size_t) t.k * dtype_size(dtype));
		else if (k0 > 0 && j + 2 * n <= n1)
			prefetch_rows(w + (size_t) n * row_bytes, row_bytes, n, K_CHUNK * dtype_size(dtype));
		panel_chunk(t, op->m);
	}
}

INLINE void
matmul_high(const glm_matmul *op, int n0, int n1, glm_dtype dtype)
{
	glm_matmul block = *op;
	int		   panel;
	int		   most = BLOCK_BYTES / (op->k * (int) sizeof(float)) / TILE_ROWS * TILE_ROWS;

	most = most > BLOCK_ROWS ? BLOCK_ROWS : most < 4 * TILE_ROWS ? 4 * TILE_ROWS : most;
	for (int i = 0, left = (op->m + most - 1) / most; left > 0; left--)
	{
		block.a = op->a + (size_t) i * op->lda;
		block.c = op->c + (size_t) i * op->ldc;
		block.m = (op->m - i + left - 1) / left;
		panel = PANEL_COLUMNS(block.m);
		for (int j = n0; j < n1; j += panel)
			matmul_panel(&block, j, n1 - j < panel ? n1 - j : panel, n1, dtype);
		i += block.m;
	}
}

/* All rows of op, as many as are a tile's height or fewer, against [n0, n1). */
INLINE void
matmul_tile_high(const glm_matmul *op, int n0, int n1, glm_dtype dtype)
{
	if (op->m == 1)
		matmul_low(op, n0, n1, dtype, 1);
	else if (op->m == 2)
		matmul_low(op, n0, n1, dtype, 2);
	else if (op->m == 3 && LOW_ROWS >= 3)
		matmul_low(op, n0, n1, dtype, 3);
	else if (op->m == 4 && LOW_ROWS >= 4)
		matmul_low(op, n0, n1, dtype, 4);
}

INLINE void
matmul(const glm_matmul *op, int n0, int n1, glm_dtype dtype)
{
	glm_matmul slice = *op;
	int		   columns = LOW_BYTES / (op->k * (int) dtype_size(dtype)) / 16 * 16;

	if (op->m > LOW_ROWS)
	{
		matmul_high(op, n0, n1, dtype);
		return;
	}
	if (op->m <= TILE_ROWS)
		columns = n1 - n0; /* which nobody walks over again */
	columns = columns < 16 ? 16 : columns;
	for (int j = n0; j < n1; j += columns)
		for (int i = 0; i < op->m; i += TILE_ROWS)
		{
			slice.a = op->a + (size_t) i * op->lda;
			slice.c = op->c + (size_t) i * op->ldc;
			slice.m = op->m - i < TILE_ROWS ? op->m - i : TILE_ROWS;
			matmul_tile_high(&slice, j, n1 - j < columns ? n1 : j + columns, dtype);
		}
}

static void
matmul_f32(const glm_matmul *op, int n0, int n1)
{
	matmul(op, n0, n1, GLM_F32);
}

static void
matmul_f16(const glm_matmul *op, int n0, int n1)
{
	matmul(op, n0, n1, GLM_F16);
}

static void
matmul_bf16(const glm_matmul *op, int n0, int n1)
{
	matmul(op, n0, n1, GLM_BF16);
}

#endif /* GLM_MATMUL_H */
