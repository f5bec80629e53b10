/*
 * packed_product.h - the loops of a packed product, for each kernel file.
 *
 * A step computes up to TILES tiles of the weights (16 rows each) against a block of
 * up to ROWS rows of activations.  While a group of columns lasts the integer
 * sums are in registers; then they are scaled and added to the float sums,
 * which the compiler keeps in the first-level cache when the registers do not
 * suffice.  A vector of codes is unpacked once for all rows of the block, and
 * four columns of a row, read once, serve all tiles of the step.
 *
 * Tiles are the outer loop: their bytes come from memory once and stay in the
 * second-level cache while the blocks pass by.
 *
 * The file that includes this defines before:
 *   ROWS and EACH_ROWS (EACH_ROWS_4 or EACH_ROWS_12), TILES (1 or 4; with 4 there are
 *   steps of two for all rows, and of four for up to FOUR_TILES_ROWS)
 *   ints      sixteen int32 lanes, one a row of a tile; codes are four bytes a lane
 *   floats    sixteen float lanes
 *   static ints dot(ints sum, ints code, ints x, glm_dtype dtype)
 *                 sum + the four products of each lane; code is what low_nibbles,
 *                 high_nibbles or code_of_int8 made
 *   ints dot_columns(ints sum, ints code, const int8_t *x, glm_dtype dtype)
 *                 the same with x four bytes for all lanes, where that is one instruction
 *   ints_zero, ints_load, ints_add, ints_spread (one int32 to all lanes), low_nibbles, high_nibbles,
 *   code_of_int8
 *   static floats finish(ints sum, ints zero, int minus_sum, floats wscale, float xscale,
 *                        floats c, glm_dtype dtype)
 *                 c + I * (wscale * xscale), see packed_kernels.h
 *   zeros_load (16 bytes to lanes), scales_load (16 fp16, divided by 16 if INT4),
 *   floats_zero, floats_store
 * and, where dot() of INT4 codes makes sums of 16 bits, two a lane:
 *   SHORT_RUN vectors of codes whose sums they hold, dots_add (adds two such sums) and
 *   dots_widen (the sum of both, in 32 bits); a group has a multiple of SHORT_RUN vectors.
 *
 * It writes BLOCK_FUNCTIONS(Q4) or (Q8), or both, behind it and calls blocks_product() with
 * blocks_Q4 or blocks_Q8.
 */
#ifndef GLM_PACKED_PRODUCT_H
#define GLM_PACKED_PRODUCT_H

#define INLINE static inline __attribute__((always_inline))
#define VECTOR 64 /* bytes of codes for four or eight columns of a tile */
#define FOUR_TILES_ROWS 4

#if !defined(SHORT_RUN)
#define SHORT_RUN 0 /* sums have 32 bits from the beginning */
#define dots_add(a, b, dtype) ints_add(a, b)
#define dots_widen(sum) (sum)
#endif

#if !defined(dot_columns)
#define dot_columns(sum, code, x, dtype) dot(sum, code, ints_spread(four_columns(x)), dtype)
#endif

/* Where the arrays of a tile lie. */
typedef struct tile_layout
{
	const uint8_t *scales; /* [groups][16] fp16 */
	const uint8_t *zeros;  /* [groups][16], INT4 */
	const uint8_t *codes;
	size_t		   next; /* bytes from here to the tile of the next step */
} tile_layout;

/* Each instruction has its level. */
INLINE void
fetch(const uint8_t *line, glm_fetch_level level)
{
	if (level == GLM_FETCH_FIRST)
		__builtin_prefetch(line, 0, 3);
	else if (level == GLM_FETCH_SECOND)
		__builtin_prefetch(line, 0, 2);
	else
		__builtin_prefetch(line, 0, 0);
}

INLINE int32_t
four_columns(const int8_t *x)
{
	int32_t four;

	memcpy(&four, x, sizeof(four));
	return four;
}

/* sum[t][r] += codes of tile t * columns [4 * step, 4 * step + 4) of row r */
INLINE void
dot_step(ints sum[TILES][ROWS], const ints code[TILES], const int8_t *x, glm_dtype dtype, int rows,
		 int tiles)
{
#pragma GCC unroll 16
	for (int r = 0; r < rows; r++)
	{
		ints four = ints_spread(four_columns(x + r * 4));

#pragma GCC unroll 4
		for (int t = 0; t < tiles; t++)
			sum[t][r] = dot(sum[t][r], code[t], four, dtype);
	}
}

