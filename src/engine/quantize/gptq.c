/*
 * gptq.c - quantizing a matrix so that the layer's outputs change least.
 *
 * What is minimised is ||X E^T||^2 = sum over rows e of e H e^T, E = W - Q and
 * H = X^T X.  With H = L L^T (L lower triangular) that is, for one row,
 *
 *     ||e L||^2 = sum over k of (e[k] L[k, k] + sum over j > k of e[j] L[j, k])^2
 *
 * so, going through the columns from the last to the first, each term contains
 * one unknown, e[k], and errors already made.  It is smallest for the code
 * nearest to the target
 *
 *     t[k] = w[k] + feedback[k] / L[k, k],   feedback[k] = sum over j > k of e[j] L[j, k]
 *
 * which makes the errors made before good as far as column k can.  This is the
 * choice that GPTQ makes, got from one Cholesky factor instead of an inverse
 * and two.  When a group is reached its grid is fitted to the targets as they
 * are then, each column weighing L[k, k]^2, its part in the sum.
 *
 * Feedback from columns outside a group is one matrix product per group, for
 * GLM_QUANT_ROWS rows together; inside a group it goes column by column.
 *
 * Rounding is greedy and can end up worse than hqq, on inputs that are hardly
 * correlated.  So both are computed and each row keeps the better one, by H
 * without the lambda that was added for L.
 *
 * Locks: none; a piece of rows writes to its rows only.
 */
#include "engine/quantize/quantize.h"

#include <stdlib.h>
#include <string.h>

#include "engine/quantize/fit.h"

typedef struct gptq_job
{
	glm_quant_matrix *q;		/* by hqq at first */
	const float		 *w;		/* [rows, cols] */
	const float		 *hessian;	/* [cols, cols]: H above, L below the diagonal */
	const float		 *diagonal; /* [cols]: L's */
	const glm_blas	 *blas;
	const glm_work	 *work;
} gptq_job;

/* Some rows on their way through the groups. */
typedef struct gptq_rows
{
	int		  first;
	int		  n;
	float	 *e;									 /* [n, cols]: W - Q */
	float	 *scratch;								 /* [n, cols] */
	uint8_t	 *code;									 /* [n, groups * group] */
	uint16_t *scale;								 /* [n, groups] */
	uint8_t	 *zero;									 /* [n, groups] */
	float	  feedback[GLM_QUANT_ROWS][GLM_FIT_MAX]; /* for the group at hand */
	/* of that group, zeros behind its columns and above the diagonal */
	float	  l[GLM_FIT_MAX][GLM_FIT_MAX];
	float	  importance[GLM_FIT_MAX];
} gptq_rows;

/* ---- One group ----------------------------------------------------------- */

/* Fetches L's part and the feedback from all columns behind the group. */
static void
enter_group(const gptq_job *job, gptq_rows *rows, int begin, int n)
{
	int cols = job->q->cols;
	int end = begin + n;

	memset(rows->l, 0, sizeof(rows->l));
	memset(rows->importance, 0, sizeof(rows->importance));
	memset(rows->feedback, 0, sizeof(rows->feedback));
	for (int k = 0; k < n; k++)
	{
		float d = job->diagonal[begin + k];

		memcpy(rows->l[k], job->hessian + (size_t) (begin + k) * (size_t) cols + begin,
			   (size_t) k * sizeof(float));
		rows->l[k][k] = d;
		rows->importance[k] = d * d;
	}
	if (end < cols)
		job->blas->sgemm(GLM_BLAS_ROW_MAJOR, GLM_BLAS_NO_TRANS, GLM_BLAS_NO_TRANS, rows->n, n,
						 cols - end, 1.0f, rows->e + end, cols,
						 job->hessian + (size_t) end * (size_t) cols + begin, cols, 0.0f,
						 rows->feedback[0], GLM_FIT_MAX);
}

/* Quantizes a row's columns of the group, the last one first. */
static void
fit_group_gptq(const gptq_job *job, gptq_rows *rows, int r, int g, int begin, int n)
{
	const glm_quant_matrix *q = job->q;
	const float			   *w = job->w + (size_t) (rows->first + r) * (size_t) q->cols + begin;
	float				   *e = rows->e + (size_t) r * (size_t) q->cols + begin;
	float				   *feedback = rows->feedback[r];
	size_t					place = (size_t) r * (size_t) q->groups + (size_t) g;
	uint8_t				   *code = rows->code + place * (size_t) q->group;
	float					target[GLM_FIT_MAX] = {0};
	glm_grid				grid;

	for (int k = 0; k < n; k++)
		target[k] = w[k] + feedback[k] / rows->l[k][k];
	/* targets that overflow get some grid; hqq is better then, and taken */
	glm_fit(&grid, q->dtype, GLM_ROUND_HQQ, target, rows->importance, n);
	for (int k = n - 1; k >= 0; k--)
	{
		float c = glm_grid_code(&grid, w[k] + feedback[k] / rows->l[k][k]);

		code[k] = (uint8_t) c;
		e[k] = w[k] - glm_grid_value(&grid, c);
		glm_fit_add(feedback, e[k], rows->l[k], k);
	}
	rows->scale[place] = glm_grid_scale(&grid);
	if (rows->zero != NULL)
		rows->zero[place] = glm_grid_zero(&grid);
}

