/*
 * packed_ordered.h - packed products of a few rows, which memory bounds: in the order of memory.
 *
 * The hardware reads on by itself before one who goes from line to line, and loses pace
 * wherever he jumps: so a tile is read from its first byte to its last, and the next from
 * there, by a loop that does not end between them.  With 4 tiles side by side the same bytes took
 * a fifth longer where memory was fast.
 *
 * Part of packed_product.h, whose words it uses.
 */
#ifndef GLM_PACKED_ORDERED_H
#define GLM_PACKED_ORDERED_H

#define LINE 64							   /* bytes */
#define FEW_ROWS 4						   /* at most */
#define AT_A_TIME 4						   /* vectors; groups have multiples of it */
#define CHAINS(rows) ((rows) == 1 ? 4 : 2) /* sums of a row that do not wait for each other */

/* The scales and zero points, before their turn: they are in the cache when the codes are read. */
INLINE void
read_head(const tile_layout *tile, int ahead)
{
	for (const uint8_t *line = tile->scales; line < tile->codes; line += 2 * LINE)
	{
		fetch(line + ahead, GLM_FETCH_SECOND);
		(void) *(const volatile uint8_t *) line;
		(void) *(const volatile uint8_t *) (line + LINE);
	}
}

/* part[r] += the products of the next vectors, each of its chains in turn */
INLINE void
ordered_vectors(ints part[ROWS][4], const uint8_t *codes, const int8_t *x, int ahead,
				glm_dtype dtype, int rows)
{
	const int halves = dtype == GLM_Q4 ? 2 : 1;

#pragma GCC unroll 4
	for (int v = 0; v < AT_A_TIME; v++)
	{
		ints vector = ints_load(codes + v * VECTOR);

		if (v % 2 == 0)
			fetch(codes + v * VECTOR + ahead, GLM_FETCH_SECOND);
#pragma GCC unroll 2
		for (int half = 0; half < halves; half++)
		{
			ints code = dtype != GLM_Q4 ? code_of_int8(vector)
						: half == 0		? low_nibbles(vector)
										: high_nibbles(vector);

#pragma GCC unroll 4
			for (int r = 0; r < rows; r++)
			{
				ints *chain = &part[r][(v * halves + half) % CHAINS(rows)];

				*chain = dot_columns(*chain, code, x + (half * rows + r) * 4, dtype);
			}
		}
		x += rows * halves * 4;
	}
}

/* The integer sums of one group. */
INLINE void
ordered_sums(ints sum[TILES][ROWS], const uint8_t *codes, int vectors, const int8_t *x, int ahead,
			 glm_dtype dtype, int rows)
{
	const bool shorts = SHORT_RUN != 0 && dtype == GLM_Q4; /* AT_A_TIME of which fit */
	ints	   part[ROWS][4];

	for (int v = 0; v < vectors; v += AT_A_TIME)
	{
#pragma GCC unroll 16
		for (int i = 0; i < 4 * rows; i++)
			part[i / 4][i % 4] = v == 0 || shorts ? ints_zero() : part[i / 4][i % 4];
		ordered_vectors(part, codes + v * VECTOR, x, ahead, dtype, rows);
		x += rows * (dtype == GLM_Q4 ? 8 : 4) * AT_A_TIME;
		if (!shorts && v + AT_A_TIME < vectors)
			continue;
#pragma GCC unroll 4
		for (int r = 0; r < rows; r++)
		{
			ints all = dots_add(part[r][0], part[r][1], dtype);

			if (CHAINS(rows) == 4)
				all = dots_add(all, dots_add(part[r][2], part[r][3], dtype), dtype);
			sum[0][r] = shorts ? ints_add(sum[0][r], dots_widen(all)) : all;
		}
	}
}

/* C's columns that one tile holds, for all rows: they are one block. */
INLINE void
ordered_tile(const glm_packed_product *op, const tile_layout *tile, int number, glm_dtype dtype,
			 int rows)
{
	const glm_int8_rows *x = op->x;
	const int			 vectors = x->group / (dtype == GLM_Q4 ? 8 : 4), ahead = op->reading.ahead;
	const int8_t		*code = x->code;
	floats				 c[TILES][ROWS];

	read_head(tile, ahead);
#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
		c[0][r] = floats_zero();
	for (int g = 0; g < x->groups; g++)
	{
		ints sum[TILES][ROWS];

#pragma GCC unroll 4
		for (int r = 0; r < rows; r++)
			sum[0][r] = ints_zero();
		ordered_sums(sum, tile->codes + (size_t) g * (size_t) vectors * VECTOR, vectors, code,
					 ahead, dtype, rows);
		add_group(c, sum, tile, g, x->scale + g * rows, x->minus_sum + g * rows, dtype, rows, 1);
		code += rows * x->group;
	}
#pragma GCC unroll 4
	for (int r = 0; r < rows; r++)
		store_row(op, r, number, c[0][r]);
}

typedef void (*ordered_function)(const glm_packed_product *op, int tile, int tile1);

#define ORDERED_FUNCTION(dtype, tiles, rows)                                                       \
	static __attribute__((noinline)) void ordered_##dtype##_##rows(const glm_packed_product *op,   \
																   int tile, int tile1)            \
	{                                                                                              \
		tile_layout layout = layout_of(op, tile, 1);                                               \
                                                                                                   \
		for (; tile < tile1; tile++)                                                               \
		{                                                                                          \
			ordered_tile(op, &layout, tile, GLM_##dtype, rows);                                    \
			layout.scales += layout.next;                                                          \
			layout.zeros += layout.next;                                                           \
			layout.codes += layout.next;                                                           \
		}                                                                                          \
	}
#define ORDERED_NAME(dtype, tiles, rows) [rows] = ordered_##dtype##_##rows,

#endif /* GLM_PACKED_ORDERED_H */
