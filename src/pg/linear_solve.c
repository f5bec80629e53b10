/*
 * linear_solve.c - least squares and logistic regression by Newton's method.
 *
 * Minimizes over weights w and bias b
 *
 *		mean of loss(y, z) + l2 / 2 * |w|^2,	z = w x + b,
 *
 * with x the features less their means and divided by their standard deviations, so that
 * l2 does not depend on units; glmnet's lambda with alpha = 0.  The loss is (y - z)^2 / 2, or
 * that of the logarithm, log(1 + exp(z)) - y z.
 *
 * Each iteration is one pass over the rows, which adds the gradient and the Hessian up, and a
 * Cholesky factor of the latter.  Least squares are done with the first; two more passes with
 * the same factor correct what rounding took, since residuals are computed from the rows.
 * Memory is the Hessian and a block of rows.
 *
 * BLAS is not asked: OpenBLAS starts threads as it is loaded, and a session's process must
 * have none (quantize/blas.c loads it in the worker).
 */
#include "chatglm.h"

#include <math.h>

#include "miscadmin.h"

#include "linear_solve.h"

#define BLOCK 32			/* rows in hand; a multiple of 4 */
#define CORRECTIONS 2		/* of least squares */
#define LEAST_PIVOT 1e-10	/* share of a feature that others do not explain */
#define LEAST_STEP 1e-6		/* with which it has converged, in standard deviations ... */
#define LEAST_GRADIENT 1e-9 /* ... and at this gradient */
#define MOST_HALVINGS 30

typedef struct Solver
{
	ChatglmLinearRows *rows;
	ChatglmFit		  *fit;
	int				   m;		 /* p and the bias, which is the last */
	double			  *scale;	 /* [p]: standard deviations */
	double			  *theta;	 /* [m]: where we are */
	double			  *step;	 /* [m] */
	double			  *gradient; /* [m]: of the objective there, with its sign turned */
	double			  *hessian;	 /* [m, m], the lower triangle; then its factor */
	double			  *block;	 /* [BLOCK, p + 1]: rows as they are */
	double			  *x;		 /* [BLOCK, m]: standardized, 1 for the bias */
	double			   curvature[BLOCK];
	double			   loss;	  /* mean over the rows */
	double			   objective; /* with the penalty */
	int64			   right;	  /* rows whose target is the likelier one */
} Solver;

/* ---- A pass over the rows -------------------------------------------------------- */

/* Loss at z, minus its slope, and its curvature. */
static void
losses(ChatglmLink link, double y, double z, double *loss, double *slope, double *curvature)
{
	double e, mu;

	if (link == CHATGLM_LINK_IDENTITY)
	{
		*loss = (y - z) * (y - z) / 2;
		*slope = y - z;
		*curvature = 1;
		return;
	}
	/* exp() of what is not positive never overflows */
	e = exp(-fabs(z));
	mu = z >= 0 ? 1 / (1 + e) : e / (1 + e);
	*loss = log1p(e) + (z > 0 ? z : 0) - y * z;
	*slope = y - mu;
	*curvature = e / ((1 + e) * (1 + e));
}

/* hessian += sum over the block of curvature x x^T */
static void
add_products(Solver *s, int n)
{
	int m = s->m;

	/* rows of zeros, to a multiple of 4 */
	for (; n % 4 != 0; n++)
	{
		memset(s->x + (Size) n * m, 0, m * sizeof(double));
		s->curvature[n] = 0;
	}
	for (int i = 0; i < m; i++)
	{
		double *to = s->hessian + (Size) i * m;

		CHECK_FOR_INTERRUPTS();
		for (int r = 0; r < n; r += 4)
		{
			const double *x0 = s->x + (Size) r * m, *x1 = x0 + m, *x2 = x1 + m, *x3 = x2 + m;
			double		  c0 = s->curvature[r] * x0[i], c1 = s->curvature[r + 1] * x1[i];
			double		  c2 = s->curvature[r + 2] * x2[i], c3 = s->curvature[r + 3] * x3[i];

			for (int j = 0; j <= i; j++)
				to[j] += c0 * x0[j] + c1 * x1[j] + c2 * x2[j] + c3 * x3[j];
		}
	}
}

