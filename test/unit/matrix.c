/*
 * matrix.c - see matrix.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/half.h"
#include "matrix.h"

#define DIRECTIONS 24

uint64_t mx_seed = 5;

uint32_t
mx_bits(void)
{
	mx_seed = mx_seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t) (mx_seed >> 32);
}

double
mx_normal(void)
{
	double u = (mx_bits() + 1.0) * 0x1p-32;
	double v = mx_bits() * 0x1p-32;

	return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

float *
mx_weights(int rows, int cols)
{
	size_t n = (size_t) rows * (size_t) cols;
	float *w = malloc(n * sizeof(float));

	assert_non_null(w);
	for (size_t i = 0; i < n; i++)
		w[i] = (float) (0.02 * mx_normal());
	return w;
}

float *
mx_inputs(int n, int cols)
{
	float *x = malloc((size_t) n * (size_t) cols * sizeof(float));
	float *direction = mx_weights(DIRECTIONS, cols);
	float *size = mx_weights(1, cols);

	assert_non_null(x);
	for (int i = 0; i < n; i++)
	{
		double part[DIRECTIONS];

		for (int d = 0; d < DIRECTIONS; d++)
			part[d] = 50 * mx_normal() / sqrt(1 + d);
		for (int j = 0; j < cols; j++)
		{
			double sum = 0.7 * mx_normal();

			for (int d = 0; d < DIRECTIONS; d++)
				sum += part[d] * direction[(size_t) d * (size_t) cols + (size_t) j];
			x[(size_t) i * (size_t) cols + (size_t) j] = (float) (sum * exp(40 * size[j]));
		}
	}
	free(direction);
	free(size);
	return x;
}

void
mx_quantize(glm_quant_matrix *q, glm_dtype dtype, glm_rounding how, const float *w, int rows,
			int cols, int group)
{
	const glm_work alone = {0};
	glm_error	   err;

	if (!glm_quant_open(q, dtype, rows, cols, group, &err) ||
		!glm_quant_round(q, how, w, &alone, &err))
		fail_msg("%s", err.message);
}

glm_tensor
mx_pack(const glm_quant_matrix *q)
{
	size_t bytes =
		glm_packed_bytes(q->dtype, (size_t) q->rows, (size_t) q->cols, (size_t) q->group);
	const glm_work alone = {0};
	uint8_t		  *data = malloc(bytes + 1);
	glm_error	   err;

	assert_non_null(data);
	assert_true(glm_quant_write(data + 1, q, &alone, &err));
	return (glm_tensor){.data = data + 1,
						.dtype = q->dtype,
						.n_dims = 2,
						.shape = {q->rows, q->cols},
						.group = q->group};
}

void
mx_unpack(glm_tensor *t)
{
	free((uint8_t *) t->data - 1);
	t->data = NULL;
}

bool
mx_same(const glm_quant_matrix *a, const glm_quant_matrix *b)
{
	size_t n = (size_t) a->rows * (size_t) a->groups;

	return memcmp(a->code, b->code, n * (size_t) a->group) == 0 &&
		   memcmp(a->scale, b->scale, n * sizeof(*a->scale)) == 0 &&
		   (a->zero == NULL || memcmp(a->zero, b->zero, n) == 0);
}

void
mx_row(float *y, const glm_tensor *t, int row)
{
	size_t first = (size_t) row * (size_t) t->shape[1];

	if (glm_is_packed(t->dtype))
	{
		glm_packed_row(y, t, row);
		return;
	}
	for (int i = 0; i < t->shape[1]; i++)
	{
		uint16_t half = ((const uint16_t *) t->data)[first + (size_t) i];

		y[i] = t->dtype == GLM_F32	 ? ((const float *) t->data)[first + (size_t) i]
			   : t->dtype == GLM_F16 ? glm_f16_to_f32(half)
									 : glm_bf16_to_f32(half);
	}
}

float *
mx_widen(const glm_tensor *t)
{
	size_t columns = (size_t) t->shape[1];
	float *x = malloc((size_t) t->shape[0] * columns * sizeof(float));

	assert_non_null(x);
	for (int r = 0; r < t->shape[0]; r++)
		mx_row(x + (size_t) r * columns, t, r);
	return x;
}
