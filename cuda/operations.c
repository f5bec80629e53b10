/*
 * operations.c - the operations of a pass: each is put into the device's stream.  How a pass
 * begins and ends is told in gpu_pass.c.
 */
#include "cuda/gpu_fast.h"
#include "cuda/resident.h"

static cuda_launcher *
launcher(cuda_gpu *dev)
{
	return &dev->stream.launcher;
}

static void *
address(glm_mem m)
{
	return (void *) m.at;
}

/* ---- Activations in 8 bits ----------------------------------------------------------------- */

/* Room for those of n rows. */
static cuda_codes
codes(const cuda_part *w, int n, int cols, int group)
{
	return (cuda_codes){.code = cuda_at(w, w->scratch.code),
						.scale = cuda_at(w, w->scratch.scale),
						.minus_sum = cuda_at(w, w->scratch.minus_sum),
						.m = n,
						.group = group,
						.groups = (int) glm_packed_groups((size_t) cols, (size_t) group),
						.ld = (n + GLM_CUDA_ROWS - 1) / GLM_CUDA_ROWS * GLM_CUDA_ROWS};
}

/* Where what is written to `at` [n, cols] is left for the next product; none if it wants floats. */
static cuda_codes
leave(cuda_gpu *dev, glm_mem at, int n, int cols, glm_projection next, int layer)
{
	int				  n_matrices;
	const glm_matrix *m = glm_model_matrices(dev->weights->model, next, layer, &n_matrices);
	int				  group = n_matrices > 0 ? m->tensor.group : 0;

	dev->left.at = 0;
	for (int i = 0; i < n_matrices; i++)
		if (!glm_is_packed(m[i].tensor.dtype) || m[i].tensor.group != group)
			group = 0;
	/* those of attention are made head by head */
	if (group == 0 || (next == GLM_DENSE && dev->weights->model->config.head_dim % group != 0))
		return (cuda_codes){0};
	dev->left = (cuda_left){at.at, n, group};
	return codes(dev->weights, n, cols, group);
}

