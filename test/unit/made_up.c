/*
 * made_up.c - see made_up.h.
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
#include "engine/model/arch.h"
#include "engine/model/kv_layout.h"
#include "made_up.h"
#include "matrix.h"

/* ---- A made-up model ------------------------------------------------------ */

static uint64_t seed = 11;

static float
random_float(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (float) (int32_t) (seed >> 32) * 0x1p-31f;
}

static float *
random_vector(size_t n, float middle)
{
	float *x = malloc(n * sizeof(float));

	assert_non_null(x);
	for (size_t i = 0; i < n; i++)
		x[i] = middle + 0.2f * random_float();
	return x;
}

/* The upper 16 bits of a float are a BF16; an F16 of its size is made by fields. */
static uint16_t
to_half(float value, glm_dtype dtype)
{
	uint32_t bits;
	int		 exponent;
	double	 mantissa;

	memcpy(&bits, &value, sizeof bits);
	if (dtype == GLM_BF16)
		return (uint16_t) (bits >> 16);
	mantissa = frexp(fabs((double) value), &exponent);
	if (exponent < -13)
		return 0;
	return (uint16_t) ((bits >> 31 << 15) | (uint32_t) (exponent + 14) << 10 |
					   ((uint32_t) (mantissa * 2048) & 0x3ff));
}

static glm_tensor
packed_matrix(int rows, int columns, glm_dtype dtype)
{
	float			*w = mx_weights(rows, columns);
	glm_quant_matrix q;
	glm_tensor		 t;

	mx_quantize(&q, dtype, GLM_ROUND_HQQ, w, rows, columns, 32);
	t = mx_pack(&q);
	glm_quant_close(&q);
	free(w);
	return t;
}

static glm_tensor
random_matrix(int rows, int columns, glm_dtype dtype)
{
	size_t	  n = (size_t) rows * (size_t) columns;
	float	 *x = malloc(n * sizeof(float));
	uint16_t *half = (uint16_t *) x;
	float	  size = 1.5f / sqrtf((float) columns);

	assert_non_null(x);
	if (glm_is_packed(dtype))
	{
		free(x);
		return packed_matrix(rows, columns, dtype);
	}
	for (size_t i = 0; i < n; i++)
	{
		float value = size * random_float();

		if (dtype == GLM_F32)
			x[i] = value;
		else
			half[i] = to_half(value, dtype);
	}
	return (glm_tensor){.data = x, .dtype = dtype, .n_dims = 2, .shape = {rows, columns}};
}

/* Everything that a model of this config has. */
static void
make_weights(glm_model *model, glm_dtype dtype)
{
	glm_tensor_list list = {0};
	glm_error		err;

	assert_true(model->config.arch->list_tensors(&model->config, &list, &err));
	assert_true(glm_model_lay_out(model, &list, &err));
	for (int i = 0; i < list.n; i++)
	{
		const glm_tensor_entry *e = &list.entry[i];

		if (e->use == GLM_USE_MATRIX)
			glm_model_matrix_of(model, e)->tensor = random_matrix(e->rows, e->cols, dtype);
		else if (e->use == GLM_USE_BIAS)
			glm_model_matrix_of(model, e)->bias = random_vector((size_t) e->rows, 0);
		else if (e->use == GLM_USE_NORM)
			*glm_model_norm_of(model, e) = random_vector((size_t) e->rows, 1);
	}
	glm_tensor_list_free(&list);
}

glm_tensor *
md_tensor(const glm_model *model, glm_projection projection, int layer)
{
	int				  n;
	const glm_matrix *m = glm_model_matrices(model, projection, layer, &n);

	assert_int_equal(n, 1);
	return (glm_tensor *) &m->tensor;
}

const float *
md_bias(const glm_model *model, int layer)
{
	int n;

	return glm_model_matrices(model, GLM_QKV, layer, &n)->bias;
}

/* Nothing here is a multiple of 16, and one row is work enough for two threads. */
glm_model *
md_make_deep(glm_dtype dtype, glm_dtype kv_dtype, int layers)
{
	glm_model		*model = calloc(1, sizeof(*model));
	glm_model_config config = {.layers = layers,
							   .hidden = 136,
							   .heads = 6,
							   .groups = 2,
							   .head_dim = 20,
							   .ffn = 262,
							   .vocab = 509,
							   .context = MD_CONTEXT,
							   .norm_eps = 1e-5f,
							   .rotary = 10,
							   .rope_base = 10000,
							   .final_norm = true,
							   .qkv_bias = true,
							   .arch = &glm_arch_chatglm};
	int				 pairs = config.rotary / 2;

	assert_non_null(model);
	model->config = config;
	model->name = strdup("made-up");
	make_weights(model, dtype);
	model->rope = malloc((size_t) (MD_CONTEXT * pairs * 2) * sizeof(float));
	assert_true(model->name && model->rope);
	for (int p = 0; p < MD_CONTEXT; p++)
		for (int i = 0; i < pairs; i++)
		{
			double angle = p * pow(10000, -2.0 * i / config.rotary);

			model->rope[(p * pairs + i) * 2] = (float) cos(angle);
			model->rope[(p * pairs + i) * 2 + 1] = (float) sin(angle);
		}
	model->kv_dtype = kv_dtype;
	model->kv_block_bytes = glm_kv_block_bytes(&config, model->kv_dtype);
	return model;
}

