/*
 * weighted_sum.h - weighted sums of rows, both halves of attention, written once over
 * the register of the file that includes it.
 *
 * A tile is a few rows of Y times a few registers of their width, which rest in
 * registers while i runs over the rows of V: each row of V is read once for all
 * of the tile's rows.  What is left of the width is computed without vectors.
 * `kind` says at compile time what V holds.  Where several tiles read a V that is
 * not fp32, it may be widened once for all of them.
 *
 * The file that includes this defines before, besides what matmul.h wants:
 *   v_set(x)                  a register of this number
 *   v_multiply(a, b)          products
 *   v_codes(w)                VEC codes of 8 bits at w, widened
 *   WEIGHTED_ROWS             most rows of a tile, at most 16
 *   WEIGHTED_REGISTERS(rows)  registers of a row of it, at most 4
 *   WEIGHTED_SHARES_F16       do tiles share widened fp16, as they do int8?  It has to
 *                             cost more to widen than to store and load again
 */
#ifndef GLM_WEIGHTED_SUM_H
#define GLM_WEIGHTED_SUM_H

#include "engine/model/kv_layout.h"

#define WEIGHTED_WIDE (GLM_KV_BLOCK * 128) /* a block of keys or values of a head */

typedef enum value_kind
{
	VALUE_F32,
	VALUE_F16,
	VALUE_DOWN,	 /* GLM_I8, scales of columns */
	VALUE_ACROSS /* GLM_I8, scales of rows */
} value_kind;

INLINE size_t
value_size(value_kind kind)
{
	return kind == VALUE_F32 ? 4 : kind == VALUE_F16 ? 2 : 1;
}

/* The scale of V[i, d]; a register's begin at a multiple of VEC, so ACROSS has one for all. */
INLINE const float *
value_scale(const glm_weighted_sum *op, int i, int d, value_kind kind)
{
	if (kind == VALUE_DOWN)
		return op->scale + (size_t) (i / GLM_KV_GROUP) * (size_t) op->width + d;
	return op->scale + (size_t) i * (size_t) ((op->width + GLM_KV_GROUP - 1) / GLM_KV_GROUP) +
		   d / GLM_KV_GROUP;
}

/* V[i, d .. d + VEC) */
INLINE vec
value_load(const glm_weighted_sum *op, int i, int d, value_kind kind)
{
	const char *v =
		(const char *) op->v + ((size_t) i * (size_t) op->width + (size_t) d) * value_size(kind);

	if (kind == VALUE_F32)
		return v_widen(v, GLM_F32);
	if (kind == VALUE_F16)
		return v_widen(v, GLM_F16);
	if (kind == VALUE_DOWN)
		return v_multiply(v_codes(v), v_load(value_scale(op, i, d, kind)));
	return v_multiply(v_codes(v), v_set(*value_scale(op, i, d, kind)));
}

/*
 * Fetches `width` elements of `size` bytes from element `first` of next on, into the
 * second-level cache: on the way to the first they hinder what is computed.
 */
INLINE void
prefetch_values(const char *next, size_t first, int width, size_t size)
{
	for (size_t at = 0; at < (size_t) width * size; at += 64)
		__builtin_prefetch(next + first * size + at, 0, 2);
}

/*
 * Y[0 .. rows, d .. d + registers * VEC), p and y those of the first row; what is
 * read next has elements of next_size bytes
 */
INLINE void
weighted_tile(const glm_weighted_sum *op, float *y, const float *p, int d, value_kind kind,
			  size_t next_size, int rows, int registers)
{
	/* the first rows bring it for all */
	const char *next = p == op->p ? op->next : NULL;
	vec			acc[16][4];

	y += d;

#pragma GCC unroll 16
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int c = 0; c < registers; c++)
			acc[r][c] = v_zero();
	if (op->add)
#pragma GCC unroll 16
		for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
			for (int c = 0; c < registers; c++)
				acc[r][c] = v_load(y + (size_t) r * op->ldy + VEC * c);
	for (int i = 0; i < op->n; i++)
	{
		vec v[4];

		if (next != NULL)
			prefetch_values(next, (size_t) i * (size_t) op->width + (size_t) d, registers * VEC,
							next_size);

#pragma GCC unroll 4
		for (int c = 0; c < registers; c++)
		{
			v[c] = value_load(op, i, d + VEC * c, kind);
			if (rows > 1)
				v_keep(v[c]);
		}
#pragma GCC unroll 16
		for (int r = 0; r < rows; r++)
		{
			vec weight = v_set(p[(size_t) r * op->ldp + (size_t) i]);

#pragma GCC unroll 4
			for (int c = 0; c < registers; c++)
				acc[r][c] = v_fma(weight, v[c], acc[r][c]);
		}
	}
#pragma GCC unroll 16
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int c = 0; c < registers; c++)
			v_store(y + (size_t) r * op->ldy + VEC * c, acc[r][c]);
}

