/*
 * linear_solve.h - the weights and the bias that fit rows best.
 */
#ifndef CHATGLM_LINEAR_SOLVE_H
#define CHATGLM_LINEAR_SOLVE_H

#include "linear_model.h"
#include "linear_rows.h"

#define CHATGLM_FEATURES_MAX 4096 /* the matrix has the square of it: 128 MB */

typedef struct ChatglmFit
{
	/* wanted */
	ChatglmLink link;
	double		l2; /* penalty, see linear_solve.c */
	int			max_iterations;
	/* found */
	double		bias;
	double	   *weights; /* [p] */
	int			iterations;
	double		loss;	  /* mean log loss, or half the mean squared error */
	double		accuracy; /* share of the rows whose target is the likelier one */
} ChatglmFit;

/* ERROR 22023 when the rows do not determine the weights. */
extern void chatglm_linear_solve(ChatglmLinearRows *rows, ChatglmFit *fit);

#endif /* CHATGLM_LINEAR_SOLVE_H */
