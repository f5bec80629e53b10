/*
 * fit.c - scale and zero point of one group, and the loops over its weights.
 *
 * hqq.  For given codes the best scale s and offset o are a line fitted through
 * the points (code, weight); for given s and o the best codes are the nearest.
 * Taking turns lowers the error until nothing changes, but ends in the nearest
 * of many local minima, so it is started from several grids: the full range
 * shrunk by and by around its middle.  A grid that cuts the group's outliers
 * off spends its steps on the many small weights.  Every grid is rounded to
 * what the format stores before it is tried; the best one tried is taken.
 *
 * The loops are written with the compiler's vectors of four floats, which any
 * CPU has (SSE2, NEON), because sums of floats are not reordered for us.  So
 * results are the same on each.
 *
 * No state, no locks.
 */
#include "engine/quantize/fit.h"

#include <math.h>
#include <string.h>

#include "engine/base/half.h"

#define F16_MAX 65504.0f

#define ROUNDS 8 /* most turns from one start */

/* Parts of the full range that the grids hqq starts from cover. */
static const float starts[] = {1.0f, 0.94f, 0.88f, 0.82f, 0.76f, 0.70f};

typedef float	vec __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(16)));

static inline vec
vec_load(const float *p)
{
	return *(const vec *) p;
}

static inline vec
vec_all(float x)
{
	return (vec){x, x, x, x};
}

static inline vec
vec_choose(mask m, vec a, vec b)
{
	return (vec) ((m & (mask) a) | (~m & (mask) b));
}

static inline float
vec_sum(vec v)
{
	return (v[0] + v[2]) + (v[1] + v[3]);
}

/* ---- Grids -------------------------------------------------------------- */

/* The nearest positive fp16 number; 0 for 0. */
static float
storable_scale(float scale)
{
	uint16_t half;

	if (!(scale < F16_MAX))
		return F16_MAX;
	half = glm_f32_to_f16(scale);
	/* a group of tiny weights keeps its signs and largest values */
	return half == 0 && scale > 0.0f ? 0x1p-24f : glm_f16_to_f32(half);
}

static glm_grid
make_grid(glm_dtype dtype, float scale, float zero)
{
	glm_grid grid = {.scale = storable_scale(scale), .top = dtype == GLM_Q4 ? 15.0f : 255.0f};

	grid.inverse = grid.scale > 0.0f ? 1.0f / grid.scale : 0.0f;
	if (dtype == GLM_Q8)
		grid.zero = 128.0f;
	else if (zero > 0.0f)
		grid.zero = zero < 255.0f / GLM_ZERO_ONE ? rintf(zero * GLM_ZERO_ONE) / GLM_ZERO_ONE
												 : 255.0f / GLM_ZERO_ONE;
	return grid;
}

uint16_t
glm_grid_scale(const glm_grid *grid)
{
	return glm_f32_to_f16(grid->scale);
}

uint8_t
glm_grid_zero(const glm_grid *grid)
{
	return (uint8_t) (grid->zero * GLM_ZERO_ONE);
}

/* ---- hqq ----------------------------------------------------------------- */

/* Sums over a group, weighted by importance; c counts from the zero point on. */
typedef struct moments
{
	float one;
	float c;
	float cc;
	float w;
	float cw;
} moments;

/* Error of a grid, and what the line through its codes follows from. */
static float
try_grid(const glm_grid *grid, const float *w, const float *importance, int n, moments *m)
{
	const vec round = vec_all(0x1.8p23f);
	const vec inverse = vec_all(grid->inverse), zero = vec_all(grid->zero),
			  scale = vec_all(grid->scale), top = vec_all(grid->top), none = vec_all(0.0f);
	vec error = none, s_c = none, s_cc = none, s_w = none, s_cw = none, s_one = none;

	for (int k = 0; k < n; k += 4)
	{
		vec x = vec_load(w + k), p = vec_load(importance + k), c = x * inverse + zero, pc, d;

		c = vec_choose(c > none, c, none);
		c = vec_choose(c < top, c, top);
		c = (c + round) - round - zero;
		d = x - scale * c;
		pc = p * c;
		error += p * d * d;
		s_one += p;
		s_c += pc;
		s_cc += pc * c;
		s_w += p * x;
		s_cw += pc * x;
	}
	*m = (moments){vec_sum(s_one), vec_sum(s_c), vec_sum(s_cc), vec_sum(s_w), vec_sum(s_cw)};
	return vec_sum(error);
}

