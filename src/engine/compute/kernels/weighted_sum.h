/*
 * weigh.h - weighted sums of rows, both halves of attention, written once over
 * the register of the file that includes it.
 *
 * A tile is a few rows of Y times a few registers of their width, which rest in
 * registers while i runs over the rows of V: each row of V is read once for all
 * of the tile's rows.  What is left of the width is computed without vectors.
 * `kind` says at compile time what V holds.  Where several tiles read a V that is
 * not fp32, it may be widened once for all of them.
 *
 * The file that includes this defines before, besides what matmul.h wants:
 *   v_set(x)               a register of this number
 *   v_multiply(a, b)       products
 *   v_codes(w)             VEC codes of 8 bits at w, widened
 *   WEIGH_ROWS             most rows of a tile, at most 16
 *   WEIGH_REGISTERS(rows)  registers of a row of it, at most 4
 *   WEIGH_SHARES_F16       do tiles share widened fp16, as they do int8?  It has to cost
 *                          more to widen than to store and load again
 */
#ifndef GLM_WEIGH_H
#define GLM_WEIGH_H

#include "engine/model/kv_layout.h"

#define WEIGH_WIDE (GLM_KV_BLOCK * 128) /* a block of keys or values of a head */

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
	const char *v =
		(const char *) op->v + ((size_t) i * (size_t) op->width + (size_t) d) * weigh_size(kind);

	if (kind == WEIGH_F32)
		return v_widen(v, GLM_F32);
	if (kind == WEIGH_F16)
		return v_widen(v, GLM_F16);
	if (kind == WEIGH_DOWN)
		return v_multiply(v_codes(v), v_load(weigh_scale(op, i, d, kind)));
	return v_multiply(v_codes(v), v_set(*weigh_scale(op, i, d, kind)));
}

/*
 * Fetches `width` elements of `size` bytes from element `first` of next on, into the
 * second-level cache: on the way to the first they hinder what is computed.
 */
INLINE void
weigh_fetch(const char *next, size_t first, int width, size_t size)
{
	for (size_t at = 0; at < (size_t) width * size; at += 64)
		__builtin_prefetch(next + first * size + at, 0, 2);
}

/*
 * Y[0 .. rows, d .. d + registers * VEC), p and y those of the first row; what is
 * read next has elements of next_size bytes
 */
INLINE void
weigh_tile(const glm_weigh *op, float *y, const float *p, int d, weigh_kind kind, size_t next_size,
		   int rows, int registers)
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
		vec row[4];

		if (next != NULL)
			weigh_fetch(next, (size_t) i * (size_t) op->width + (size_t) d, registers * VEC,
						next_size);

#pragma GCC unroll 4
		for (int c = 0; c < registers; c++)
		{
			row[c] = weigh_load(op, i, d + VEC * c, kind);
			if (rows > 1)
				v_keep(row[c]);
		}
