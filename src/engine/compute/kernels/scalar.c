/*
 * scalar.c - the kernel table in plain C: runs anywhere, and defines by its
 * results what every other table must compute (see kernels.h).
 *
 * Written to be read, not to be fast: fmaf is a library call where the
 * compiler may not assume FMA instructions.
 */
#include "engine/compute/kernels/kernels.h"

#include <math.h>
#include <string.h>

#include "engine/base/half.h"
#include "engine/compute/kernels/elementwise.h"
#include "engine/model/kv_layout.h"

static float
reduce(const float lane[GLM_LANES])
{
	float s[8];

	for (int j = 0; j < 8; j++)
		s[j] = lane[j] + lane[j + 8];
	for (int j = 0; j < 4; j++)
		s[j] = s[j] + s[j + 4];
	return (s[0] + s[2]) + (s[1] + s[3]);
}

static float
exponential(float x)
{
	float	 t, n, r, p;
	uint32_t bits;

	x = x < GLM_EXP_MIN ? GLM_EXP_MIN : x;
	x = x > GLM_EXP_MAX ? GLM_EXP_MAX : x;
	t = fmaf(x, GLM_LOG2_E, GLM_EXP_ROUND);
	n = t - GLM_EXP_ROUND;
	r = fmaf(n, -GLM_LN2_HIGH, x);
	r = fmaf(n, -GLM_LN2_LOW, r);
	p = GLM_EXP_C7;
	p = fmaf(p, r, GLM_EXP_C6);
	p = fmaf(p, r, GLM_EXP_C5);
	p = fmaf(p, r, GLM_EXP_C4);
	p = fmaf(p, r, GLM_EXP_C3);
	p = fmaf(p, r, GLM_EXP_C2);
	p = fmaf(p, r, 1.0f);
	p = fmaf(p, r, 1.0f);
	memcpy(&bits, &t, sizeof bits);
	return p * glm_bits_to_f32((bits << 23) + GLM_EXP_ONE);
}

static size_t
element_size(glm_dtype dtype)
{
	return dtype == GLM_F32 ? 4 : 2;
}

/* Element i of an array that may be unaligned. */
static float
element(const uint8_t *array, int i, glm_dtype dtype)
{
	const uint8_t *p = array + (size_t) i * element_size(dtype);
	float		   value;
	uint16_t	   half;

	if (dtype == GLM_F32)
	{
		memcpy(&value, p, sizeof value);
		return value;
	}
	memcpy(&half, p, sizeof half);
	return dtype == GLM_F16 ? glm_f16_to_f32(half) : glm_bf16_to_f32(half);
}

/* a [k] . w [k] */
static float
dot(const float *a, const uint8_t *w, int k, glm_dtype dtype)
{
	float lane[GLM_LANES] = {0};

	for (int i = 0; i < k; i += GLM_LANES)
	{
		for (int j = 0; j < GLM_LANES; j++)
		{
			bool inside = i + j < k;

			lane[j] =
				fmaf(inside ? a[i + j] : 0.0f, inside ? element(w, i + j, dtype) : 0.0f, lane[j]);
		}
	}
	return reduce(lane);
}

static void
matmul(const glm_matmul *op, int n0, int n1, glm_dtype dtype)
{
	size_t row_bytes = (size_t) op->k * element_size(dtype);

	for (int j = n0; j < n1; j++)
	{
		const uint8_t *w = (const uint8_t *) op->w + (size_t) j * row_bytes;

		for (int i = 0; i < op->m; i++)
		{
			float sum = dot(op->a + (size_t) i * op->lda, w, op->k, dtype);

			op->c[(size_t) i * op->ldc + j] = op->bias ? sum + op->bias[j] : sum;
		}
	}
}

static void
matmul_f32(const glm_matmul *op, int n0, int n1)
{
	matmul(op, n0, n1, GLM_F32);
}

static void
matmul_f16(const glm_matmul *op, int n0, int n1)
{
	matmul(op, n0, n1, GLM_F16);
}

static void
matmul_bf16(const glm_matmul *op, int n0, int n1)
{
	matmul(op, n0, n1, GLM_BF16);
}

static float
softmax(float *x, int n, float *most)
{
	float lane[GLM_LANES] = {0};
	float max = *most;

	for (int i = 0; i < n; i++)
		max = x[i] > max ? x[i] : max;
	*most = max;
	for (int i = 0; i < n; i++)
	{
		x[i] = exponential(x[i] - max);
		lane[i % GLM_LANES] += x[i];
	}
	return reduce(lane);
}

/* V[i, d] */
static float
value_at(const glm_weighted_sum *op, int i, int d)
{
	int at = i * op->width + d;
	int groups = (op->width + GLM_KV_GROUP - 1) / GLM_KV_GROUP;

	if (op->dtype != GLM_I8)
		return element(op->v, at, op->dtype);
	return (float) ((const int8_t *) op->v)[at] *
		   op->scale[op->down ? i / GLM_KV_GROUP * op->width + d : i * groups + d / GLM_KV_GROUP];
}

static void
weighted_sum(const glm_weighted_sum *op)
{
	for (int r = 0; r < op->m; r++)
		for (int d = 0; d < op->width; d++)
		{
			float *y = op->y + (size_t) r * op->ldy + d;
			float  sum = op->add ? *y : 0.0f;

			for (int i = 0; i < op->n; i++)
				sum = fmaf(op->p[(size_t) r * op->ldp + (size_t) i], value_at(op, i, d), sum);
			*y = sum;
		}
}

static float
square_sum(const float *x, int n)
{
	float lane[GLM_SQUARE_LANES] = {0};

	for (int i = 0; i < n; i++)
		lane[i % GLM_SQUARE_LANES] = fmaf(x[i], x[i], lane[i % GLM_SQUARE_LANES]);
	for (int width = GLM_SQUARE_LANES / 2; width >= GLM_LANES; width /= 2)
		for (int j = 0; j < width; j++)
			lane[j] += lane[j + width];
	return reduce(lane);
}

static void
swiglu(float *gate, const float *up, int n)
{
	for (int i = 0; i < n; i++)
		gate[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
}

const glm_kernels glm_kernels_scalar = {
	.name = "scalar",
	.matmul =
		{
			[GLM_F32] = matmul_f32,
			[GLM_F16] = matmul_f16,
			[GLM_BF16] = matmul_bf16,
		},
	.softmax = softmax,
	.weighted_sum = weighted_sum,
	.swiglu = swiglu,
	.square_sum = square_sum,
	.scale = scale,
	.add = add,
	.join = join,
	.divide = divide,
	.rotate = rotate,
};
