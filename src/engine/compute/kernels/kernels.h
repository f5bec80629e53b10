/*
 * kernels.h - the arithmetic of a forward pass, one table per instruction set.
 *
 * Every table computes the same bits.  That holds by construction, not by
 * luck: each result is defined below as one sequence of IEEE operations, and a
 * table may only choose how many of them run side by side.  So a sequence's
 * tokens depend neither on the CPU nor on what else is in the batch, and the
 * tests compare tables with memcmp.  (NaNs are NaNs in every table; their
 * payloads may differ.)
 *
 * Dot product.  16 lanes start at +0.  Lane j takes k = j, j + 16, j + 32, ...
 * in this order, each with one fused multiply-add.  When K is not a multiple
 * of 16 the last step is made whole with zeros on both sides, so that all lanes
 * take the same number of steps.  Then the lanes are added as a tree:
 * l[j] + l[j + 8], of those s[j] + s[j + 4], of those s[j] + s[j + 2], of those
 * s[0] + s[1].  F16 and BF16 weights are widened first, which is exact.  Sums
 * without a product use the same lanes and the same tree with plain additions.
 *
 * Sum of squares.  The same with 64 lanes, because it has one output alone: lane j
 * takes k = j, j + 64, ...  The tree begins with l[j] + l[j + 32], of those
 * s[j] + s[j + 16], and goes on as that of 16 lanes.
 *
 * Exponential.  exp(x) = 2^n * exp(r), n = round(x / ln 2), r = x - n ln 2:
 *     x is clamped to [GLM_EXP_MIN, GLM_EXP_MAX]       (a NaN stays one)
 *     t = fma(x, 1 / ln 2, GLM_EXP_ROUND)              n is in t's low bits
 *     n = t - GLM_EXP_ROUND
 *     r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))       |r| <= 0.347
 *     p = 1 + r (1 + r (1/2 + ... r / 7!))             by fma, innermost first
 *     exp = p * 2^n, the factor made from the bits of t
 * The error is below one unit in the last place.  The clamp means that what
 * should underflow comes out as about 1e-38 instead of 0.
 *
 * Nothing here allocates, locks or keeps state.  Pointers need no alignment
 * beyond their element's; those of weights not even that.
 */
#ifndef GLM_KERNELS_H
#define GLM_KERNELS_H

#include "engine/weights/weights.h"

#define GLM_N_DTYPES (GLM_BF16 + 1)

#define GLM_LANES 16
#define GLM_SQUARE_LANES 64

#define GLM_EXP_MIN -87.0f
#define GLM_EXP_MAX 88.0f
#define GLM_EXP_ROUND 0x1.8p23f
#define GLM_EXP_ONE 0x3f800000u /* the bits of 1.0f */
#define GLM_LOG2_E 0x1.715476p+0f
#define GLM_LN2_HIGH 0x1.62e4p-1f /* 15 bits, so that n * LN2_HIGH is exact */
#define GLM_LN2_LOW 0x1.7f7d1cp-20f
#define GLM_EXP_C7 (1.0f / 5040)
#define GLM_EXP_C6 (1.0f / 720)
#define GLM_EXP_C5 (1.0f / 120)
#define GLM_EXP_C4 (1.0f / 24)
#define GLM_EXP_C3 (1.0f / 6)
#define GLM_EXP_C2 0.5f

/* C = A W^T + bias: one product, of which threads compute ranges of columns. */
typedef struct glm_matmul
{
	const float *a;	   /* [m, k], rows lda floats apart */
	const void	*w;	   /* [n, k], dense, of the kernel's dtype, any alignment */
	const float *bias; /* [n] or NULL */
	float		*c;	   /* [m, n], rows ldc floats apart; not A */
	int			 m;
	int			 n;
	int			 k;
	size_t		 lda;
	size_t		 ldc;
} glm_matmul;

/*
 * Rows of V weighted and added up, for m rows of weights.  An element of a GLM_I8 V is
 * its code times its scale, rounded to fp32 once.  GLM_KV_GROUP elements share a scale:
 * of a column if `down`, as in keys: scale [n / GLM_KV_GROUP, width]; else of a row, as
 * in values: scale [n, width / GLM_KV_GROUP]; both rounded up.
 */
typedef struct glm_weighted_sum
{
	float		*y; /* [m, width], rows ldy floats apart */
	size_t		 ldy;
	const float *p; /* [m, n], rows ldp floats apart */
	size_t		 ldp;
	const void	*v;		/* [n, width], dense */
	glm_dtype	 dtype; /* of V: GLM_F32, GLM_F16 or GLM_I8 */
	const float *scale; /* of GLM_I8 */
	const void	*next;	/* as large as V and read soon: fetched meanwhile; NULL: nothing */
	bool		 down;
	int			 m;
	int			 n;
	int			 width;
	bool		 add; /* Y has values already; it begins at +0 else */
} glm_weighted_sum;

/* Ranges that begin at multiples of this leave no tile cut in two. */
#define GLM_MATMUL_COLUMNS 16

typedef struct glm_kernels
{
	const char *name;

	/* C[i, j] = A[i, :] . W[j, :] + bias[j], all i, j in [n0, n1) */
	void (*matmul[GLM_N_DTYPES])(const glm_matmul *op, int n0, int n1);

	/* *max = max(*max, x); x[i] = exp(x[i] - *max) for the n >= 1 of x; returns their sum */
	float (*softmax)(float *x, int n, float *max);

	/* Y[r, d] = fma(P[r, i], V[i, d], Y[r, d]) for i = 0, 1, ... n - 1 */
	void (*weighted_sum)(const glm_weighted_sum *op);

	/* gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i] */
	void (*swiglu)(float *gate, const float *up, int n);

	/* the sum of the squares of x [n] */
	float (*square_sum)(const float *x, int n);

	/* y[i] = x[i] * by * weight[i]; y is not x */
	void (*scale)(float *y, const float *x, float by, const float *weight, int n);

	/* x[i] += y[i] */
	void (*add)(float *x, const float *y, size_t n);

	/* y[i] = fma(x[i], x_by, y[i] * by); y is not x */
	void (*join)(float *y, float by, const float *x, float x_by, int n);

	/* x[i] /= by */
	void (*divide)(float *x, float by, int n);

	/*
	 * y = x with the pairs (2i, 2i + 1) of its `turned` first elements turned, all times
	 * `by`: angle [turned / 2, 2] of cosines and sines; y is not x
	 */
	void (*rotate)(float *y, const float *x, const float *angle, float by, int turned, int n);
} glm_kernels;

extern const glm_kernels glm_kernels_scalar; /* any CPU, the reference */
extern const glm_kernels glm_kernels_avx2;	 /* x86-64 with AVX2, FMA, F16C */
extern const glm_kernels glm_kernels_avx512; /* x86-64 with AVX-512 F, BW, VL, DQ */
extern const glm_kernels glm_kernels_neon;	 /* AArch64 */

/*
 * The table of this name, or the best this CPU has for "auto".  NULL and *err:
 * GLM_BAD_ARGUMENT for an unknown name, GLM_UNSUPPORTED for a table that the
 * CPU (or the build) lacks.
 */
extern const glm_kernels *glm_kernels_find(const char *name, glm_error *err);

#endif /* GLM_KERNELS_H */
