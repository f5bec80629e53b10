/*
 * packed_kernels.h - products of packed weights, one table per instruction set.
 *
 * Activations are rounded to 8 bits, each row by itself, in the groups of
 * columns that the weights have (packed.h):
 *
 *     xscale[i, g] = max |a[i, k]| / 127      over the columns k of group g
 *     x[i, k]      = a[i, k] * (127 / max), to the nearest integer, ties to even
 *
 * A group whose max is below GLM_INT8_SMALLEST has scale 0; one with an infinity
 * or a NaN in it has scale NaN.  Then
 *
 *     INT4: I[i, j, g] = sum over k of (16 code[j, k] - zero[j, g]) * x[i, k]
 *     INT8: I[i, j, g] = sum over k of (code[j, k] - 128) * x[i, k]
 *
 * is an integer below 2^24, the same in whatever order it is summed, and
 *
 *     C[i, j] = bias[j] + sum over g of I * (wscale[j, g] * xscale[i, g])
 *
 * with wscale = scale / 16 (INT4) or scale (INT8).  The sum begins at +0, takes
 * g = 0, 1, ... with one fused multiply-add each, and the bias comes last.  So
 * every table computes the same bits, and a row's results depend on that row
 * alone.
 */
#ifndef GLM_PACKED_KERNELS_H
#define GLM_PACKED_KERNELS_H

#include "engine/weights/packed.h"

#define GLM_INT8_SMALLEST 0x1p-100f

/*
 * Rows of activations as the products read them.  Rows are taken in blocks of
 * at most glm_packed_kernels.rows; row0 is the first of a block that has
 * `rows` rows, and its place in the arrays begins at row0 * width and
 * row0 * groups.  In a block four columns of each row lie side by side.
 */
typedef struct glm_int8_rows
{
	int		 m;		/* rows */
	int		 block; /* rows of all blocks but the last */
	int		 cols;	/* columns of a and of the weights */
	int		 group; /* columns with one scale: 32, 64 or 128 */
	int		 groups;
	int8_t	*code;		/* block: [groups * group / 4][rows][4] */
	float	*scale;		/* block: [groups][rows] */
	int32_t *minus_sum; /* block: [groups][rows], -(sum of the codes) */
} glm_int8_rows;

/* Where weights are fetched to before they are summed. */
typedef enum glm_fetch_level
{
	GLM_FETCH_FIRST = 0, /* all levels of the caches */
	GLM_FETCH_SECOND,
	GLM_FETCH_ONCE /* the first, and past the others: they are not read again soon */
} glm_fetch_level;

#define GLM_ALL_LINES 1000 /* more than a group has */

/* How a product goes through its weights: that takes time, and changes no result. */
typedef struct glm_reading
{
	int tiles; /* side by side, at most */
	int ahead; /* bytes of a tile's codes between what is summed and what is fetched */
	int lines; /* of a group's codes that are fetched; the hardware reads on from there */
	glm_fetch_level level;
	bool in_order; /* tile by tile, for few rows; of the others only `ahead` counts then */
} glm_reading;

/* C = A W^T + bias, of which threads compute ranges of tiles. */
typedef struct glm_packed_product
{
	const glm_int8_rows *x;		/* [m, cols] */
	const uint8_t		*w;		/* tiles, any alignment */
	glm_dtype			 dtype; /* GLM_Q4 or GLM_Q8 */
	int					 n;		/* rows of W, columns of C */
	const float			*bias;	/* [n] or NULL */
	float				*c;		/* [m, n], rows ldc floats apart */
	size_t				 ldc;
	glm_reading			 reading;
} glm_packed_product;

typedef struct glm_packed_kernels
{
	const char *name;
	int			rows;  /* of a block, at most */
	int			tiles; /* side by side, at most; 0: it reads as it likes */

	/* Fills in the rows [i0, i1) of x from a, whose rows are lda floats apart. */
	void (*quantize)(const glm_int8_rows *x, const float *a, size_t lda, int i0, int i1);

	/* The columns of C that the tiles [tile0, tile1) hold, for all rows. */
	void (*product)(const glm_packed_product *op, int tile0, int tile1);
} glm_packed_kernels;

extern const glm_packed_kernels glm_packed_scalar;	   /* any CPU, the reference */
extern const glm_packed_kernels glm_packed_avx2;	   /* x86-64 with AVX2, FMA, F16C */
extern const glm_packed_kernels glm_packed_avxvnni;	   /* and AVX-VNNI */
extern const glm_packed_kernels glm_packed_avx512vnni; /* AVX-512 F, BW, VL, DQ, VNNI */
extern const glm_packed_kernels glm_packed_neon;	   /* AArch64 with dot products */

/*
 * The best table this CPU has among those that go with the kernel table `name`
 * (a name that glm_kernels_find accepted): "avx512" takes any of x86-64's,
 * "avx2" those of 256 bits.
 */
extern const glm_packed_kernels *glm_packed_find(const char *name);

/* Rows of the block that begins at row0. */
static inline int
glm_int8_block_rows(const glm_int8_rows *x, int row0)
{
	return x->m - row0 < x->block ? x->m - row0 : x->block;
}

/* Blocks for m rows, all about as large. */
static inline int
glm_int8_block(int m, int most)
{
	int blocks = (m + most - 1) / most;

	return (m + blocks - 1) / blocks;
}

#endif /* GLM_PACKED_KERNELS_H */
