/*
 * resident.c - where all of a model's part lies on a GPU: planned before it is loaded, so that
 * what it needs is known, and taken at once.
 */
#include "cuda/resident.h"

#include "cuda/gpu_fast.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 256
#define MOST_HEAD_DIM 960 /* what `attend` has shared memory for */
/* Of attention's parts: passes beyond it go in slices. */
#define MOST_PART_BYTES ((uint64_t) 32 << 20)

_Static_assert((int) GLM_CUDA_F32 == (int) GLM_F32 && (int) GLM_CUDA_F16 == (int) GLM_F16 &&
				   (int) GLM_CUDA_BF16 == (int) GLM_BF16 && (int) GLM_CUDA_Q4 == (int) GLM_Q4 &&
				   (int) GLM_CUDA_Q8 == (int) GLM_Q8 && (int) GLM_CUDA_I8 == (int) GLM_I8,
			   "types of elements have one number");
_Static_assert((int) GLM_CUDA_KV_BLOCK == (int) GLM_KV_BLOCK &&
				   (int) GLM_CUDA_KV_GROUP == (int) GLM_KV_GROUP &&
				   (int) GLM_CUDA_KV_UNIT == (int) GLM_KV_UNIT,
			   "KV blocks have one shape");

/* ---- The plan ---------------------------------------------------------------------------- */

static cuda_place
reserve(cuda_part *w, uint64_t bytes)
{
	cuda_place place = w->bytes;

	w->bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	return place;
}

static bool
has_matrix(const cuda_span *span, const glm_matrix *m)
{
	if (m->layer != GLM_NO_LAYER)
		return m->layer >= span->first && m->layer < span->last;
	return m->projection == GLM_EMBEDDING ? span->embedding : span->head;
}

/* The norm that belongs to no layer stands before the head. */
static bool
has_norm(const cuda_span *span, int layer)
{
	return layer == GLM_NO_LAYER ? span->head : layer >= span->first && layer < span->last;
}

static void
plan_matrix(cuda_part *w, const glm_matrix *from, cuda_matrix *m)
{
	const glm_tensor *t = &from->tensor;

	m->data = reserve(w, glm_tensor_bytes(t));
	if (from->bias != NULL)
		m->bias = reserve(w, (uint64_t) t->shape[0] * sizeof(float));
	if (glm_is_packed(t->dtype))
	{
		m->tile_bytes = glm_packed_tile_bytes(t->dtype, (size_t) t->shape[1], (size_t) t->group);
		m->head = glm_packed_head(t->dtype, (size_t) t->shape[1], (size_t) t->group);
	}
}

/* Activations in 8 bits for the widest packed matrix, whatever its groups. */
static void
plan_activations(cuda_part *w)
{
	uint64_t rows = ((uint64_t) w->max_rows + GLM_CUDA_ROWS - 1) / GLM_CUDA_ROWS * GLM_CUDA_ROWS;
	uint64_t width = 0;

	for (int i = 0; i < w->model->n_matrices; i++)
	{
		const glm_tensor *t = &w->model->matrix[i].tensor;

		if (glm_is_packed(t->dtype) && (uint64_t) t->shape[1] > width)
			width = (uint64_t) t->shape[1];
	}
	if (width == 0)
		return;
	width = (width + 127) / 128 * 128;
	w->scratch.code = reserve(w, rows * width);
	w->scratch.scale = reserve(w, rows * width / 32 * sizeof(float));
	w->scratch.minus_sum = reserve(w, rows * width / 32 * sizeof(int32_t));
}

static void
plan_narrow(cuda_part *w, const cuda_gpu *dev)
{
	uint64_t rows = (uint64_t) w->max_rows;
	int		 columns = 0;

	for (int i = 0; i < w->model->n_matrices; i++)
	{
		const glm_matrix *m = &w->model->matrix[i];
		int				  k = cuda_narrow_columns((int) m->tensor.shape[1]);

		if (m->projection != GLM_EMBEDDING && cuda_is_fast(dev, (int) m->tensor.dtype) &&
			k > columns)
			columns = k;
	}
	if (columns == 0)
		return;
	w->scratch.narrow = reserve(w, rows * (uint64_t) columns * sizeof(uint16_t));
	w->scratch.narrow_scale = reserve(w, rows * sizeof(float));
}

static uint64_t
part_bytes_of_row(const glm_model_config *config)
{
	uint64_t stretches = ((uint64_t) config->context + GLM_CUDA_STRETCH - 1) / GLM_CUDA_STRETCH;

	return stretches * (uint64_t) config->heads * ((uint64_t) config->head_dim + 2) * sizeof(float);
}

