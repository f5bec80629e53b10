/*
 * hessian.c - H = X^T X of a layer's inputs: adding up, Cholesky, norms.
 *
 * H takes 4 bytes for each pair of columns (750 MB for the widest matrix of a
 * 6B model), so there is one array: H in its upper triangle, the Cholesky
 * factor below, their diagonals apart.  Everything is cut into blocks of BLOCK
 * columns, which are handed to the threads one by one; each is computed by one
 * call of a single-threaded BLAS function, in an order that is always the same.
 *
 * fp32 is enough: the factor only decides how errors are passed on, and lambda
 * is far above the rounding of the sums.
 *
 * Locks: none; blocks that are computed at the same time do not overlap.
 */
#include "engine/quantize/quantize.h"

#include <math.h>
#include <string.h>

#define BLOCK 256
#define DAMPING 0.01 /* of the mean of the diagonal */
#define DAMPING_MOST 10.0

/* Blocks on one side of a matrix. */
static int
blocks_of(int cols)
{
	return (cols + BLOCK - 1) / BLOCK;
}

/* Columns of block b. */
static int
width_of(int cols, int b)
{
	return cols - b * BLOCK < BLOCK ? cols - b * BLOCK : BLOCK;
}

static float *
block_at(float *h, int cols, int row, int column)
{
	return h + (size_t) row * BLOCK * (size_t) cols + (size_t) column * BLOCK;
}

/* ---- Adding up ----------------------------------------------------------- */

typedef struct add_job
{
	float		   *h; /* [cols, cols] */
	int				cols;
	const float	   *x; /* [n, cols], rows ldx floats apart */
	int				ldx;
	int				n;
	const glm_blas *blas;
} add_job;

/* A row of blocks, from the diagonal on. */
static bool
add_piece(void *arg, int index)
{
	const add_job *job = arg;
	int			   rest = job->cols - index * BLOCK;

	job->blas->sgemm(GLM_BLAS_ROW_MAJOR, GLM_BLAS_TRANS, GLM_BLAS_NO_TRANS,
					 width_of(job->cols, index), rest, job->n, 1.0f, job->x + index * BLOCK,
					 job->ldx, job->x + index * BLOCK, job->ldx, 1.0f,
					 block_at(job->h, job->cols, index, index), job->cols);
	return true;
}

bool
glm_hessian_add(float *hessian, int cols, const float *x, size_t ldx, int n, const glm_blas *blas,
				const glm_work *work, glm_error *err)
{
	add_job job = {.h = hessian, .cols = cols, .x = x, .ldx = (int) ldx, .n = n, .blas = blas};

	if (ldx > INT32_MAX)
		return glm_fail(err, GLM_BAD_ARGUMENT, "rows of inputs lie too far apart");
	return n == 0 || glm_work_run(work, add_piece, &job, blocks_of(cols), err);
}

/* ---- Cholesky ------------------------------------------------------------ */

/*
 * Block column k of L from the block columns before it:
 *     L[i, k] = (H[i, k] - sum over j < k of L[i, j] L[k, j]^T) L[k, k]^-T
 */
typedef struct factor_job
{
	float		   *h; /* [cols, cols] */
	int				cols;
	int				k;
	const glm_blas *blas;
	int				info; /* of the diagonal block */
} factor_job;

/* Block row `index` of H's upper triangle, turned over below the diagonal. */
static bool
mirror_piece(void *arg, int index)
{
	const factor_job *job = arg;
	size_t			  cols = (size_t) job->cols;
	size_t			  begin = (size_t) index * BLOCK;
	size_t			  end = begin + (size_t) width_of(job->cols, index);

	for (size_t i = begin + 1; i < cols; i++)
		for (size_t j = begin; j < end && j < i; j++)
			job->h[i * cols + j] = job->h[j * cols + i];
	return true;
}

/* The block on the diagonal; only its lower triangle is touched. */
static void
factor_diagonal(factor_job *job)
{
	int	   n = width_of(job->cols, job->k);
	float *block = block_at(job->h, job->cols, job->k, job->k);

	if (job->k > 0)
		job->blas->ssyrk(GLM_BLAS_ROW_MAJOR, GLM_BLAS_LOWER, GLM_BLAS_NO_TRANS, n, job->k * BLOCK,
						 -1.0f, block_at(job->h, job->cols, job->k, 0), job->cols, 1.0f, block,
						 job->cols);
	/* the lower triangle by rows is the upper one by columns */
	job->blas->spotrf("U", &n, block, &job->cols, &job->info);
}

