/*
 * cpu_attention.c - rotary embedding and attention of the CPU backend, over the
 * KV blocks of each row's sequence.
 */
#include "backend_cpu.h"

#include <math.h>
#include <string.h>

/* ---- Rotary embedding and KV ------------------------------------------- */

typedef struct head_args
{
	glm_device		*dev;
	const glm_model *model;
	int				 layer;
	float			*qkv;	/* [n, (heads + 2 groups) * head_dim] */
	float			*out;	/* attention: [n, heads * head_dim] */
	const glm_row	*rows;	/* [n] */
	float			 scale; /* 1 / sqrt(head_dim) */
} head_args;

static float *
qkv_row(const head_args *op, int i)
{
	const glm_model_config *config = &op->model->config;

	return op->qkv +
		   (size_t) i * (size_t) (config->heads + 2 * config->groups) * (size_t) config->head_dim;
}

/*
 * y = x with the pairs (2i, 2i + 1) of its first half turned by the angles of a
 * position; angle [head_dim / 4, 2] of cosines and sines.  y may be x.
 */
static void
rotate(float *y, const float *x, const float *angle, int head_dim)
{
	int half = head_dim / 4 * 2;

	for (int i = 0; i < half; i += 2)
	{
		float x0 = x[i], x1 = x[i + 1];

		y[i] = x0 * angle[i] - x1 * angle[i + 1];
		y[i + 1] = x1 * angle[i] + x0 * angle[i + 1];
	}
	memmove(y + half, x + half, (size_t) (head_dim - half) * sizeof(float));
}

static void
rope_store_rows(const void *arg, int thread, int begin, int end)
{
	const head_args		   *op = arg;
	const glm_model_config *config = &op->model->config;
	size_t					hd = (size_t) config->head_dim;
	size_t					q_width = (size_t) config->heads * hd;
	size_t					kv_width = (size_t) config->groups * hd;

	(void) thread;
	for (int i = begin; i < end; i++)
	{
		const glm_row *row = &op->rows[i];
		float		  *qkv = qkv_row(op, i);
		float		  *block = row->kv->block[row->position / GLM_KV_BLOCK];
		size_t		   place = (size_t) (row->position % GLM_KV_BLOCK) * hd;
		const float	  *angle = op->model->rope + (size_t) row->position * (hd / 4) * 2;

		for (int h = 0; h < config->heads; h++)
			rotate(qkv + (size_t) h * hd, qkv + (size_t) h * hd, angle, config->head_dim);
		for (size_t j = 0; j < q_width; j++)
			qkv[j] *= op->scale;
		for (int g = 0; g < config->groups; g++)
		{
			const float *k = qkv + q_width + (size_t) g * hd;

			rotate(block + glm_kv_keys(config, op->layer, g) + place, k, angle, config->head_dim);
			memcpy(block + glm_kv_values(config, op->layer, g) + place, k + kv_width,
				   hd * sizeof(float));
		}
	}
}

void
glm_cpu_rope_store(glm_device *dev, const glm_model *model, int layer, float *qkv,
				   const glm_row *rows, int n)
{
	const glm_model_config *config = &model->config;
	head_args				op = {.dev = dev,
								  .model = model,
								  .layer = layer,
								  .qkv = qkv,
								  .rows = rows,
								  .scale = 1.0f / sqrtf((float) config->head_dim)};

	glm_cpu_spread(dev, rope_store_rows, &op, n, 1,
				   (size_t) n * (size_t) (config->heads + 2 * config->groups) *
					   (size_t) config->head_dim * 2);
}

/* ---- Attention --------------------------------------------------------- */

/* One head of one row; scores has room for all positions. */
static void
attend(const head_args *op, int i, int head, float *scores)
{
	const glm_kernels	   *kernels = op->dev->kernels;
	const glm_model_config *config = &op->model->config;
	const glm_row		   *row = &op->rows[i];
	int						hd = config->head_dim;
	int						group = head / (config->heads / config->groups);
	int						n = row->position + 1;
	float	  *out = op->out + ((size_t) i * (size_t) config->heads + (size_t) head) * (size_t) hd;
	float	   sum;
	glm_matmul product = {.a = qkv_row(op, i) + (size_t) head * (size_t) hd,
						  .m = 1,
						  .k = hd,
						  .lda = (size_t) hd,
						  .ldc = GLM_KV_BLOCK};

	for (int p = 0; p < n; p += GLM_KV_BLOCK)
	{
		product.n = n - p < GLM_KV_BLOCK ? n - p : GLM_KV_BLOCK;
		product.w = row->kv->block[p / GLM_KV_BLOCK] + glm_kv_keys(config, op->layer, group);
		product.c = scores + p;
		kernels->matmul[GLM_F32](&product, 0, product.n);
	}
	sum = kernels->softmax(scores, n);
	memset(out, 0, (size_t) hd * sizeof(float));
	for (int p = 0; p < n; p += GLM_KV_BLOCK)
		kernels->weigh(out, scores + p,
					   row->kv->block[p / GLM_KV_BLOCK] + glm_kv_values(config, op->layer, group),
					   n - p < GLM_KV_BLOCK ? n - p : GLM_KV_BLOCK, hd);
	for (int d = 0; d < hd; d++)
		out[d] /= sum;
}

/* An item is one head of one row. */
static void
attention_heads(const void *arg, int thread, int begin, int end)
{
	const head_args *op = arg;
	int				 heads = op->model->config.heads;

	for (int item = begin; item < end; item++)
		attend(op, item / heads, item % heads, op->dev->scores[thread]);
}

void
glm_cpu_attention(glm_device *dev, const glm_model *model, int layer, float *out, const float *qkv,
				  const glm_row *rows, int n)
{
	const glm_model_config *config = &model->config;
	head_args				op = {
					  .dev = dev, .model = model, .layer = layer, .qkv = (float *) qkv, .out = out, .rows = rows};
	size_t positions = 0;

	for (int i = 0; i < n; i++)
		positions += (size_t) rows[i].position + 1;
	glm_cpu_spread(dev, attention_heads, &op, n * config->heads, 1,
				   positions * (size_t) config->heads * (size_t) config->head_dim * 2);
}
