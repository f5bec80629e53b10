/*
 * quantize.c - quantizing a matrix, and how far off the result is.
 *
 * Work is cut into pieces of GLM_QUANT_ROWS rows, whatever the number of
 * threads; every row is quantized alone, and sums over the matrix are added up
 * from one sum a row in the order of the rows.  So results do not depend on
 * who computed what.
 *
 * Locks: none.  Pieces write to rows of their own; what they share is the place
 * of the first bad weight, which is atomic.
 */
#include "engine/quantize/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/quantize/fit.h"
#include "engine/base/half.h"

/* ---- Matrices ------------------------------------------------------------ */

bool
glm_quant_open(glm_quant_matrix *q, glm_dtype dtype, int rows, int cols, int group, glm_error *err)
{
	size_t n;

	memset(q, 0, sizeof(*q));
	if (!glm_is_packed(dtype))
		return glm_fail(err, GLM_BAD_ARGUMENT, "weights can be quantized to 4 or 8 bits");
	if (!glm_packed_group_known(group))
		return glm_fail(err, GLM_BAD_ARGUMENT, "group size %d is not 32, 64 or 128", group);
	if (rows < 1 || cols < 1 || cols > INT32_MAX - group || rows > INT32_MAX - GLM_QUANT_ROWS)
		return glm_fail(err, GLM_BAD_ARGUMENT, "a matrix of %d by %d weights", rows, cols);
	q->dtype = dtype;
	q->rows = rows;
	q->cols = cols;
	q->group = group;
	q->groups = (int) glm_packed_groups((size_t) cols, (size_t) group);
	n = (size_t) rows * (size_t) q->groups;
	q->code = calloc(n, (size_t) group);
	q->scale = calloc(n, sizeof(*q->scale));
	q->zero = dtype == GLM_Q4 ? calloc(n, 1) : NULL;
	if (q->code != NULL && q->scale != NULL && (q->zero != NULL || dtype == GLM_Q8))
		return true;
	glm_quant_close(q);
	return glm_no_memory(err);
}

void
glm_quant_close(glm_quant_matrix *q)
{
	free(q->code);
	free(q->scale);
	free(q->zero);
	memset(q, 0, sizeof(*q));
}

void
glm_quant_row(float *y, const glm_quant_matrix *q, int row)
{
	size_t first = (size_t) row * (size_t) q->groups;

	for (int k = 0; k < q->cols; k++)
	{
		size_t g = first + (size_t) (k / q->group);
		int	   code = q->code[first * (size_t) q->group + (size_t) k];
		int	   zero = q->zero != NULL ? q->zero[g] : 128 * GLM_ZERO_ONE;

		y[k] = glm_f16_to_f32(q->scale[g]) / GLM_ZERO_ONE * (float) (code * GLM_ZERO_ONE - zero);
	}
}

typedef struct write_job
{
	const glm_quant_matrix *q;
	uint8_t				   *out;
} write_job;

static bool
write_piece(void *arg, int index)
{
	const write_job		   *job = arg;
	const glm_quant_matrix *q = job->q;
	size_t bytes = glm_packed_tile_bytes(q->dtype, (size_t) q->cols, (size_t) q->group);
	int	   begin = index * GLM_QUANT_ROWS;
	int	   end = glm_quant_piece_end(q->rows, index);

	for (int row = begin; row < end; row += GLM_TILE_ROWS)
	{
		int	   n = end - row < GLM_TILE_ROWS ? end - row : GLM_TILE_ROWS;
		size_t g = (size_t) row * (size_t) q->groups;

		glm_tile_write(job->out + (size_t) (row / GLM_TILE_ROWS) * bytes, q->dtype, n, q->cols,
					   q->group, q->code + g * (size_t) q->group, q->scale + g,
					   q->zero != NULL ? q->zero + g : NULL);
	}
	return true;
}

bool
glm_quant_write(uint8_t *out, const glm_quant_matrix *q, const glm_work *work, glm_error *err)
{
	write_job job = {.q = q, .out = out};

	return glm_work_run(work, write_piece, &job, glm_quant_pieces(q->rows), err);
}