/*
 * Fetches the scales and zero points of group g and returns where its codes are, for
 * group_sums to fetch.  Groups past the last are those of the next step's tile, so
 * that memory does not wait for its turn: the hardware reads ahead within a page only.
 */
INLINE const uint8_t *
fetch_head(const tile_layout *tile, int g, int groups, int vectors, glm_dtype dtype,
		   const glm_reading *reading)
{
	size_t next = g < groups ? 0 : tile->next;

	g -= g < groups ? 0 : groups;
	if (reading->lines > 0)
		fetch(tile->scales + next + g * GLM_TILE_ROWS * 2, reading->level);
	if (reading->lines > 0 && dtype == GLM_Q4)
		fetch(tile->zeros + next + g * GLM_TILE_ROWS, reading->level);
	return tile->codes + next + (size_t) g * (size_t) vectors * VECTOR;
}

/*
 * Adds the vectors [v0, v1) of one group; `first` is the group's first one.  A lone row has
 * only one sum a tile, so its high nibbles get another, lest products wait for each other.
 */
INLINE void
add_vectors(ints sum[TILES][ROWS], const tile_layout *tile, size_t first, int v0, int v1,
			const int8_t *x, const uint8_t *const later[TILES], const glm_reading *reading,
			glm_dtype dtype, int rows, int tiles)
{
	ints high[TILES][ROWS];

#pragma GCC unroll 4
	for (int t = 0; t < tiles; t++)
		high[t][0] = ints_zero();
	for (int v = v0; v < v1; v++)
	{
		ints vector[TILES], code[TILES];

#pragma GCC unroll 4
		for (int t = 0; t < tiles; t++)
		{
			vector[t] = ints_load(tile[t].codes + (first + (size_t) v) * VECTOR);
			if (v < reading->lines)
				fetch(later[t] + v * VECTOR, reading->level);
			code[t] = dtype == GLM_Q4 ? low_nibbles(vector[t]) : code_of_int8(vector[t]);
		}
		dot_step(sum, code, x, dtype, rows, tiles);
		x += rows * 4;
		if (dtype == GLM_Q4)
		{
#pragma GCC unroll 4
			for (int t = 0; t < tiles; t++)
				code[t] = high_nibbles(vector[t]);
			dot_step(rows == 1 ? high : sum, code, x, dtype, rows, tiles);
			x += rows * 4;
		}
	}
#pragma GCC unroll 4
	for (int t = 0; t < tiles && rows == 1; t++)
		sum[t][0] = dots_add(sum[t][0], high[t][0], dtype);
}

/* The integer sums of one group, from vector `first` of the tiles on. */
INLINE void
group_sums(ints sum[TILES][ROWS], const tile_layout *tile, size_t first, int vectors,
		   const int8_t *x, const uint8_t *const later[TILES], const glm_reading *reading,
		   glm_dtype dtype, int rows, int tiles)
{
	if (SHORT_RUN == 0 || dtype != GLM_Q4)
	{
		add_vectors(sum, tile, first, 0, vectors, x, later, reading, dtype, rows, tiles);
		return;
	}
	for (int v = 0; v < vectors; v += SHORT_RUN)
	{
		ints part[TILES][ROWS];

#pragma GCC unroll 16
		for (int i = 0; i < tiles * rows; i++)
			part[i / rows][i % rows] = ints_zero();
		add_vectors(part, tile, first, v, v + SHORT_RUN, x, later, reading, dtype, rows, tiles);
		x += rows * 8 * SHORT_RUN;
#pragma GCC unroll 16
		for (int i = 0; i < tiles * rows; i++)
			sum[i / rows][i % rows] =
				ints_add(sum[i / rows][i % rows], dots_widen(part[i / rows][i % rows]));
	}
}

/* c[t][r] += the group's share; a row's scale and sum, read once, serve all tiles */
INLINE void
add_group(floats c[TILES][ROWS], ints sum[TILES][ROWS], const tile_layout *tile, int g,
		  const float *xscale, const int32_t *minus_sum, glm_dtype dtype, int rows, int tiles)
{
	floats wscale[TILES];
	ints   zero[TILES];

#pragma GCC unroll 4
	for (int t = 0; t < tiles; t++)
	{
		wscale[t] = scales_load(tile[t].scales + g * GLM_TILE_ROWS * 2, dtype);
		zero[t] = dtype == GLM_Q4 ? zeros_load(tile[t].zeros + g * GLM_TILE_ROWS) : ints_zero();
	}
#pragma GCC unroll 16
	for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (int t = 0; t < tiles; t++)
			c[t][r] =
				finish(sum[t][r], zero[t], minus_sum[r], wscale[t], xscale[r], c[t][r], dtype);
}