#pragma GCC unroll 16
		for (int r = 0; r < rows; r++)
		{
			vec weight = v_set(p[(size_t) r * op->ldp + (size_t) i]);

#pragma GCC unroll 4
			for (int c = 0; c < registers; c++)
				acc[r][c] = v_fma(weight, row[c], acc[r][c]);
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
weigh_element(const glm_weigh *op, float *y, const float *p, int d, weigh_kind kind)
{
	float sum = op->add ? y[d] : 0.0f;

	for (int i = 0; i < op->n; i++)
	{
		const size_t size = weigh_size(kind);
		char		 element[VEC * 4] = {0};
		float		 wide[VEC];

		memcpy(element,
			   (const char *) op->v + ((size_t) i * (size_t) op->width + (size_t) d) * size, size);
		if (kind == WEIGH_F32 || kind == WEIGH_F16)
			v_store(wide, v_widen(element, kind == WEIGH_F32 ? GLM_F32 : GLM_F16));
		else
			wide[0] = (float) (signed char) element[0] * *weigh_scale(op, i, d, kind);
		sum = __builtin_fmaf(p[i], wide[0], sum);
	}
	y[d] = sum;
}

INLINE void
weigh_rows(const glm_weigh *op, int r, weigh_kind kind, size_t next_size, int rows)
{
	const int	 registers = WEIGH_REGISTERS(rows);
	const float *p = op->p + (size_t) r * op->ldp;
	float		*y = op->y + (size_t) r * op->ldy;
	int			 d = 0;

	for (; d + registers * VEC <= op->width; d += registers * VEC)
		weigh_tile(op, y, p, d, kind, next_size, rows, registers);
	for (; d + VEC <= op->width; d += VEC)
		weigh_tile(op, y, p, d, kind, next_size, rows, 1);
	for (; d < op->width; d++)
		for (int i = 0; i < rows; i++)
			weigh_element(op, y + (size_t) i * op->ldy, p + (size_t) i * op->ldp, d, kind);
}

/*
 * What full tiles and the rest of the rows take are functions of their own for each
 * kind: GCC 12 runs out of registers for the rows' addresses where all are one.
 */
#define WEIGH_FUNCTION(name, kind, next_size)                                                      \
	static __attribute__((noinline)) void name##_full(const glm_weigh *op, int r)                  \
	{                                                                                              \
		weigh_rows(op, r, kind, next_size, WEIGH_ROWS);                                            \
	}                                                                                              \
	static __attribute__((noinline)) void name##_rest(const glm_weigh *op, int r)                  \
	{                                                                                              \
		for (; WEIGH_ROWS > 8 && r + 8 <= op->m; r += 8)                                           \
			weigh_rows(op, r, kind, next_size, 8);                                                 \
		for (; r + 4 <= op->m; r += 4)                                                             \
			weigh_rows(op, r, kind, next_size, 4);                                                 \
		if (op->m - r == 3)                                                                        \
			weigh_rows(op, r, kind, next_size, 3);                                                 \
		else if (op->m - r == 2)                                                                   \
			weigh_rows(op, r, kind, next_size, 2);                                                 \
		else if (op->m - r == 1)                                                                   \
			weigh_rows(op, r, kind, next_size, 1);                                                 \
	}                                                                                              \
	static void name(const glm_weigh *op)                                                          \
	{                                                                                              \
		int r = 0;                                                                                 \
                                                                                                   \
		for (; r + WEIGH_ROWS <= op->m; r += WEIGH_ROWS)                                           \
			name##_full(op, r);                                                                    \
		if (r < op->m)                                                                             \
			name##_rest(op, r);                                                                    \
	}

WEIGH_FUNCTION(weigh_f32, WEIGH_F32, 4)
WEIGH_FUNCTION(weigh_f16, WEIGH_F16, 2)
WEIGH_FUNCTION(weigh_down, WEIGH_DOWN, 1)
WEIGH_FUNCTION(weigh_across, WEIGH_ACROSS, 1)
WEIGH_FUNCTION(weigh_widened_f16, WEIGH_F32, 2)
WEIGH_FUNCTION(weigh_widened_i8, WEIGH_F32, 1)

/* Widens V for all tiles, which then take it for fp32. */
#define WEIGH_SHARED_FUNCTION(name, kind, tiles)                                                   \
	static __attribute__((noinline)) void name(const glm_weigh *op)                                \
	{                                                                                              \
		_Alignas(64) float wide[WEIGH_WIDE];                                                       \
		glm_weigh		   widened = *op;                                                          \
                                                                                                   \
		for (int i = 0; i < op->n; i++)                                                            \
			for (int d = 0; d < op->width; d += VEC)                                               \
				v_store(wide + i * op->width + d, weigh_load(op, i, d, kind));                     \
		widened.v = wide;                                                                          \
		tiles(&widened);                                                                           \
	}

WEIGH_SHARED_FUNCTION(weigh_shared_f16, WEIGH_F16, weigh_widened_f16)
WEIGH_SHARED_FUNCTION(weigh_shared_down, WEIGH_DOWN, weigh_widened_i8)
WEIGH_SHARED_FUNCTION(weigh_shared_across, WEIGH_ACROSS, weigh_widened_i8)

static void
weigh(const glm_weigh *op)
{
	/* a V that several tiles read, and that fits into the first-level cache */
	bool shared = op->m > WEIGH_ROWS && op->width % VEC == 0 && op->n * op->width <= WEIGH_WIDE;

	if (op->dtype == GLM_F32)
		weigh_f32(op);
	else if (op->dtype == GLM_F16)
		(WEIGH_SHARES_F16 && shared ? weigh_shared_f16 : weigh_f16)(op);
	else if (op->down)
		(shared ? weigh_shared_down : weigh_down)(op);
	else
		(shared ? weigh_shared_across : weigh_across)(op);
}

#endif /* GLM_WEIGH_H */
