/*
 * quantize.h - from fp32 weights to codes, scales and zero points.
 *
 * One matrix at a time, all in memory.  The values that a quantized matrix
 * stands for and how they lie in a file is packed.h's business; here they lie
 * as plain arrays, rows one behind the other.
 *
 *     glm_quant_open(&q, GLM_Q4, rows, cols, 64, &err)
 *     glm_quant_round(&q, GLM_ROUND_HQQ, w, &work, &err)
 *     glm_quant_write(tiles, &q, &work, &err)
 *     glm_quant_close(&q)
 *
 * Ways to round, each better than the one before:
 *     plain  symmetric: zero in the middle of the codes, scale = max |w| / 7.
 *            For comparison only: nothing is shipped with it.
 *     rtn    INT4: scale = (max - min) / 15, integral zero point.  The range
 *            includes 0, which a zero point cannot lie outside of.  INT8:
 *            scale = max |w| / 127.
 *     hqq    scale and fractional zero point that minimise the squared error
 *            of the group's weights; see fit.c
 *     gptq   minimises the squared error of the layer's outputs on calibration
 *            input, rounding errors made good by the weights quantized after;
 *            see gptq.c
 * In every way codes are chosen after scale and zero point were rounded to
 * what the format stores, so no error comes on top of the reported one.
 *
 * The Hessian of a layer with inputs X [n, cols] is H = X^T X [cols, cols],
 * row-major.  Only its upper triangle (row <= column) is read or added to;
 * glm_hessian_factor puts the factor that gptq needs below the diagonal.
 *
 * Threads: functions that take a glm_work spread over its pool and must not be
 * called while another thread runs that pool.  Their results do not depend on
 * the number of threads.  They poll work->cancel, which once set stays set, and
 * end with GLM_CANCELLED within some tens of milliseconds.
 */
#ifndef GLM_QUANTIZE_H
#define GLM_QUANTIZE_H

#include "engine/quantize/blas.h"
#include "engine/quantize/work.h"
#include "engine/weights/packed.h"
#include "engine/weights/weights.h"

typedef struct glm_quant_matrix
{
	glm_dtype dtype; /* GLM_Q4 or GLM_Q8 */
	int		  rows;
	int		  cols;
	int		  group;
	int		  groups; /* of a row: ceil(cols / group) */
	uint8_t	 *code;	  /* [rows, groups * group]; past cols 0 */
	uint16_t *scale;  /* [rows, groups], fp16 */
	uint8_t	 *zero;	  /* [rows, groups], sixteenths; NULL for GLM_Q8 */
} glm_quant_matrix;

typedef enum glm_rounding
{
	GLM_ROUND_PLAIN = 0,
	GLM_ROUND_RTN,
	GLM_ROUND_HQQ
} glm_rounding;

/* group is 32, 64 or 128.  Takes (INT4, group 64) 1.05 bytes a weight. */
extern bool glm_quant_open(glm_quant_matrix *q, glm_dtype dtype, int rows, int cols, int group,
						   glm_error *err);
extern void glm_quant_close(glm_quant_matrix *q); /* zeroed or closed before is fine */

/*
 * Quantizes w [rows, cols] by any way but gptq.  GLM_NOT_FINITE for a NaN or
 * infinity among the weights, GLM_UNSUPPORTED where an fp16 scale would
 * overflow; the message says "row 3, column 17", the caller adds whose.
 */
extern bool glm_quant_round(glm_quant_matrix *q, glm_rounding how, const float *w,
							const glm_work *work, glm_error *err);

/*
 * The same by gptq.  hessian [cols, cols], diagonal [cols]: what
 * glm_hessian_factor made of a Hessian; a matrix may come some rows at a time.
 * Rows for which hqq has the smaller output error are hqq's, so the result is
 * never worse than that.
 */
extern bool glm_quant_gptq(glm_quant_matrix *q, const float *w, const float *hessian,
						   const float *diagonal, const glm_blas *blas, const glm_work *work,
						   glm_error *err);

/* One row of what q stands for: y [cols], the same bits as glm_packed_row. */
extern void glm_quant_row(float *y, const glm_quant_matrix *q, int row);

/* All tiles of q: out [glm_packed_bytes(dtype, rows, cols, group)]. */
extern bool glm_quant_write(uint8_t *out, const glm_quant_matrix *q, const glm_work *work,
							glm_error *err);

/* Squared Frobenius norms: of what quantizing changed, and of what there was. */
typedef struct glm_loss
{
	double lost;
	double square;
} glm_loss;

/* The relative L2 error; 0 when there was nothing. */
extern double glm_loss_error(const glm_loss *loss);

/* Adds ||W - Q||^2 and ||W||^2. */
extern bool glm_quant_weight_loss(glm_loss *loss, const glm_quant_matrix *q, const float *w,
								  const glm_work *work, glm_error *err);

/* Adds ||X (W - Q)^T||^2 and ||X W^T||^2, from H = X^T X. */
extern bool glm_quant_output_loss(glm_loss *loss, const glm_quant_matrix *q, const float *w,
								  const float *hessian, const glm_blas *blas, const glm_work *work,
								  glm_error *err);

/* ---- hessian.c ------------------------------------------------------- */

/* H += X^T X; x [n, cols] with rows ldx floats apart, hessian [cols, cols]. */
extern bool glm_hessian_add(float *hessian, int cols, const float *x, size_t ldx, int n,
							const glm_blas *blas, const glm_work *work, glm_error *err);

/*
 * The Cholesky factor of H + lambda I = L L^T, L lower triangular.  L without
 * its diagonal goes below the diagonal of hessian, the diagonal to
 * diagonal [cols]; H stays above.  lambda is 1 % of the mean of H's diagonal,
 * more if it must be.
 */
extern bool glm_hessian_factor(float *hessian, int cols, float *diagonal, float *lambda,
							   const glm_blas *blas, const glm_work *work, glm_error *err);

/*
 * out[i] = e[i, :] H e[i, :]^T; e, scratch [m, cols] dense.  The calling thread
 * computes alone, and not to the end when it is cancelled.
 */
extern void glm_hessian_norms(double *out, const float *e, int m, int cols, const float *hessian,
							  const glm_blas *blas, const glm_work *work, float *scratch);

/* ---- How a matrix is cut into work -------------------------------------- */

#define GLM_QUANT_ROWS 64 /* of one piece: whole tiles */

/* Pieces that so many rows make. */
static inline int
glm_quant_pieces(int rows)
{
	return (rows + GLM_QUANT_ROWS - 1) / GLM_QUANT_ROWS;
}

/* The row behind the last one of a piece. */
static inline int
glm_quant_piece_end(int rows, int index)
{
	return index < rows / GLM_QUANT_ROWS ? (index + 1) * GLM_QUANT_ROWS : rows;
}

#endif /* GLM_QUANTIZE_H */