/* Adds the bias and writes up to 16 columns of C's row. */
INLINE void
store_row(const glm_packed_product *op, int row, int tile, floats sums)
{
	float  line[GLM_TILE_ROWS];
	int	   j0 = tile * GLM_TILE_ROWS;
	int	   count = op->n - j0 < GLM_TILE_ROWS ? op->n - j0 : GLM_TILE_ROWS;
	float *c = op->c + (size_t) row * op->ldc + j0;

	if (count == GLM_TILE_ROWS && op->bias == NULL)
	{
		floats_store(c, sums);
		return;
	}
	floats_store(line, sums);
	for (int j = 0; j < count; j++)
		c[j] = op->bias != NULL ? line[j] + op->bias[j0 + j] : line[j];
}

/*
 * `tiles` tiles from `tile` on, against the rows of one block; what will be wanted
 * `ahead` groups later, at most all of a tile, is brought nearer.
 */
INLINE void
block_product(const glm_packed_product *op, const tile_layout *layout, int tile, int row0,
			  int ahead, glm_dtype dtype, int rows, int tiles)
{
	const glm_int8_rows *x = op->x;
	const int			 vectors = x->group / (dtype == GLM_Q4 ? 8 : 4);
	const int8_t		*code = x->code + (size_t) row0 * (size_t) (x->groups * x->group);
	size_t				 at = (size_t) row0 * (size_t) x->groups;
	floats				 c[TILES][ROWS];

#pragma GCC unroll 4
	for (int t = 0; t < tiles; t++)
#pragma GCC unroll 16
		for (int r = 0; r < rows; r++)
			c[t][r] = floats_zero();
	for (int g = 0; g < x->groups; g++)
	{
		ints		   sum[TILES][ROWS];
		const uint8_t *later[TILES];

#pragma GCC unroll 4
		for (int t = 0; t < tiles; t++)
			later[t] = fetch_head(&layout[t], g + ahead, x->groups, vectors, dtype, &op->reading);
#pragma GCC unroll 4
		for (int t = 0; t < tiles; t++)
#pragma GCC unroll 16
			for (int r = 0; r < rows; r++)
				sum[t][r] = ints_zero();
		group_sums(sum, layout, (size_t) g * (size_t) vectors, vectors, code, later, &op->reading,
				   dtype, rows, tiles);
		add_group(c, sum, layout, g, x->scale + at, x->minus_sum + at, dtype, rows, tiles);
		code += rows * x->group;
		at += (size_t) rows;
	}
#pragma GCC unroll 4
	for (int t = 0; t < tiles; t++)
#pragma GCC unroll 16
		for (int r = 0; r < rows; r++)
			store_row(op, row0 + r, tile + t, c[t][r]);
}

static inline tile_layout
layout_of(const glm_packed_product *op, int tile, int tiles)
{
	size_t cols = (size_t) op->x->cols, group = (size_t) op->x->group,
		   bytes = glm_packed_tile_bytes(op->dtype, cols, group);
	const uint8_t *begin = op->w + (size_t) tile * bytes;

	return (tile_layout){.scales = begin,
						 .zeros = begin + (size_t) op->x->groups * GLM_TILE_ROWS * 2,
						 .codes = begin + glm_packed_head(op->dtype, cols, group),
						 .next = (size_t) tiles * bytes};
}

#include "engine/compute/kernels/packed_ordered.h"

/*
 * A function for each number of rows and tiles, so that the sums are registers;
 * apart from each other, because compilers take very long over all of them in one.
 */
typedef void (*block_function)(const glm_packed_product *op, const tile_layout *layout, int tile,
							   int row0, int ahead);

