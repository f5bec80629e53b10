/*
 * weigh.h - weighted sums of rows, both halves of attention, written once over
 * the register of the file that includes it.
 *
 * A tile is a few rows of Y times a few registers of their width, which rest in
 * registers while i runs over the rows of V: each row of V is read once for all
 * of the tile's rows.  What is left of the width is computed without vectors.
 * `kind` says at compile time what V holds.
 *
 * The file that includes this defines before, besides what matmul.h wants:
 *   v_set(x)               a register of this number
 *   v_multiply(a, b)       products
 *   v_codes(w)             VEC codes of 8 bits at w, widened
 *   WEIGH_ROWS             most rows of a tile, at most 8
 *   WEIGH_REGISTERS(rows)  registers of a row of it, at most 4
 */
#ifndef GLM_WEIGH_H
#define GLM_WEIGH_H

typedef enum weigh_kind
{
	WEIGH_F32,
	WEIGH_F16,
	WEIGH_DOWN,	 /* GLM_I8, scales of columns */
	WEIGH_ACROSS /* GLM_I8, scales of rows */
} weigh_kind;

INLINE size_t
weigh_size(weigh_kind kind)
{
	return kind == WEIGH_F32 ? 4 : kind == WEIGH_F16 ? 2 : 1;
}

/* The scale of V[i, d]; a register's begin at a multiple of VEC, so ACROSS has one for all. */
INLINE const float *
weigh_scale(const glm_weigh *op, int i, int d, weigh_kind kind)
{
	if (kind == WEIGH_DOWN)
		return op->scale + (size_t) (i / GLM_KV_GROUP) * (size_t) op->width + d;
	return op->scale + (size_t) i * (size_t) ((op->width + GLM_KV_GROUP - 1) / GLM_KV_GROUP) +
		   d / GLM_KV_GROUP;
}

/* V[i, d .. d + VEC) */
INLINE vec
weigh_load(const glm_weigh *op, int i, int d, weigh_kind kind)
{
	const char *v = (const char *) op->v + ((size_t) i * (size_t) op->width + (size_t) d) * weigh_size(kind);

	if (kind == WEIGH_F32)
		return v_widen(v, GLM_F32);
	if (kind == WEIGH_F16)
		return v_widen(v, GLM_F16);
	if (kind == WEIGH_DOWN)
		return v_multiply(v_codes(v), v_load(weigh_scale(op, i, d, kind)));
	return v_multiply(v_codes(v), v_set(*weigh_scale(op, i, d, kind)));
}

/* Y[0 .. rows, d .. d + registers * VEC), p and y those of the first row */
INLINE void
weigh_tile(const glm_weigh *op, float *y, const float *p, int d, weigh_kind kind, int rows,
		   int registers)
{
	/* the first rows bring it for all */
	const char *next = p == op->p ? op->next : NULL;
	vec			acc[8][4];

	y += d;

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
	for (int i = 0; i < op->n; i++)
	{
		vec row[4];

		if (next != NULL)
			__builtin_prefetch(next + ((size_t) i * (size_t) op->width + (size_t) d) * weigh_size(kind));

#pragma GCC unroll 4
		for (int c = 0; c < registers; c++)
		{
			row[c] = weigh_load(op, i, d + VEC * c, kind);
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
weigh_element(const glm_weigh *op, float *y, const float *p, int d, weigh_kind kind)
{
	float sum = op->add ? y[d] : 0.0f;

	for (int i = 0; i < op->n; i++)
	{
		const size_t size = weigh_size(kind);
		char		 element[VEC * 4] = {0};
		float		 wide[VEC];

		memcpy(element, (const char *) op->v + ((size_t) i * (size_t) op->width + (size_t) d) * size, size);
		if (kind == WEIGH_F32 || kind == WEIGH_F16)
			v_store(wide, v_widen(element, kind == WEIGH_F32 ? GLM_F32 : GLM_F16));
		else
			wide[0] = (float) (signed char) element[0] * *weigh_scale(op, i, d, kind);
		sum = __builtin_fmaf(p[i], wide[0], sum);
	}
	y[d] = sum;
}

INLINE void
weigh_rows(const glm_weigh *op, int r, weigh_kind kind, int rows)
{
	const int	 registers = WEIGH_REGISTERS(rows);
	const float *p = op->p + (size_t) r * op->ldp;
	float		*y = op->y + (size_t) r * op->ldy;
	int			 d = 0;

	for (; d + registers * VEC <= op->width; d += registers * VEC)
		weigh_tile(op, y, p, d, kind, rows, registers);
	for (; d + VEC <= op->width; d += VEC)
		weigh_tile(op, y, p, d, kind, rows, 1);
	for (; d < op->width; d++)
		for (int i = 0; i < rows; i++)
			weigh_element(op, y + (size_t) i * op->ldy, p + (size_t) i * op->ldp, d, kind);
}

INLINE void
weigh_kinds(const glm_weigh *op, weigh_kind kind)
{
	int r = 0;

	for (; r + WEIGH_ROWS <= op->m; r += WEIGH_ROWS)
		weigh_rows(op, r, kind, WEIGH_ROWS);
	for (; r + 4 <= op->m; r += 4)
		weigh_rows(op, r, kind, 4);
	if (op->m - r == 3)
		weigh_rows(op, r, kind, 3);
	else if (op->m - r == 2)
		weigh_rows(op, r, kind, 2);
	else if (op->m - r == 1)
		weigh_rows(op, r, kind, 1);
}

static void
weigh(const glm_weigh *op)
{
	if (op->dtype == GLM_F32)
		weigh_kinds(op, WEIGH_F32);
	else if (op->dtype == GLM_F16)
		weigh_kinds(op, WEIGH_F16);
	else if (op->down)
		weigh_kinds(op, WEIGH_DOWN);
	else
		weigh_kinds(op, WEIGH_ACROSS);
}

#endif /* GLM_WEIGH_H */