/* ---- Quantizing ---------------------------------------------------------- */

typedef struct quantize_job
{
	glm_quant_matrix *q;
	glm_rounding	  how;
	const float		 *w;   /* [rows, cols] */
	_Atomic int64_t	  bad; /* least row * groups + group that failed, or INT64_MAX */
} quantize_job;

static void
note_bad(_Atomic int64_t *least, int64_t place)
{
	int64_t seen = atomic_load(least);

	while (place < seen && !atomic_compare_exchange_weak(least, &seen, place))
		;
}

static void
fit_group(quantize_job *job, int row, int group, const float *importance)
{
	glm_quant_matrix *q = job->q;
	int				  begin = group * q->group;
	int				  n = q->cols - begin < q->group ? q->cols - begin : q->group;
	size_t			  place = (size_t) row * (size_t) q->groups + (size_t) group;
	uint8_t			 *code = q->code + place * (size_t) q->group;
	float			  w[GLM_FIT_MAX] = {0};
	glm_grid		  grid;

	memcpy(w, job->w + (size_t) row * (size_t) q->cols + begin, (size_t) n * sizeof(*w));
	if (!glm_fit(&grid, q->dtype, job->how, w, importance, n))
	{
		note_bad(&job->bad, (int64_t) place);
		return;
	}
	q->scale[place] = glm_grid_scale(&grid);
	if (q->zero != NULL)
		q->zero[place] = glm_grid_zero(&grid);
	for (int k = 0; k < n; k++)
		code[k] = (uint8_t) glm_grid_code(&grid, w[k]);
}

static bool
quantize_piece(void *arg, int index)
{
	quantize_job		   *job = arg;
	const glm_quant_matrix *q = job->q;
	int						begin = index * GLM_QUANT_ROWS;
	int						end = glm_quant_piece_end(q->rows, index);
	int	  last = q->cols - (q->groups - 1) * q->group; /* columns of the last group */
	float importance[GLM_FIT_MAX], importance_last[GLM_FIT_MAX];

	for (int k = 0; k < GLM_FIT_MAX; k++)
	{
		importance[k] = 1.0f;
		importance_last[k] = k < last ? 1.0f : 0.0f;
	}
	for (int row = begin; row < end; row++)
		for (int g = 0; g < q->groups; g++)
			fit_group(job, row, g, g < q->groups - 1 ? importance : importance_last);
	return true;
}

/* Says what is wrong with the group that job->bad names. */
static bool
bad_weight(const quantize_job *job, glm_error *err)
{
	const glm_quant_matrix *q = job->q;
	int						row = (int) (job->bad / q->groups);
	int						begin = (int) (job->bad % q->groups) * q->group;
	int						end = q->cols - begin < q->group ? q->cols : begin + q->group;
	const float			   *w = job->w + (size_t) row * (size_t) q->cols;
	int						largest = begin;

	for (int k = begin; k < end; k++)
	{
		if (!isfinite(w[k]))
			return glm_fail(err, GLM_NOT_FINITE, "row %d, column %d is not a finite number", row,
							k);
		if (fabsf(w[k]) > fabsf(w[largest]))
			largest = k;
	}
	return glm_fail(err, GLM_UNSUPPORTED, "row %d, column %d is %g, too large to be quantized", row,
					largest, w[largest]);
}

bool
glm_quant_round(glm_quant_matrix *q, glm_rounding how, const float *w, const glm_work *work,
				glm_error *err)
{
	quantize_job job = {.q = q, .how = how, .w = w, .bad = INT64_MAX};

	if (!glm_work_run(work, quantize_piece, &job, glm_quant_pieces(q->rows), err))
		return false;
	return job.bad == INT64_MAX || bad_weight(&job, err);
}

/* ---- Errors -------------------------------------------------------------- */

typedef struct error_job
{
	const glm_quant_matrix *q;
	const float			   *w;		 /* [rows, cols] */
	const float			   *hessian; /* [cols, cols]; NULL: error of the weights */
	const glm_blas		   *blas;
	const glm_work		   *work;
	double				   *norm; /* [rows, 2]: of what W - Q does, of what W does */
} error_job;