/* Adds a block of rows to what the pass adds up. */
static void
add_block(Solver *s, int n, bool want_hessian)
{
	int p = s->rows->p;

	for (int r = 0; r < n; r++)
	{
		const double *row = s->block + (Size) r * (p + 1);
		double		 *x = s->x + (Size) r * s->m;
		double		  z = s->theta[p], loss, slope;

		for (int i = 0; i < p; i++)
		{
			x[i] = (row[i] - s->rows->mean[i]) / s->scale[i];
			z += s->theta[i] * x[i];
		}
		x[p] = 1;
		losses(s->fit->link, row[p], z, &loss, &slope, &s->curvature[r]);
		s->loss += loss;
		s->right += (z >= 0) == (row[p] >= 0.5);
		for (int i = 0; i < s->m; i++)
			s->gradient[i] += slope * x[i];
	}
	if (want_hessian)
		add_products(s, n);
}

/* Loss, gradient and, if wanted, Hessian at theta. */
static void
pass(Solver *s, bool want_hessian)
{
	int	   p = s->rows->p, m = s->m, n;
	double rows = s->rows->n;

	s->loss = 0;
	s->right = 0;
	memset(s->gradient, 0, m * sizeof(double));
	if (want_hessian)
		memset(s->hessian, 0, (Size) m * m * sizeof(double));
	chatglm_linear_rows_rewind(s->rows);
	while ((n = chatglm_linear_rows_read(s->rows, s->block, BLOCK)) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		add_block(s, n, want_hessian);
	}
	s->loss /= rows;
	s->objective = s->loss;
	for (int i = 0; i < m; i++)
		s->gradient[i] /= rows;
	for (int i = 0; i < p; i++)
	{
		s->objective += s->fit->l2 / 2 * s->theta[i] * s->theta[i];
		s->gradient[i] -= s->fit->l2 * s->theta[i];
	}
	for (int i = 0; want_hessian && i < m; i++)
	{
		for (int j = 0; j <= i; j++)
			s->hessian[(Size) i * m + j] /= rows;
		s->hessian[(Size) i * m + i] += i < p ? s->fit->l2 : 0;
	}
}

/* ---- Cholesky -------------------------------------------------------------------------- */

/* Four sums, so that additions need not wait for each other. */
static double
dot(const double *a, const double *b, int n)
{
	double sum[4] = {0, 0, 0, 0};
	int	   i = 0;

	for (; i + 4 <= n; i += 4)
		for (int k = 0; k < 4; k++)
			sum[k] += a[i + k] * b[i + k];
	for (; i < n; i++)
		sum[0] += a[i] * b[i];
	return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Factors the Hessian in place; the first variable that those before explain, or -1. */
static int
factor(Solver *s)
{
	int m = s->m;

	for (int i = 0; i < m; i++)
	{
		double *row = s->hessian + (Size) i * m;
		double	whole = row[i], pivot;

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < i; j++)
		{
			const double *other = s->hessian + (Size) j * m;

			row[j] = (row[j] - dot(row, other, j)) / other[j];
		}
		pivot = whole - dot(row, row, i);
		if (!(pivot > LEAST_PIVOT * whole))
			return i;
		row[i] = sqrt(pivot);
	}
	return -1;
}

/* step = Hessian^-1 gradient, by the factor */
static void
solve(Solver *s)
{
	int m = s->m;

	for (int i = 0; i < m; i++)
	{
		const double *row = s->hessian + (Size) i * m;

		s->step[i] = (s->gradient[i] - dot(row, s->step, i)) / row[i];
	}
	for (int i = m - 1; i >= 0; i--)
	{
		const double *row = s->hessian + (Size) i * m;

		s->step[i] /= row[i];
		for (int j = 0; j < i; j++)
			s->step[j] -= row[j] * s->step[i];
	}
}

/* ---- Newton's method -------------------------------------------------------------------- */

