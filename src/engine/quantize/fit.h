/*
 * fit.h - the arithmetic of one group: scale, zero point, codes.
 *
 * A grid is the set of values that a group's codes can stand for:
 * scale * (code - zero).  Grids made here are ones that the packed format
 * stores: scale is an fp16 number, zero a multiple of 1/16 in [0, 16) for INT4
 * and 128 for INT8.  Pure functions.
 */
#ifndef GLM_FIT_H
#define GLM_FIT_H

#include "engine/quantize/quantize.h"

#define GLM_FIT_MAX 128 /* columns of a group, at most */

typedef struct glm_grid
{
	float scale;
	float zero;	   /* in steps */
	float inverse; /* 1 / scale, 0 for scale 0 */
	float top;	   /* the highest code */
} glm_grid;

/*
 * The grid of a group by plain, rtn or hqq.  w, importance [GLM_FIT_MAX], zero from n
 * up to the next multiple of 4.  hqq minimises sum importance[k] (w[k] - q[k])^2,
 * the others do not look at importance.  A scale too large for fp16 becomes its
 * largest number; false tells of it, and of weights that are not finite.
 */
extern bool glm_fit(glm_grid *grid, glm_dtype dtype, glm_rounding how, const float *w,
					const float *importance, int n);

/* What the format stores. */
extern uint16_t glm_grid_scale(const glm_grid *grid);
extern uint8_t	glm_grid_zero(const glm_grid *grid);

/* The code whose value is nearest to w, as a whole number in [0, top]. */
static inline float
glm_grid_code(const glm_grid *grid, float w)
{
	float x = w * grid->inverse + grid->zero;

	x = x > 0.0f ? x : 0.0f;
	x = x < grid->top ? x : grid->top;
	return (x + 0x1.8p23f) - 0x1.8p23f;
}

static inline float
glm_grid_value(const glm_grid *grid, float code)
{
	return grid->scale * (code - grid->zero);
}

/* y[j] += factor * x[j] for j < n; both have room up to the next multiple of 4 */
extern void glm_fit_add(float *y, float factor, const float *x, int n);

#endif /* GLM_FIT_H */
