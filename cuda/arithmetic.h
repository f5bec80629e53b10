/*
 * arithmetic.h - what several kernels compute with, each as engine/compute/kernels/kernels.h
 * defines it.  That file needs C11's atomics, so its numbers stand here once more; a wrong
 * one is found by whatever compares the kernels with the CPU's.
 */
#ifndef GLM_CUDA_ARITHMETIC_H
#define GLM_CUDA_ARITHMETIC_H

#include "cuda/gpu.h"
#include "cuda/gpu_kernels.h"

#define LANES 16
#define SQUARE_LANES 64

#define EXP_MIN -87.0f
#define EXP_MAX 88.0f
#define EXP_ROUND 0x1.8p23f
#define EXP_ONE 0x3f800000u
#define LOG2_E 0x1.715476p+0f
#define LN2_HIGH 0x1.62e4p-1f
#define LN2_LOW 0x1.7f7d1cp-20f

#define ALL_LANES 0xffffffffu
#define MINUS_INFINITY __uint_as_float(0xff800000u)
#define NOT_A_NUMBER __uint_as_float(0x7fc00000u)

/* e^x, see kernels.h */
DEVICE float
exponential(float x)
{
	float t, n, r, p;

	x = x < EXP_MIN ? EXP_MIN : x;
	x = x > EXP_MAX ? EXP_MAX : x;
	t = __fmaf_rn(x, LOG2_E, EXP_ROUND);
	n = __fsub_rn(t, EXP_ROUND);
	r = __fmaf_rn(n, -LN2_HIGH, x);
	r = __fmaf_rn(n, -LN2_LOW, r);
	p = 1.0f / 5040;
	p = __fmaf_rn(p, r, 1.0f / 720);
	p = __fmaf_rn(p, r, 1.0f / 120);
	p = __fmaf_rn(p, r, 1.0f / 24);
	p = __fmaf_rn(p, r, 1.0f / 6);
	p = __fmaf_rn(p, r, 0.5f);
	p = __fmaf_rn(p, r, 1.0f);
	p = __fmaf_rn(p, r, 1.0f);
	return __fmul_rn(p, __uint_as_float((__float_as_uint(t) << 23) + EXP_ONE));
}

/* The tree over 16 lanes of a half warp; its first lane has the sum. */
DEVICE float
sum_lanes16(float x)
{
	for (int by = LANES / 2; by >= 1; by /= 2)
		x = __fadd_rn(x, __shfl_down_sync(ALL_LANES, x, by, LANES));
	return x;
}

/* The largest of a warp, in all its lanes. */
template <class T>
DEVICE T
largest_of_warp(T x)
{
	for (int by = 16; by >= 1; by /= 2)
	{
		T other = __shfl_xor_sync(ALL_LANES, x, by);

		x = other > x ? other : x;
	}
	return x;
}

/* Element i of plain weights, or of keys and values that are. */
DEVICE float
element(const void *x, uint64_t i, int dtype)
{
	uint16_t half;

	if (dtype == GLM_CUDA_F32)
		return ((const float *) x)[i];
	half = ((const uint16_t *) x)[i];
	return dtype == GLM_CUDA_F16 ? f16_to_f32(half) : __uint_as_float((unsigned) half << 16);
}

/* What a product becomes in c: a sum with a bias, and with what is there. */
DEVICE void
put_product(float *c, float sum, const float *bias, int column, bool add)
{
	sum = bias != NULL ? __fadd_rn(sum, bias[column]) : sum;
	*c = add ? __fadd_rn(*c, sum) : sum;
}

#endif /* GLM_CUDA_ARITHMETIC_H */