/* The grid whose line fits the codes of the last one best; false: there is none. */
static bool
next_grid(glm_grid *grid, glm_dtype dtype, const moments *m)
{
	glm_grid last = *grid;
	float	 scale, offset = 0.0f;

	if (dtype == GLM_Q8)
		scale = m->cw / m->cc;
	else
	{
		scale = (m->one * m->cw - m->c * m->w) / (m->one * m->cc - m->c * m->c);
		offset = (m->w - scale * m->c) / m->one;
	}
	/* one code for all, or sums that overflowed or vanished */
	if (!(scale > 0.0f) || !isfinite(scale) || !isfinite(offset))
		return false;
	*grid = make_grid(dtype, scale, last.zero - offset / scale);
	return grid->scale != last.scale || grid->zero != last.zero;
}

/*
 * *best is rtn's grid at first, and to the end when every error overflows.
 * lo, hi: the range of the weights.
 */
static void
fit_hqq(glm_grid *best, glm_dtype dtype, const float *w, const float *importance, int n, float lo,
		float hi)
{
	float	range = dtype == GLM_Q4 ? hi - lo : 2.0f * fmaxf(-lo, hi);
	float	middle = lo + (hi - lo) / 2.0f;
	moments m;
	float	least = try_grid(best, w, importance, n, &m);

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
	{
		float	 scale = range * starts[i] / (dtype == GLM_Q4 ? 15.0f : 254.0f);
		glm_grid grid = make_grid(dtype, scale, 7.5f - middle / scale);

		for (int round = 0; round < ROUNDS; round++)
		{
			float error = try_grid(&grid, w, importance, n, &m);

			if (error < least)
			{
				least = error;
				*best = grid;
			}
			if (!next_grid(&grid, dtype, &m))
				break;
		}
	}
}

/* ---- All ways --------------------------------------------------------- */

/* The range of the weights and 0; false when one is not finite. */
static bool
find_range(const float *w, int n, float *lo, float *hi)
{
	vec	  low = vec_all(0.0f), high = vec_all(0.0f), nothing = vec_all(0.0f);
	float check;

	for (int k = 0; k < n; k += 4)
	{
		vec x = vec_load(w + k);

		low = vec_choose(x < low, x, low);
		high = vec_choose(x > high, x, high);
		nothing += x * 0.0f; /* NaN for a NaN or an infinity */
	}
	check = vec_sum(nothing);
	*lo = fminf(fminf(low[0], low[1]), fminf(low[2], low[3]));
	*hi = fmaxf(fmaxf(high[0], high[1]), fmaxf(high[2], high[3]));
	return check == 0.0f;
}

bool
glm_fit(glm_grid *grid, glm_dtype dtype, glm_rounding how, const float *w, const float *importance,
		int n)
{
	float lo, hi, largest, scale;
	bool  finite = find_range(w, n, &lo, &hi);

	largest = fmaxf(-lo, hi);
	if (dtype == GLM_Q8)
		scale = largest / 127.0f;
	else if (how == GLM_ROUND_PLAIN)
		scale = largest / 7.0f;
	else
		scale = hi / 15.0f - lo / 15.0f; /* hi - lo could overflow */
	*grid = make_grid(dtype, scale, 0.0f);
	if (grid->scale == 0.0f)
		return finite;
	if (how == GLM_ROUND_PLAIN)
		*grid = make_grid(dtype, scale, 8.0f);
	else
		*grid = make_grid(dtype, scale, fminf(rintf(-lo * grid->inverse), 15.0f));
	if (!finite || scale > F16_MAX)
		return false;
	if (how == GLM_ROUND_HQQ)
		fit_hqq(grid, dtype, w, importance, n, lo, hi);
	return true;
}

void
glm_fit_add(float *y, float factor, const float *x, int n)
{
	vec f = vec_all(factor);

	for (int j = 0; j < n; j += 4)
		*(vec *) (y + j) = vec_load(y + j) + f * vec_load(x + j);
}
