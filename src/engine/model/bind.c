/*
 * bind.c - a model's tensors found in its weight files.
 *
 * Matrices are not touched: a glm_tensor is an address in a weight file.  Norms and
 * biases become fp32 in memory of the model, and are checked for NaN and infinity, which
 * in a norm would spoil every token.
 *
 * Each layer is a segment, the embedding and what follows the layers two more.  A segment
 * names all tensors it was read from, vectors too: touching it holds their chunks
 * and thereby verifies them, so that a model whose every segment was touched is one whose
 * every byte that counts was.
 *
 * A checkpoint with more than its config.json announces (further layers, biases) is
 * refused: it would run and answer wrongly.
 */
#include "engine/model/bind.h"

#include <math.h>
#include <stdlib.h>

#include "engine/model/arch.h"

/* ---- Segments ------------------------------------------------------------ */

static int
segment_number(const glm_tensor_entry *entry)
{
	if (entry->layer != GLM_NO_LAYER)
		return entry->layer;
	return entry->use == GLM_USE_MATRIX && entry->projection == GLM_EMBEDDING
			   ? GLM_SEGMENT_EMBEDDING
			   : GLM_SEGMENT_OUTPUT;
}

static glm_segment *
segment_of(const glm_model *model, const glm_tensor_entry *entry)
{
	return &model->segment[segment_number(entry) - GLM_SEGMENT_OUTPUT];
}

/* Takes the memory of all segments in one array, as large as the list. */
static bool
take_segments(glm_model *model, const glm_tensor_list *list, glm_error *err)
{
	int			n_segments = model->config.layers - GLM_SEGMENT_OUTPUT;
	glm_tensor *next;

	model->tensor = calloc((size_t) list->n, sizeof(*model->tensor));
	model->segment = calloc((size_t) n_segments, sizeof(*model->segment));
	if (model->tensor == NULL || model->segment == NULL)
		return glm_no_memory(err);
	for (int i = 0; i < list->n; i++)
		if (list->entry[i].use != GLM_USE_NONE)
			segment_of(model, &list->entry[i])->n++;
	next = model->tensor;
	for (int i = 0; i < n_segments; i++)
	{
		model->segment[i].tensor = next;
		next += model->segment[i].n;
		model->segment[i].n = 0; /* counts those that were found */
	}
	return true;
}

/* ---- Vectors ------------------------------------------------------------- */

/*
 * A tensor of shape [n] as fp32 in malloc'd memory, *out.  Its bytes are read,
 * not mapped: for a few KB no chunk comes in.
 */
static bool
read_vector(const glm_model *model, const char *name, const glm_tensor *t, float **out,
			glm_error *err)
{
	int	  n = (int) t->shape[0];
	void *data = malloc(glm_tensor_bytes(t));
	bool  ok = false;

	*out = malloc((size_t) n * sizeof(float));
	if (data == NULL || *out == NULL)
		glm_no_memory(err);
	else
		ok = glm_shards_read(model->shards, t, data, err);
	if (ok)
		glm_widen(*out, data, t->dtype, (size_t) n);
	for (int i = 0; ok && i < n; i++)
	{
		if (!isfinite((*out)[i]))
			ok = glm_fail(err, GLM_BAD_FILE, "tensor \"%s\" in \"%s\" holds NaN or infinity", name,
						  glm_shards_file(model->shards, name));
	}
	free(data);
	return ok;
}

/* ---- Binding ------------------------------------------------------------- */

static bool
refuse(const glm_model *model, const glm_tensor_entry *entry, glm_error *err)
{
	const char *file = glm_shards_file(model->shards, entry->name);

	return file == NULL || glm_fail(err, entry->status, "tensor \"%s\" in \"%s\" %s", entry->name,
									file, entry->fault);
}

static bool
bind_tensor(const glm_model *model, const glm_tensor_entry *entry, glm_error *err)
{
	const char	*name = entry->name;
	glm_segment *segment = segment_of(model, entry);
	glm_tensor	*t = &segment->tensor[segment->n];

	if (entry->optional && glm_shards_file(model->shards, name) == NULL)
	{
		if (entry->instead == NULL)
			return true;
		name = entry->instead;
	}
	if (!glm_shards_find(model->shards, name, entry->rows, entry->cols, t, err))
		return false;
	segment->n++;
	if (entry->use == GLM_USE_MATRIX)
		glm_model_matrix_of(model, entry)->tensor = *t;
	else if (entry->use == GLM_USE_BIAS)
		return read_vector(model, name, t, &glm_model_matrix_of(model, entry)->bias, err);
	else
		return read_vector(model, name, t, glm_model_norm_of(model, entry), err);
	return true;
}

static bool
bind_list(glm_model *model, const glm_tensor_list *list, glm_error *err)
{
	int layer = GLM_NO_LAYER;

	if (!glm_model_lay_out(model, list, err) || !take_segments(model, list, err))
		return false;
	for (int i = 0; i < list->n; i++)
	{
		const glm_tensor_entry *entry = &list->entry[i];

		if (entry->layer != layer && !glm_pause(err))
			return false;
		layer = entry->layer;
		if (!(entry->use == GLM_USE_NONE ? refuse : bind_tensor)(model, entry, err))
			return false;
	}
	return true;
}

bool
glm_model_bind(glm_model *model, glm_error *err)
{
	glm_tensor_list list = {0};
	bool			ok = model->config.arch->list_tensors(&model->config, &list, err) &&
			  bind_list(model, &list, err);

	glm_tensor_list_free(&list);
	return ok;
}
