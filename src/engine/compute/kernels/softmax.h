/*
 * softmax.h - softmax, SwiGLU and the sum of squares of every vector table, written
 * once over the register of the file that includes it.
 *
 * Lanes past the end of a row are computed like the others, but neither stored nor
 * added up.
 *
 * The file that includes this defines before, besides what matmul.h wants:
 *   v_set(x)                  a register of this number
 *   v_add, v_subtract, v_multiply, v_divide
 *   v_max(a, b), v_min(a, b)  a NaN as b stays one
 *   v_negate(a)               changes the sign of zeros too
 *   v_power(t)                2^n, n in the low bits of t: see kernels.h
 *   v_reduce_max(a)           the largest lane
 * and, if it can do better than through memory:
 *   v_load_first(rest, x, n)  the first n lanes from x, behind them those of rest
 *   v_store_first(x, a, n)    the first n lanes to x
 */
#ifndef GLM_SOFTMAX_H
#define GLM_SOFTMAX_H

#include <string.h>

#ifndef v_load_first
#define v_load_first load_first
#define v_store_first store_first

INLINE vec
load_first(vec rest, const float *x, int n)
{
	float whole[VEC];

	if (n >= VEC)
		return v_load(x);
	v_store(whole, rest);
	memcpy(whole, x, (size_t) n * sizeof(float));
	return v_load(whole);
}

INLINE void
store_first(float *x, vec a, int n)
{
	float whole[VEC];

	if (n >= VEC)
	{
		v_store(x, a);
		return;
	}
	v_store(whole, a);
	memcpy(x, whole, (size_t) n * sizeof(float));
}
#endif

INLINE vec
exponential(vec x)
{
	const vec round = v_set(GLM_EXP_ROUND);
	vec		  t, n, r, p;

	x = v_max(v_set(GLM_EXP_MIN), x);
	x = v_min(v_set(GLM_EXP_MAX), x);
	t = v_fma(x, v_set(GLM_LOG2_E), round);
	n = v_subtract(t, round);
	r = v_fma(n, v_set(-GLM_LN2_HIGH), x);
	r = v_fma(n, v_set(-GLM_LN2_LOW), r);
	p = v_set(GLM_EXP_C7);
	p = v_fma(p, r, v_set(GLM_EXP_C6));
	p = v_fma(p, r, v_set(GLM_EXP_C5));
	p = v_fma(p, r, v_set(GLM_EXP_C4));
	p = v_fma(p, r, v_set(GLM_EXP_C3));
	p = v_fma(p, r, v_set(GLM_EXP_C2));
	p = v_fma(p, r, v_set(1.0f));
	p = v_fma(p, r, v_set(1.0f));
	return v_multiply(p, v_power(t));
}

/* ---- Softmax -------------------------------------------------------------- */

static float
maximum(const float *x, int n, float most)
{
	vec max = v_set(most);
	int i = 0;

	for (; i + VEC <= n; i += VEC)
		max = v_max(v_load(x + i), max);
	if (i < n)
		max = v_max(v_load_first(max, x + i, n - i), max);
	return v_reduce_max(max);
}

/* The weights of x [n], n at most GLM_LANES, added to the lanes of sum. */
INLINE void
softmax_step(float *x, int n, vec max, vec sum[REGISTERS])
{
	for (int q = 0; q < REGISTERS && VEC * q < n; q++, x += VEC)
	{
		int left = n - VEC * q;
		vec weight = exponential(v_subtract(v_load_first(v_zero(), x, left), max));

		v_store_first(x, weight, left);
		if (left < VEC)
			weight = v_load_first(v_zero(), x, left);
		sum[q] = v_add(sum[q], weight);
	}
}

static float
softmax(float *x, int n, float *most)
{
	vec max = v_set(*most = maximum(x, n, *most)), sum[REGISTERS];
	int i = 0;

	for (int q = 0; q < REGISTERS; q++)
		sum[q] = v_zero();
	for (; i + GLM_LANES <= n; i += GLM_LANES)
		softmax_step(x + i, GLM_LANES, max, sum);
	if (i < n)
		softmax_step(x + i, n - i, max, sum);
	return v_reduce(sum);
}

/* ---- SwiGLU --------------------------------------------------------------- */

INLINE void
swiglu_step(float *gate, const float *up, int n)
{
	vec g = v_load_first(v_zero(), gate, n), u = v_load_first(v_zero(), up, n);
	vec silu = v_divide(g, v_add(v_set(1.0f), exponential(v_negate(g))));

	v_store_first(gate, v_multiply(silu, u), n);
}

static void
swiglu(float *gate, const float *up, int n)
{
	int i = 0;

	for (; i + VEC <= n; i += VEC)
		swiglu_step(gate + i, up + i, VEC);
	if (i < n)
		swiglu_step(gate + i, up + i, n - i);
}

/* ---- Sum of squares ------------------------------------------------------- */

/* sum += the squares of x [GLM_SQUARE_LANES] */
INLINE void
square_step(vec sum[4 * REGISTERS], const float *x)
{
#pragma GCC unroll 16
	for (int q = 0; q < 4 * REGISTERS; q++)
	{
		vec v = v_load(x + VEC * q);

		sum[q] = v_fma(v, v, sum[q]);
	}
}

static float
square_sum(const float *x, int n)
{
	vec sum[4 * REGISTERS];
	int i = 0;

#pragma GCC unroll 16
	for (int q = 0; q < 4 * REGISTERS; q++)
		sum[q] = v_zero();
	for (; i + GLM_SQUARE_LANES <= n; i += GLM_SQUARE_LANES)
		square_step(sum, x + i);
	if (i < n)
	{
		float whole[GLM_SQUARE_LANES] = {0};

		memcpy(whole, x + i, (size_t) (n - i) * sizeof(float));
		square_step(sum, whole);
	}
#pragma GCC unroll 4
	for (int q = 0; q < REGISTERS; q++)
		sum[q] = v_add(v_add(sum[q], sum[q + 2 * REGISTERS]),
					   v_add(sum[q + REGISTERS], sum[q + 3 * REGISTERS]));
	return v_reduce(sum);
}

#endif /* GLM_SOFTMAX_H */