static void
plan_scratch(cuda_part *w, const cuda_gpu *dev)
{
	const glm_model_config *config = &w->model->config;
	cuda_scratch		   *s = &w->scratch;
	uint64_t				rows = (uint64_t) w->max_rows, row = part_bytes_of_row(config);
	uint64_t				vocab = (uint64_t) config->vocab;

	plan_activations(w);
	plan_narrow(w, dev);
	s->gated = reserve(w, rows * (uint64_t) glm_model_width(w->model, GLM_GATE_UP) * sizeof(float));
	s->part_bytes = row * rows < MOST_PART_BYTES ? row * rows : MOST_PART_BYTES;
	s->part_bytes = s->part_bytes > row ? s->part_bytes : row;
	s->part = reserve(w, s->part_bytes);
	if (!w->span.embedding)
		s->landing = reserve(w, rows * (uint64_t) config->hidden * sizeof(float));
	if (w->span.head)
	{
		s->changed = reserve(w, PICK_ROWS * vocab * sizeof(float));
		s->candidate = reserve(w, PICK_ROWS * vocab * sizeof(cuda_candidate));
		s->sum = reserve(w, PICK_ROWS * (vocab / GLM_CUDA_SUM_BLOCK + 1) * sizeof(double));
		s->pick_data = reserve(w, CUDA_PICK_BYTES);
	}
	s->pick = reserve(w, rows * sizeof(cuda_pick));
	s->picked = reserve(w, rows * sizeof(cuda_picked));
	s->chosen = reserve(w, rows * sizeof(cuda_picked));
	w->most_blocks = (size_t) rows * (((size_t) config->context + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK);
	s->pass = reserve(w, rows * (sizeof(cuda_row) + 2 * sizeof(int32_t)) +
							 w->most_blocks * sizeof(uint32_t));
}

static bool
take_lists(cuda_part *w, glm_error *err)
{
	size_t layers = (size_t) w->model->config.layers + 1;

	w->matrix = calloc((size_t) w->model->n_matrices, sizeof(*w->matrix));
	w->norm = calloc(layers * GLM_N_NORMS, sizeof(*w->norm));
	return (w->matrix != NULL && w->norm != NULL) || glm_no_memory(err);
}

cuda_place *
cuda_weights_norm(const cuda_part *w, glm_norm norm, int layer)
{
	return &w->norm[(layer - GLM_NO_LAYER) * GLM_N_NORMS + (int) norm];
}

bool
cuda_weights_plan(cuda_part *w, const cuda_gpu *dev, const glm_model *model, const cuda_span *span,
				  int max_rows, glm_error *err)
{
	const glm_model_config *config = &model->config;

	*w = (cuda_part){.model = model, .span = *span, .max_rows = max_rows};
	if (config->head_dim > MOST_HEAD_DIM)
		return glm_fail(err, GLM_UNSUPPORTED,
						"heads of %d elements do not fit into a GPU's kernels, %d do",
						config->head_dim, MOST_HEAD_DIM);
	if (!take_lists(w, err))
	{
		cuda_weights_forget(w);
		return false;
	}
	for (int i = 0; i < model->n_matrices; i++)
		if (has_matrix(span, &model->matrix[i]))
			plan_matrix(w, &model->matrix[i], &w->matrix[i]);
	for (int l = GLM_NO_LAYER; l < config->layers; l++)
		for (int n = 0; n < GLM_N_NORMS; n++)
			if (has_norm(span, l) && glm_model_norm(model, (glm_norm) n, l) != NULL)
				*cuda_weights_norm(w, (glm_norm) n, l) =
					reserve(w, (uint64_t) config->hidden * sizeof(float));
	w->rope = reserve(w, (uint64_t) config->context * (uint64_t) config->rotary * sizeof(float));
	plan_scratch(w, dev);
	return true;
}

void
cuda_weights_forget(cuda_part *w)
{
	free(w->matrix);
	free(w->norm);
	w->matrix = NULL;
	w->norm = NULL;
}

uint64_t
cuda_weights_need(const cuda_gpu *dev, const glm_model *model, const cuda_span *span, int max_rows)
{
	cuda_part w;
	glm_error err;

	/* load() says why it cannot be */
	if (!cuda_weights_plan(&w, dev, model, span, max_rows, &err))
		return 0;
	cuda_weights_forget(&w);
	return w.bytes;
}

bool
cuda_part_is_whole(const cuda_part *w)
{
	return w->span.embedding && w->span.head;
}

void
cuda_unload(cuda_gpu *dev, cuda_part *w)
{
	cuda_enter(dev);
	if (w->memory != 0)
		dev->driver->memory_give(w->memory);
	if (w->pinned != NULL)
		dev->driver->pinned_give(w->pinned);
	cuda_weights_forget(w);
	free(w);
}