static double
sum_of_squares(const float *x, int n)
{
	double sum = 0.0;

	for (int k = 0; k < n; k++)
		sum += (double) x[k] * (double) x[k];
	return sum;
}

static bool
weight_error_piece(void *arg, int index)
{
	error_job			   *job = arg;
	const glm_quant_matrix *q = job->q;
	int						begin = index * GLM_QUANT_ROWS;
	int						end = glm_quant_piece_end(q->rows, index);
	float				   *e = malloc((size_t) q->cols * sizeof(*e));

	if (e == NULL)
		return false;
	for (int row = begin; row < end; row++)
	{
		const float *w = job->w + (size_t) row * (size_t) q->cols;

		glm_quant_row(e, q, row);
		for (int k = 0; k < q->cols; k++)
			e[k] = w[k] - e[k];
		job->norm[2 * (size_t) row] = sum_of_squares(e, q->cols);
		job->norm[2 * (size_t) row + 1] = sum_of_squares(w, q->cols);
	}
	free(e);
	return true;
}

static bool
output_error_piece(void *arg, int index)
{
	error_job			   *job = arg;
	const glm_quant_matrix *q = job->q;
	size_t					cols = (size_t) q->cols;
	int						begin = index * GLM_QUANT_ROWS;
	int						n = q->rows - begin < GLM_QUANT_ROWS ? q->rows - begin : GLM_QUANT_ROWS;
	const float			   *w = job->w + (size_t) begin * cols;
	float				   *e = malloc(2 * (size_t) n * cols * sizeof(*e));
	double					norm[2][GLM_QUANT_ROWS];

	if (e == NULL)
		return false;
	for (int r = 0; r < n; r++)
		glm_quant_row(e + (size_t) r * cols, q, begin + r);
	for (size_t i = 0; i < (size_t) n * cols; i++)
		e[i] = w[i] - e[i];
	glm_hessian_norms(norm[0], e, n, q->cols, job->hessian, job->blas, job->work,
					  e + (size_t) n * cols);
	glm_hessian_norms(norm[1], w, n, q->cols, job->hessian, job->blas, job->work,
					  e + (size_t) n * cols);
	for (int r = 0; r < n; r++)
	{
		job->norm[2 * (size_t) (begin + r)] = norm[0][r];
		job->norm[2 * (size_t) (begin + r) + 1] = norm[1][r];
	}
	free(e);
	return true;
}

static bool
add_loss(glm_loss *loss, error_job *job, glm_work_piece piece, const glm_work *work, glm_error *err)
{
	size_t rows = (size_t) job->q->rows;
	bool   ok;

	job->norm = malloc(2 * rows * sizeof(*job->norm));
	if (job->norm == NULL)
		return glm_no_memory(err);
	ok = glm_work_run(work, piece, job, glm_quant_pieces(job->q->rows), err);
	for (size_t i = 0; ok && i < rows; i++)
	{
		loss->lost += job->norm[2 * i];
		loss->square += job->norm[2 * i + 1];
	}
	free(job->norm);
	return ok;
}

bool
glm_quant_weight_loss(glm_loss *loss, const glm_quant_matrix *q, const float *w,
					  const glm_work *work, glm_error *err)
{
	error_job job = {.q = q, .w = w};

	return add_loss(loss, &job, weight_error_piece, work, err);
}

bool
glm_quant_output_loss(glm_loss *loss, const glm_quant_matrix *q, const float *w,
					  const float *hessian, const glm_blas *blas, const glm_work *work,
					  glm_error *err)
{
	error_job job = {.q = q, .w = w, .hessian = hessian, .blas = blas, .work = work};

	return add_loss(loss, &job, output_error_piece, work, err);
}

double
glm_loss_error(const glm_loss *loss)
{
	/* rounding may leave a little less than nothing of an error that is 0 */
	return loss->lost > 0.0 && loss->square > 0.0 ? sqrt(loss->lost / loss->square) : 0.0;
}
