/*
 * weigh.h - weighted sums of rows, both halves of attention, written once over
 * the register of the file that includes it.
 *
 * A tile is a few rows of Y times a few registers of their width, which rest in
 * registers while i runs over the rows of V: each row of V is read once for all
 * of the tile's rows.  What is left of the width is computed without vectors.
 *
 * The file that includes this defines before, besides what matmul.h wants:
 *   v_set(x)               a register of this number
 *   WEIGH_ROWS             most rows of a tile, at most 8
 *   WEIGH_REGISTERS(rows)  registers of a row of it, at most 4
 */
#ifndef GLM_WEIGH_H
#define GLM_WEIGH_H

/* Y[0 .. rows, 0 .. registers * VEC) */
INLINE void
weigh_tile(const glm_weigh *op, float *y, const float *p, const char *v, glm_dtype dtype, int rows,
		   int registers)
{
	const size_t v_row = (size_t) op->width * dtype_size(dtype);
	vec			 acc[8][4];

#pragma GCC unroll 8
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int c = 0; c < registers; c++)
			acc[r][c] = v_zero();
	if (op->add)
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
			for (int c = 0; c < registers; c++)
				acc[r][c] = v_load(y + (size_t) r * op->ldy + VEC * c);
	for (int i = 0; i < op->n; i++, v += v_row)
	{
		vec row[4];

#pragma GCC unroll 4
		for (int c = 0; c < registers; c++)
		{
			row[c] = v_widen(v + (size_t) (VEC * c) * dtype_size(dtype), dtype);
			if (rows > 1)
				v_keep(row[c]);
		}
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++)
		{
			vec weight = v_set(p[(size_t) r * op->ldp + (size_t) i]);

#pragma GCC unroll 4
			for (int c = 0; c < registers; c++)
				acc[r][c] = v_fma(weight, row[c], acc[r][c]);
		}
	}
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int c = 0; c < registers; c++)
			v_store(y + (size_t) r * op->ldy + VEC * c, acc[r][c]);
}

/* One element of Y; the definition. */
INLINE void
weigh_element(const glm_weigh *op, float *y, const float *p, const char *v, glm_dtype dtype)
{
	const size_t v_row = (size_t) op->width * dtype_size(dtype);
	float		 sum = op->add ? *y : 0.0f;

	for (int i = 0; i < op->n; i++)
	{
		char  element[VEC * 4] = {0};
		float wide[VEC];

		memcpy(element, v + (size_t) i * v_row, dtype_size(dtype));
		v_store(wide, v_widen(element, dtype));
		sum = __builtin_fmaf(p[i], wide[0], sum);
	}
	*y = sum;
}

INLINE void
weigh_rows(const glm_weigh *op, int r, glm_dtype dtype, int rows)
{
	const int	 registers = WEIGH_REGISTERS(rows);
	const float *p = op->p + (size_t) r * op->ldp;
	float		*y = op->y + (size_t) r * op->ldy;
	const char	*v = op->v;
	int			 d = 0;

	for (; d + registers * VEC <= op->width; d += registers * VEC)
		weigh_tile(op, y + d, p, v + (size_t) d * dtype_size(dtype), dtype, rows, registers);
	for (; d + VEC <= op->width; d += VEC)
		weigh_tile(op, y + d, p, v + (size_t) d * dtype_size(dtype), dtype, rows, 1);
	for (; d < op->width; d++)
		for (int i = 0; i < rows; i++)
			weigh_element(op, y + (size_t) i * op->ldy + d, p + (size_t) i * op->ldp,
						  v + (size_t) d * dtype_size(dtype), dtype);
}

INLINE void
weigh_typed(const glm_weigh *op, glm_dtype dtype)
{
	int r = 0;

	for (; r + WEIGH_ROWS <= op->m; r += WEIGH_ROWS)
		weigh_rows(op, r, dtype, WEIGH_ROWS);
	for (; r + 4 <= op->m; r += 4)
		weigh_rows(op, r, dtype, 4);
	if (op->m - r == 3)
		weigh_rows(op, r, dtype, 3);
	else if (op->m - r == 2)
		weigh_rows(op, r, dtype, 2);
	else if (op->m - r == 1)
		weigh_rows(op, r, dtype, 1);
}

static void
weigh(const glm_weigh *op)
{
	if (op->dtype == GLM_F32)
		weigh_typed(op, GLM_F32);
	else
		weigh_typed(op, GLM_F16);
}

#endif /* GLM_WEIGH_H */