/* One element of Y; the definition. */
INLINE void
weighted_element(const glm_weighted_sum *op, float *y, const float *p, int d, value_kind kind)
{
	float sum = op->add ? y[d] : 0.0f;

	for (int i = 0; i < op->n; i++)
	{
		const size_t size = value_size(kind);
		char		 element[VEC * 4] = {0};
		float		 wide[VEC];

		memcpy(element,
			   (const char *) op->v + ((size_t) i * (size_t) op->width + (size_t) d) * size, size);
		if (kind == VALUE_F32 || kind == VALUE_F16)
			v_store(wide, v_widen(element, kind == VALUE_F32 ? GLM_F32 : GLM_F16));
		else
			wide[0] = (float) (signed char) element[0] * *value_scale(op, i, d, kind);
		sum = __builtin_fmaf(p[i], wide[0], sum);
	}
	y[d] = sum;
}

INLINE void
weighted_rows(const glm_weighted_sum *op, int r, value_kind kind, size_t next_size, int rows)
{
	const int	 registers = WEIGHTED_REGISTERS(rows);
	const float *p = op->p + (size_t) r * op->ldp;
	float		*y = op->y + (size_t) r * op->ldy;
	int			 d = 0;

	for (; d + registers * VEC <= op->width; d += registers * VEC)
		weighted_tile(op, y, p, d, kind, next_size, rows, registers);
	for (; d + VEC <= op->width; d += VEC)
		weighted_tile(op, y, p, d, kind, next_size, rows, 1);
	for (; d < op->width; d++)
		for (int i = 0; i < rows; i++)
			weighted_element(op, y + (size_t) i * op->ldy, p + (size_t) i * op->ldp, d, kind);
}

/*
 * What full tiles and the rest of the rows take are functions of their own for each
 * kind: GCC 12 runs out of registers for the rows' addresses where all are one.
 */
#define WEIGHTED_FUNCTION(name, kind, next_size)                                                   \
	static __attribute__((noinline)) void name##_full(const glm_weighted_sum *op, int r)           \
	{                                                                                              \
		weighted_rows(op, r, kind, next_size, WEIGHTED_ROWS);                                      \
	}                                                                                              \
	static __attribute__((noinline)) void name##_rest(const glm_weighted_sum *op, int r)           \
	{                                                                                              \
		for (; WEIGHTED_ROWS > 8 && r + 8 <= op->m; r += 8)                                        \
			weighted_rows(op, r, kind, next_size, 8);                                              \
		for (; r + 4 <= op->m; r += 4)                                                             \
			weighted_rows(op, r, kind, next_size, 4);                                              \
		if (op->m - r == 3)                                                                        \
			weighted_rows(op, r, kind, next_size, 3);                                              \
		else if (op->m - r == 2)                                                                   \
			weighted_rows(op, r, kind, next_size, 2);                                              \
		else if (op->m - r == 1)                                                                   \
			weighted_rows(op, r, kind, next_size, 1);                                              \
	}                                                                                              \
	static void name(const glm_weighted_sum *op)                                                   \
	{                                                                                              \
		int r = 0;                                                                                 \
                                                                                                   \
		for (; r + WEIGHTED_ROWS <= op->m; r += WEIGHTED_ROWS)                                     \
			name##_full(op, r);                                                                    \
		if (r < op->m)                                                                             \
			name##_rest(op, r);                                                                    \
	}

WEIGHTED_FUNCTION(weighted_f32, VALUE_F32, 4)
WEIGHTED_FUNCTION(weighted_f16, VALUE_F16, 2)
WEIGHTED_FUNCTION(weighted_down, VALUE_DOWN, 1)
WEIGHTED_FUNCTION(weighted_across, VALUE_ACROSS, 1)
WEIGHTED_FUNCTION(weighted_widened_f16, VALUE_F32, 2)
WEIGHTED_FUNCTION(weighted_widened_i8, VALUE_F32, 1)

/* Widens V for all tiles, which then take it for fp32. */
#define WEIGHTED_SHARED_FUNCTION(name, kind, tiles)                                                \
	static __attribute__((noinline)) void name(const glm_weighted_sum *op)                         \
	{                                                                                              \
		_Alignas(64) float wide[WEIGHTED_WIDE];                                                    \
		glm_weighted_sum   widened = *op;                                                          \
                                                                                                   \
		for (int i = 0; i < op->n; i++)                                                            \
			for (int d = 0; d < op->width; d += VEC)                                               \
				v_store(wide + i * op->width + d, value_load(op, i, d, kind));                     \
		widened.v = wide;                                                                          \
		tiles(&widened);                                                                           \
	}

WEIGHTED_SHARED_FUNCTION(weighted_shared_f16, VALUE_F16, weighted_widened_f16)
WEIGHTED_SHARED_FUNCTION(weighted_shared_down, VALUE_DOWN, weighted_widened_i8)
WEIGHTED_SHARED_FUNCTION(weighted_shared_across, VALUE_ACROSS, weighted_widened_i8)

static void
weighted_sum(const glm_weighted_sum *op)
{
	/* a V that several tiles read, and that fits into the first-level cache */
	bool shared =
		op->m > WEIGHTED_ROWS && op->width % VEC == 0 && op->n * op->width <= WEIGHTED_WIDE;

	if (op->dtype == GLM_F32)
		weighted_f32(op);
	else if (op->dtype == GLM_F16)
		(WEIGHTED_SHARES_F16 && shared ? weighted_shared_f16 : weighted_f16)(op);
	else if (op->down)
		(shared ? weighted_shared_down : weighted_down)(op);
	else
		(shared ? weighted_shared_across : weighted_across)(op);
}

#endif /* GLM_WEIGHTED_SUM_H */