static int
rows_filled(const cuda_codes *to, int n)
{
	return to->group > 0 ? to->ld : n;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

void
cuda_op_embed(cuda_gpu *dev, glm_mem x)
{
	const cuda_part	  *w = dev->weights;
	int				   n;
	const glm_matrix  *table = glm_model_matrices(w->model, GLM_EMBEDDING, GLM_NO_LAYER, &n);
	const cuda_matrix *m = &w->matrix[table - w->model->matrix];

	cuda_embed(launcher(dev),
			   &(embed_args){.x = address(x),
							 .table = cuda_at(w, m->data),
							 .row = cuda_pass_there(w).row,
							 .picked = cuda_at(w, w->scratch.chosen),
							 .tile_bytes = m->tile_bytes,
							 .head = m->head,
							 .width = (int) table->tensor.shape[1],
							 .dtype = (int) table->tensor.dtype,
							 .group = table->tensor.group},
			   dev->pass->n_rows);
}

void
cuda_op_rmsnorm(cuda_gpu *dev, glm_mem y, glm_mem x, glm_norm norm, int layer, int n)
{
	const cuda_part *w = dev->weights;
	int				 width = w->model->config.hidden;
	glm_projection	 next = norm == GLM_ATTN_NORM  ? GLM_QKV
							: norm == GLM_FFN_NORM ? GLM_GATE_UP
												   : GLM_HEAD;
	cuda_codes		 to;

	to = leave(dev, y, n, width, next, layer);
	cuda_rmsnorm(launcher(dev),
				 &(rmsnorm_args){.y = address(y),
								 .x = address(x),
								 .weight = cuda_at(w, *cuda_weights_norm(w, norm, layer)),
								 .to = to,
								 .width = width,
								 .eps = w->model->config.norm_eps},
				 rows_filled(&to, n));
}

void
cuda_op_gather(cuda_gpu *dev, glm_mem y, glm_mem x, glm_want want)
{
	const cuda_part *w = dev->weights;
	cuda_pass		 there = cuda_pass_there(w);
	bool			 logits = want == GLM_WANT_LOGITS;

	cuda_gather(launcher(dev),
				&(gather_args){.y = address(y),
							   .x = address(x),
							   .index = logits ? there.logits : there.hidden,
							   .width = w->model->config.hidden},
				logits ? dev->pass->n_logits : dev->pass->n_hidden);
}

/* ---- Products ------------------------------------------------------------------------------ */

/* A product of rows of activations with one matrix after the other. */
typedef struct product
{
	cuda_gpu *dev;
	float	 *c;
	size_t	  ldc;
	float	 *a;
	size_t	  lda;
	int		  n;
	bool	  add;
	int		  group;	/* of the activations in 8 bits there are; 0: there are none */
	int		  narrowed; /* see cuda_multiply_fast() */
} product;

static void
multiply_packed(product *p, const glm_matrix *matrix, const cuda_matrix *m)
{
	const cuda_part	 *w = p->dev->weights;
	const glm_tensor *t = &matrix->tensor;
	cuda_codes		  a = codes(w, p->n, (int) t->shape[1], t->group);

	if (p->group != t->group)
		cuda_quantize(
			launcher(p->dev),
			&(quantize_args){.to = a, .a = p->a, .lda = p->lda, .cols = (int) t->shape[1]});
	p->group = t->group;
	cuda_multiply(p->dev,
				  &(packed_args){.c = p->c + matrix->offset,
								 .ldc = p->ldc,
								 .w = cuda_at(w, m->data),
								 .tile_bytes = m->tile_bytes,
								 .head = m->head,
								 .bias = matrix->bias != NULL ? cuda_at(w, m->bias) : NULL,
								 .code = a.code,
								 .scale = a.scale,
								 .minus_sum = a.minus_sum,
								 .m = p->n,
								 .n = (int) t->shape[0],
								 .groups = a.groups,
								 .ld = a.ld,
								 .add = p->add},
				  (int) t->dtype, t->group);
}

static void
multiply_wide(product *p, const glm_matrix *matrix, const cuda_matrix *m)
{
	const cuda_part *w = p->dev->weights;
	const wide_args	 a = {.c = p->c + matrix->offset,
						  .ldc = p->ldc,
						  .w = cuda_at(w, m->data),
						  .bias = matrix->bias != NULL ? cuda_at(w, m->bias) : NULL,
						  .a = p->a,
						  .lda = p->lda,
						  .m = p->n,
						  .n = (int) matrix->tensor.shape[0],
						  .k = (int) matrix->tensor.shape[1],
						  .dtype = (int) matrix->tensor.dtype,
						  .add = p->add};

	if (cuda_is_fast(p->dev, a.dtype))
		cuda_multiply_fast(p->dev, &a, &p->narrowed);
	else
		cuda_wide(launcher(p->dev), &a);
}

void
cuda_op_matmul(cuda_gpu *dev, glm_mem c, glm_mem a, size_t lda, glm_projection projection,
			   int layer, int n, bool add, bool swiglu)
{
	const cuda_part	 *w = dev->weights;
	int				  n_matrices, width = glm_model_width(w->model, projection);
	const glm_matrix *m = glm_model_matrices(w->model, projection, layer, &n_matrices);
	bool			  is_left = dev->left.at == a.at && dev->left.n == n;
	product			  p = {.dev = dev,
						   .c = swiglu ? cuda_at(w, w->scratch.gated) : address(c),
						   .ldc = (size_t) width,
						   .a = address(a),
						   .lda = lda,
						   .n = n,
						   .add = add,
						   .group = is_left ? dev->left.group : 0,
						   .narrowed = GLM_CUDA_F32};

	dev->left.at = 0;
	for (int i = 0; i < n_matrices; i++)
	{
		const cuda_matrix *there = &w->matrix[&m[i] - w->model->matrix];

		if (glm_is_packed(m[i].tensor.dtype))
			multiply_packed(&p, &m[i], there);
		else
			multiply_wide(&p, &m[i], there);
	}
	if (swiglu)
	{
		cuda_codes to = leave(dev, c, n, width / 2, GLM_DOWN, layer);

		cuda_swiglu(launcher(dev), &(swiglu_args){address(c), p.c, to, width / 2},
					rows_filled(&to, n));
	}
}

/* ---- Attention ----------------------------------------------------------------------------- */

static cuda_kv
keys_and_values(const cuda_gpu *dev, int layer)
{
	const glm_model *model = dev->weights->model;

	bool whole = cuda_part_is_whole(dev->weights);

	return (cuda_kv){.pool = (char *) (uintptr_t) (whole ? dev->kv : dev->kv_shared),
					 .block = cuda_pass_there(dev->weights).block,
					 .layer = glm_kv_keys(model, layer - dev->weights->span.first, 0),
					 .half = glm_kv_half_bytes(&model->config, model->kv_dtype),
					 .dtype = (int) model->kv_dtype,
					 .heads = model->config.heads,
					 .groups = model->config.groups,
					 .head_dim = model->config.head_dim};
}

/* Rows of attention go as far as there is room for their stretches. */
static int
rows_at_once(const cuda_part *w, int stretches)
{
	const glm_model_config *config = &w->model->config;
	uint64_t				row = (uint64_t) stretches * (uint64_t) config->heads *
				   ((uint64_t) config->head_dim + 2) * sizeof(float);

	return (int) (w->scratch.part_bytes / row);
}

/* Rows from `at` on; those that fill up are behind the last. */
static cuda_codes
codes_from(cuda_codes to, int at, int rows)
{
	if (to.group == 0)
		return to;
	to.code += (size_t) at * (size_t) (to.groups * to.group);
	to.scale += at;
	to.minus_sum += at;
	to.m = rows;
	return to;
}

void
cuda_op_attention(cuda_gpu *dev, glm_mem out, glm_mem qkv, int layer, int first, int n)
{
	const cuda_part		   *w = dev->weights;
	const glm_model_config *config = &w->model->config;
	const cuda_row		   *row = cuda_pass_there(w).row + first;
	cuda_kv					kv = keys_and_values(dev, layer);
	float				   *part = cuda_at(w, w->scratch.part), *from = address(qkv);
	int						columns = config->heads * config->head_dim;
	size_t					width = (size_t) (columns + 2 * config->groups * config->head_dim);
	int		   stretches = (dev->pass->longest + GLM_CUDA_STRETCH - 1) / GLM_CUDA_STRETCH;
	int		   step = rows_at_once(w, stretches);
	cuda_codes to = leave(dev, out, n, columns, GLM_DENSE, layer);

	cuda_rope_store(launcher(dev),
					&(rope_store_args){kv, from, cuda_at(w, w->rope), row, config->rotary}, n);
	for (int i = 0; i < n; i += step)
	{
		int		  rows = n - i < step ? n - i : step;
		join_args join = {.out = (float *) address(out) + (size_t) i * (size_t) columns,
						  .to = codes_from(to, i, rows),
						  .part = part,
						  .row = row + i,
						  .heads = config->heads,
						  .head_dim = config->head_dim,
						  .stretches = stretches};

		cuda_attend(launcher(dev),
					&(attend_args){kv, part, from + (size_t) i * width, row + i, stretches, 0},
					rows);
		cuda_join(launcher(dev), &join, i + rows < n ? rows : rows_filled(&to, n) - i);
	}
}