/* ---- Rows ---------------------------------------------------------------- */

/* Row r was better than hqq's. */
static void
keep_row(glm_quant_matrix *q, const gptq_rows *rows, int r)
{
	size_t groups = (size_t) q->groups;
	size_t from = (size_t) r * groups;
	size_t to = (size_t) (rows->first + r) * groups;

	memcpy(q->code + to * (size_t) q->group, rows->code + from * (size_t) q->group,
		   groups * (size_t) q->group);
	memcpy(q->scale + to, rows->scale + from, groups * sizeof(*q->scale));
	if (q->zero != NULL)
		memcpy(q->zero + to, rows->zero + from, groups);
}

static void
keep_better(const gptq_job *job, gptq_rows *rows)
{
	glm_quant_matrix *q = job->q;
	size_t			  cols = (size_t) q->cols;
	double			  gptq[GLM_QUANT_ROWS], hqq[GLM_QUANT_ROWS];

	glm_hessian_norms(gptq, rows->e, rows->n, q->cols, job->hessian, job->blas, job->work,
					  rows->scratch);
	for (int r = 0; r < rows->n; r++)
	{
		const float *w = job->w + (size_t) (rows->first + r) * cols;
		float		*e = rows->e + (size_t) r * cols;

		glm_quant_row(e, q, rows->first + r);
		for (size_t k = 0; k < cols; k++)
			e[k] = w[k] - e[k];
	}
	glm_hessian_norms(hqq, rows->e, rows->n, q->cols, job->hessian, job->blas, job->work,
					  rows->scratch);
	for (int r = 0; r < rows->n; r++)
		if (gptq[r] < hqq[r]) /* false for a NaN */
			keep_row(q, rows, r);
}

static void
close_rows(gptq_rows *rows)
{
	if (rows == NULL)
		return;
	free(rows->e);
	free(rows->scratch);
	free(rows->code);
	free(rows->scale);
	free(rows->zero);
	free(rows);
}

/* NULL: out of memory. */
static gptq_rows *
open_rows(const glm_quant_matrix *q, int first)
{
	gptq_rows *rows = calloc(1, sizeof(*rows));
	size_t	   groups;

	if (rows == NULL)
		return NULL;
	rows->first = first;
	rows->n = glm_quant_piece_end(q->rows, first / GLM_QUANT_ROWS) - first;
	groups = (size_t) rows->n * (size_t) q->groups;
	rows->e = calloc((size_t) rows->n * (size_t) q->cols, sizeof(*rows->e));
	rows->scratch = malloc((size_t) rows->n * (size_t) q->cols * sizeof(*rows->scratch));
	rows->code = calloc(groups, (size_t) q->group);
	rows->scale = calloc(groups, sizeof(*rows->scale));
	rows->zero = q->zero != NULL ? calloc(groups, 1) : NULL;
	if (rows->e != NULL && rows->scratch != NULL && rows->code != NULL && rows->scale != NULL &&
		(rows->zero != NULL || q->zero == NULL))
		return rows;
	close_rows(rows);
	return NULL;
}

static bool
gptq_piece(void *arg, int index)
{
	const gptq_job		   *job = arg;
	const glm_quant_matrix *q = job->q;
	gptq_rows			   *rows = open_rows(q, index * GLM_QUANT_ROWS);

	if (rows == NULL)
		return false;
	for (int g = q->groups - 1; g >= 0 && !glm_work_cancelled(job->work); g--)
	{
		int begin = g * q->group;
		int n = q->cols - begin < q->group ? q->cols - begin : q->group;

		enter_group(job, rows, begin, n);
		for (int r = 0; r < rows->n; r++)
			fit_group_gptq(job, rows, r, g, begin, n);
	}
	keep_better(job, rows);
	close_rows(rows);
	return true;
}

bool
glm_quant_gptq(glm_quant_matrix *q, const float *w, const float *hessian, const float *diagonal,
			   const glm_blas *blas, const glm_work *work, glm_error *err)
{
	gptq_job job = {
		.q = q, .w = w, .hessian = hessian, .diagonal = diagonal, .blas = blas, .work = work};

	return glm_quant_round(q, GLM_ROUND_HQQ, w, work, err) &&
		   glm_work_run(work, gptq_piece, &job, glm_quant_pieces(q->rows), err);
}