#define BLOCK_FUNCTION(dtype, tiles, rows)                                                         \
	static __attribute__((noinline)) void block_##dtype##_##tiles##_##rows(                        \
		const glm_packed_product *op, const tile_layout *layout, int tile, int row0, int ahead)    \
	{                                                                                              \
		block_product(op, layout, tile, row0, ahead, GLM_##dtype, rows, tiles);                    \
	}
#define BLOCK_NAME(dtype, tiles, rows) [rows] = block_##dtype##_##tiles##_##rows,

#define EACH_ROWS_4(what, dtype, tiles)                                                            \
	what(dtype, tiles, 1) what(dtype, tiles, 2) what(dtype, tiles, 3) what(dtype, tiles, 4)
#define EACH_ROWS_12(what, dtype, tiles)                                                           \
	EACH_ROWS_4(what, dtype, tiles)                                                                \
	what(dtype, tiles, 5) what(dtype, tiles, 6) what(dtype, tiles, 7) what(dtype, tiles, 8)        \
		what(dtype, tiles, 9) what(dtype, tiles, 10) what(dtype, tiles, 11) what(dtype, tiles, 12)

/* Those of one data type, by tiles and rows. */
typedef struct block_functions
{
	block_function	 one[ROWS + 1];
	block_function	 two[ROWS + 1];
	block_function	 four[FOUR_TILES_ROWS + 1];
	ordered_function ordered[FEW_ROWS + 1];
} block_functions;

#if TILES == 4
#define BLOCK_FUNCTIONS(dtype)                                                                     \
	EACH_ROWS(BLOCK_FUNCTION, dtype, 1)                                                            \
	EACH_ROWS(BLOCK_FUNCTION, dtype, 2)                                                            \
	EACH_ROWS_4(BLOCK_FUNCTION, dtype, 4)                                                          \
	EACH_ROWS_4(ORDERED_FUNCTION, dtype, 1)                                                        \
	static const block_functions blocks_##dtype = {                                                \
		.one = {EACH_ROWS(BLOCK_NAME, dtype, 1)},                                                  \
		.two = {EACH_ROWS(BLOCK_NAME, dtype, 2)},                                                  \
		.four = {EACH_ROWS_4(BLOCK_NAME, dtype, 4)},                                               \
		.ordered = {EACH_ROWS_4(ORDERED_NAME, dtype, 1)}};
#else
#define BLOCK_FUNCTIONS(dtype)                                                                     \
	EACH_ROWS(BLOCK_FUNCTION, dtype, 1)                                                            \
	EACH_ROWS_4(ORDERED_FUNCTION, dtype, 1)                                                        \
	static const block_functions blocks_##dtype = {                                                \
		.one = {EACH_ROWS(BLOCK_NAME, dtype, 1)},                                                  \
		.ordered = {EACH_ROWS_4(ORDERED_NAME, dtype, 1)}};
#endif

/*
 * `tiles` tiles, for which there are these functions, against all rows.  The last
 * of several blocks brings the next tiles, so that memory works beside the sums.
 */
static void
tiles_product(const glm_packed_product *op, int tile, int tiles, const block_function *functions)
{
	const glm_int8_rows *x = op->x;
	int					 group_bytes = x->group * GLM_TILE_ROWS / (op->dtype == GLM_Q4 ? 2 : 1);
	int					 ahead = op->reading.ahead / group_bytes;
	tile_layout			 layout[TILES];

	ahead = ahead < x->groups ? ahead : x->groups;
	for (int t = 0; t < tiles; t++)
		layout[t] = layout_of(op, tile + t, tiles);
	for (int row0 = 0; row0 < x->m; row0 += x->block)
	{
		bool last = row0 + x->block >= x->m;

		functions[glm_int8_block_rows(x, row0)](op, layout, tile, row0,
												last && row0 > 0 ? x->groups : ahead);
	}
}

/* The columns that the tiles [tile, tile1) hold, by functions of the data type. */
static void
blocks_product(const glm_packed_product *op, int tile, int tile1, const block_functions *blocks)
{
	if (op->reading.in_order && op->x->m <= FEW_ROWS)
	{
		blocks->ordered[op->x->m](op, tile, tile1);
		return;
	}
	if (TILES == 4 && op->x->m <= FOUR_TILES_ROWS)
		for (; tile + 4 <= tile1 && op->reading.tiles >= 4; tile += 4)
			tiles_product(op, tile, 4, blocks->four);
	for (; TILES == 4 && tile + 2 <= tile1 && op->reading.tiles >= 2; tile += 2)
		tiles_product(op, tile, 2, blocks->two);
	for (; tile < tile1; tile++)
		tiles_product(op, tile, 1, blocks->one);
}

#endif /* GLM_PACKED_PRODUCT_H */