/* The index-th block below it. */
static bool
factor_piece(void *arg, int index)
{
	const factor_job *job = arg;
	int				  i = job->k + 1 + index;
	int				  m = width_of(job->cols, i);
	float			 *block = block_at(job->h, job->cols, i, job->k);

	if (job->k > 0)
		job->blas->sgemm(GLM_BLAS_ROW_MAJOR, GLM_BLAS_NO_TRANS, GLM_BLAS_TRANS, m, BLOCK,
						 job->k * BLOCK, -1.0f, block_at(job->h, job->cols, i, 0), job->cols,
						 block_at(job->h, job->cols, job->k, 0), job->cols, 1.0f, block, job->cols);
	job->blas->strsm(GLM_BLAS_ROW_MAJOR, GLM_BLAS_RIGHT, GLM_BLAS_LOWER, GLM_BLAS_TRANS,
					 GLM_BLAS_NON_UNIT, m, BLOCK, 1.0f, block_at(job->h, job->cols, job->k, job->k),
					 job->cols, block, job->cols);
	return true;
}

/* One attempt, from H plus what is on its diagonal now. */
static bool
try_to_factor(factor_job *job, const glm_work *work, glm_error *err)
{
	int blocks = blocks_of(job->cols);

	job->info = 0;
	if (!glm_work_run(work, mirror_piece, job, blocks, err))
		return false;
	for (job->k = 0; job->k < blocks; job->k++)
	{
		factor_diagonal(job);
		if (job->info != 0)
			return true;
		if (job->k < blocks - 1 && !glm_work_run(work, factor_piece, job, blocks - 1 - job->k, err))
			return false;
	}
	return true;
}

/* The diagonals of h and of an array change places. */
static void
swap_diagonal(float *h, int cols, float *diagonal)
{
	for (size_t i = 0; i < (size_t) cols; i++)
	{
		float *place = &h[i * (size_t) cols + i];
		float  value = *place;

		*place = diagonal[i];
		diagonal[i] = value;
	}
}

bool
glm_hessian_factor(float *hessian, int cols, float *diagonal, float *lambda, const glm_blas *blas,
				   const glm_work *work, glm_error *err)
{
	factor_job job = {.h = hessian, .cols = cols, .blas = blas};
	double	   mean = 0.0;

	for (size_t i = 0; i < (size_t) cols; i++)
		mean += hessian[i * (size_t) cols + i] / cols;
	if (!isfinite(mean))
		return glm_fail(err, GLM_NOT_FINITE, "the layer's inputs are not all finite numbers");
	/* a layer that never saw an input: any matrix does */
	if (mean <= 0.0)
		mean = 1.0;
	for (double damping = DAMPING; damping <= DAMPING_MOST; damping *= 10.0)
	{
		bool ok;

		*lambda = (float) (damping * mean);
		for (size_t i = 0; i < (size_t) cols; i++)
			diagonal[i] = hessian[i * (size_t) cols + i] + *lambda;
		swap_diagonal(hessian, cols, diagonal);
		ok = try_to_factor(&job, work, err);
		swap_diagonal(hessian, cols, diagonal);
		if (!ok)
			return false;
		if (job.info == 0)
			return true;
	}
	return glm_fail(err, GLM_NOT_FINITE, "the layer's inputs give no usable Hessian");
}

/* ---- Norms --------------------------------------------------------------- */

/* out[i] += factor * (row i of a) . (row i of b); n columns of rows ld floats apart */
static void
add_dots(double *out, double factor, const float *a, const float *b, int m, int n, int ld)
{
	for (int i = 0; i < m; i++, a += ld, b += ld)
		for (int k = 0; k < n; k++)
			out[i] += factor * (double) a[k] * (double) b[k];
}

/*
 * Block by block: e H e^T = sum over b of e[b] H[b, b] e[b]^T + 2 sum over a < b
 * of e[a] H[a, b] e[b]^T.  When block b is reached, scratch holds the sum over
 * a < b of e[a] H[a, b].
 */
void
glm_hessian_norms(double *out, const float *e, int m, int cols, const float *hessian,
				  const glm_blas *blas, const glm_work *work, float *scratch)
{
	memset(out, 0, (size_t) m * sizeof(*out));
	memset(scratch, 0, (size_t) m * (size_t) cols * sizeof(*scratch));
	for (int b = 0; b < blocks_of(cols) && !glm_work_cancelled(work); b++)
	{
		int			 begin = b * BLOCK;
		int			 n = width_of(cols, b);
		int			 rest = cols - begin - n;
		const float *h = hessian + (size_t) begin * (size_t) cols + begin;

		add_dots(out, 2.0, scratch + begin, e + begin, m, n, cols);
		blas->ssymm(GLM_BLAS_ROW_MAJOR, GLM_BLAS_RIGHT, GLM_BLAS_UPPER, m, n, 1.0f, h, cols,
					e + begin, cols, 0.0f, scratch + begin, cols);
		add_dots(out, 1.0, scratch + begin, e + begin, m, n, cols);
		if (rest > 0)
			blas->sgemm(GLM_BLAS_ROW_MAJOR, GLM_BLAS_NO_TRANS, GLM_BLAS_NO_TRANS, m, rest, n, 1.0f,
						e + begin, cols, h + n, cols, 1.0f, scratch + begin + n, cols);
	}
}