static void
refuse_dependent(const Solver *s, int i)
{
	bool		constant = s->rows->square[i] == 0;
	const char *what = constant ? "is the same in all rows" : "is a sum of others, with weights";

	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					s->rows->names != NULL ? errmsg("feature \"%s\" %s", s->rows->names[i], what)
										   : errmsg("feature %d %s", i + 1, what),
					errhint("Leave it out, or give options.l2, a penalty on weights.")));
}

static void
refuse_separated(const Solver *s)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the fit did not converge in %d iterations", s->fit->iterations),
					errdetail("The features may tell the two targets apart without a fault, "
							  "which takes infinite weights."),
					errhint("Give options.l2, a penalty on weights, such as 0.01.")));
}

static double
largest(const double *values, int n)
{
	double most = 0;

	for (int i = 0; i < n; i++)
		most = Max(most, fabs(values[i]));
	return most;
}

static void
go(Solver *s, double share)
{
	for (int i = 0; i < s->m; i++)
		s->theta[i] += share * s->step[i];
}

static void
least_squares(Solver *s)
{
	int dependent = factor(s);

	if (dependent >= 0)
		refuse_dependent(s, dependent);
	for (int i = 0; i <= CORRECTIONS; i++)
	{
		solve(s);
		go(s, 1);
		pass(s, false);
	}
	s->fit->iterations = 1;
}

/* Goes along the step, or half of it, and so on, to where the objective is no higher. */
static void
descend(Solver *s)
{
	double before = s->objective;
	double share = 1;

	go(s, share);
	pass(s, true);
	for (int i = 0; i < MOST_HALVINGS && !(s->objective <= before + 1e-12 * fabs(before)); i++)
	{
		share /= 2;
		go(s, -share);
		pass(s, true);
	}
}

static void
logistic(Solver *s)
{
	for (s->fit->iterations = 1; s->fit->iterations <= s->fit->max_iterations; s->fit->iterations++)
	{
		int dependent = factor(s);

		if (dependent >= 0 && s->fit->iterations == 1)
			refuse_dependent(s, dependent);
		if (dependent >= 0)
			break;
		solve(s);
		descend(s);
		if (largest(s->step, s->m) < LEAST_STEP && largest(s->gradient, s->m) < LEAST_GRADIENT)
			return;
	}
	s->fit->iterations = Min(s->fit->iterations, s->fit->max_iterations);
	refuse_separated(s);
}

/* ---- Entry ----------------------------------------------------------------------------------- */

static double *
numbers(Size n)
{
	return MemoryContextAllocExtended(CurrentMemoryContext, n * sizeof(double),
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

static void
open_solver(Solver *s, ChatglmLinearRows *rows, ChatglmFit *fit)
{
	int p = rows->p;

	memset(s, 0, sizeof(*s));
	s->rows = rows;
	s->fit = fit;
	s->m = p + 1;
	s->scale = numbers(p);
	s->theta = numbers(s->m);
	s->step = numbers(s->m);
	s->gradient = numbers(s->m);
	s->hessian = numbers((Size) s->m * s->m);
	s->block = numbers((Size) BLOCK * (p + 1));
	s->x = numbers((Size) BLOCK * s->m);
	for (int i = 0; i < p; i++)
		s->scale[i] = rows->square[i] > 0 ? sqrt(rows->square[i] / rows->n) : 1;
	/* the best without any feature */
	s->theta[p] = rows->mean[p];
	if (fit->link == CHATGLM_LINK_LOGISTIC)
		s->theta[p] = log(rows->mean[p] / (1 - rows->mean[p]));
}

void
chatglm_linear_solve(ChatglmLinearRows *rows, ChatglmFit *fit)
{
	int	   p = rows->p;
	Solver s;

	open_solver(&s, rows, fit);
	pass(&s, true);
	if (fit->link == CHATGLM_LINK_LOGISTIC)
		logistic(&s);
	else
		least_squares(&s);
	fit->loss = s.loss;
	fit->accuracy = (double) s.right / rows->n;
	fit->weights = numbers(p);
	fit->bias = s.theta[p];
	for (int i = 0; i < p; i++)
	{
		fit->weights[i] = s.theta[i] / s.scale[i];
		fit->bias -= fit->weights[i] * rows->mean[i];
	}
}