glm_model *
md_make(glm_dtype dtype, glm_dtype kv_dtype)
{
	return md_make_deep(dtype, kv_dtype, 2);
}

void
md_free_matrix(glm_tensor *t)
{
	if (glm_is_packed(t->dtype))
		mx_unpack(t);
	else
		free((void *) t->data);
}

void
md_free(glm_model *model)
{
	for (int i = 0; i < model->n_matrices; i++)
		md_free_matrix(&model->matrix[i].tensor);
	glm_model_close(model);
}

/* ---- The same in double ---------------------------------------------------- */

/* x [n] as products with packed weights see it: rounded to 8 bits in groups. */
static void
slow_int8(double *rounded, const double *x, int n, int group)
{
	for (int begin = 0; begin < n; begin += group)
	{
		int	   end = begin + group < n ? begin + group : n;
		double max = 0;

		for (int i = begin; i < end; i++)
			max = fmax(max, fabs(x[i]));
		for (int i = begin; i < end; i++)
			rounded[i] = max > 0 ? nearbyint(x[i] / max * 127) * max / 127 : 0;
	}
}

void
md_product(double *y, const glm_tensor *w, const double *x, const float *bias)
{
	double rounded[262];

	if (glm_is_packed(w->dtype))
	{
		slow_int8(rounded, x, (int) w->shape[1], w->group);
		x = rounded;
	}
	for (int r = 0; r < w->shape[0]; r++)
	{
		float row[262];

		mx_row(row, w, r);
		y[r] = bias ? bias[r] : 0;
		for (int c = 0; c < w->shape[1]; c++)
			y[r] += row[c] * x[c];
	}
}

void
md_norm(double *y, const double *x, const float *weight, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += x[i] * x[i];
	for (int i = 0; i < n; i++)
		y[i] = x[i] / sqrt(sum / n + 1e-5) * weight[i];
}

static void
slow_rotate(double *head, int position)
{
	for (int i = 0; i < 5; i++)
	{
		double angle = position * pow(10000, -2.0 * i / 10);
		double a = head[2 * i], b = head[2 * i + 1];

		head[2 * i] = a * cos(angle) - b * sin(angle);
		head[2 * i + 1] = a * sin(angle) + b * cos(angle);
	}
}

/* One row of a layer; kv [position, K then V of both groups]. */
void
md_layer(const glm_model *model, int l, double *x, double kv[][80], int position)
{
	double normed[136], qkv[200], context[120] = {0}, ffn[524], out[136];

	md_norm(normed, x, glm_model_norm(model, GLM_ATTN_NORM, l), 136);
	md_product(qkv, md_tensor(model, GLM_QKV, l), normed, md_bias(model, l));
	for (int h = 0; h < 8; h++)
		slow_rotate(qkv + 20 * h, position);
	memcpy(kv[position], qkv + 120, sizeof(kv[position]));
	for (int h = 0; h < 6; h++)
	{
		double sum = 0, score[MD_CONTEXT];

		for (int p = 0; p <= position; p++)
		{
			score[p] = 0;
			for (int d = 0; d < 20; d++)
				score[p] += qkv[20 * h + d] * kv[p][20 * (h / 3) + d] / sqrt(20);
			sum += score[p] = exp(score[p]);
		}
		for (int p = 0; p <= position; p++)
			for (int d = 0; d < 20; d++)
				context[20 * h + d] += score[p] / sum * kv[p][40 + 20 * (h / 3) + d];
	}
	md_product(out, md_tensor(model, GLM_DENSE, l), context, NULL);
	for (int i = 0; i < 136; i++)
		x[i] += out[i];
	md_norm(normed, x, glm_model_norm(model, GLM_FFN_NORM, l), 136);
	md_product(ffn, md_tensor(model, GLM_GATE_UP, l), normed, NULL);
	for (int i = 0; i < 262; i++)
		ffn[i] = ffn[i] / (1 + exp(-ffn[i])) * ffn[262 + i];
	md_product(out, md_tensor(model, GLM_DOWN, l), ffn, NULL);
	for (int i = 0; i < 136; i++)
		x[i] += out[i];
}
