/*
 * matmul.h - the loops around a matrix product's tiles, for each kernel file.
 *
 * A tile is a few rows of A times a few rows of W, all outputs of it in
 * registers while k runs.  The loops walk the tiles so that a few rows of W are
 * widened once for a block of A's rows, that block stays in the second-level
 * cache, and W comes from memory once for all of A.  The order of the tiles is
 * free: no output depends on another.
 *
 * Every M has tiles of 2 or 3 rows that fill the registers, and a lone row has
 * wider ones, so that no left-over row falls back to a slow path.
 *
 * The file that includes this defines before:
 *   TILE_COLUMNS      columns of C in a tile of 2 or 3 rows
 *   TILE_COLUMNS_ONE  columns of C in a tile of one row
 *   static void tile(const glm_matmul *op, glm_dtype dtype, int i, int j,
 *                    int rows, int columns)
 *                     computes C[i .. i + rows, j .. j + columns]; inlined,
 *                     dtype, rows and columns are constants
 */
#ifndef GLM_MATMUL_H
#define GLM_MATMUL_H

#define A_BLOCK_BYTES (384 * 1024)	/* most of a block of A's rows */
#define W_BLOCK_ROWS 64

/* `columns` of C from column j on, for the rows [i0, i1), at least two. */
static inline __attribute__((always_inline)) void
matmul_columns(const glm_matmul *op, glm_dtype dtype, int i0, int i1, int j, int columns)
{
	int			i = i0;

	while (i < i1)
	{
		int			left = i1 - i;

		if (left == 2 || left == 4)
		{
			tile(op, dtype, i, j, 2, columns);
			i += 2;
		}
		else
		{
			tile(op, dtype, i, j, 3, columns);
			i += 3;
		}
	}
}

static inline __attribute__((always_inline)) void
matmul_row(const glm_matmul *op, glm_dtype dtype, int i, int j0, int j1)
{
	int			j = j0;

	for (; j + TILE_COLUMNS_ONE <= j1; j += TILE_COLUMNS_ONE)
		tile(op, dtype, i, j, 1, TILE_COLUMNS_ONE);
	for (; j < j1; j++)
		tile(op, dtype, i, j, 1, 1);
}

static inline __attribute__((always_inline)) void
matmul_rows(const glm_matmul *op, glm_dtype dtype, int i0, int i1, int j0, int j1)
{
	int			j = j0;

	for (; j + TILE_COLUMNS <= j1; j += TILE_COLUMNS)
		matmul_columns(op, dtype, i0, i1, j, TILE_COLUMNS);
	for (; j < j1; j++)
		matmul_columns(op, dtype, i0, i1, j, 1);
}

static inline __attribute__((always_inline)) void
matmul(const glm_matmul *op, int n0, int n1, glm_dtype dtype)
{
	/* a multiple of 3 rows, so that only the last block has other tiles */
	size_t		triples = A_BLOCK_BYTES / (3 * sizeof(float) * (size_t) op->k);
	int			step = triples < 1 ? 3 : triples > 64 ? 192 : (int) triples * 3;

	for (int j0 = n0; j0 < n1; j0 += W_BLOCK_ROWS)
	{
		int			j1 = j0 + W_BLOCK_ROWS < n1 ? j0 + W_BLOCK_ROWS : n1;

		for (int i0 = 0; i0 < op->m; i0 += step)
		{
			int			i1 = i0 + step < op->m ? i0 + step : op->m;

			if (i1 - i0 == 1)
				matmul_row(op, dtype, i0, j0, j1);
			else
				matmul_rows(op, dtype, i0, i1, j0, j1);
		}
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

#endif							/* GLM_MATMUL_H */
