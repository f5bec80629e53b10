/*
 * matrices.c - where a model keeps its weights: matrices and norms by projection and layer,
 * tensors by segment.
 */
#include "engine/model/model.h"

#include <stdlib.h>

/* ---- Reading ------------------------------------------------------------- */

static glm_place *
place_of(const glm_model *model, glm_projection projection, int layer)
{
	return &model->place[(layer - GLM_NO_LAYER) * GLM_N_PROJECTIONS + (int) projection];
}

const glm_matrix *
glm_model_matrices(const glm_model *model, glm_projection projection, int layer, int *n)
{
	const glm_place *place = place_of(model, projection, layer);

	*n = place->n;
	return &model->matrix[place->first];
}

int
glm_model_width(const glm_model *model, glm_projection projection)
{
	bool			  end = projection == GLM_HEAD || projection == GLM_EMBEDDING;
	int				  n;
	const glm_matrix *m = glm_model_matrices(model, projection, end ? GLM_NO_LAYER : 0, &n);

	if (projection == GLM_EMBEDDING)
		return (int) m->tensor.shape[1];
	return m[n - 1].offset + (int) m[n - 1].tensor.shape[0];
}

const float *
glm_model_norm(const glm_model *model, glm_norm norm, int layer)
{
	return model->norm[(layer - GLM_NO_LAYER) * GLM_N_NORMS + (int) norm];
}

const glm_segment *
glm_model_segment(const glm_model *model, int number)
{
	return model->segment == NULL ? NULL : &model->segment[number - GLM_SEGMENT_OUTPUT];
}

/* ---- Making -------------------------------------------------------------- */

static void
add_matrix_of(glm_model *model, const glm_tensor_entry *entry)
{
	glm_place *place = place_of(model, entry->projection, entry->layer);

	if (place->n++ == 0)
		place->first = model->n_matrices;
	model->matrix[model->n_matrices++] =
		(glm_matrix){.projection = entry->projection,
					 .layer = entry->layer,
					 .offset = entry->offset,
					 .tensor = {.n_dims = 2, .shape = {entry->rows, entry->cols}}};
}

bool
glm_model_lay_out(glm_model *model, const glm_tensor_list *list, glm_error *err)
{
	size_t slots = (size_t) model->config.layers + 1;

	model->matrix = calloc((size_t) list->n, sizeof(*model->matrix));
	model->place = calloc(slots * GLM_N_PROJECTIONS, sizeof(*model->place));
	model->norm = calloc(slots * GLM_N_NORMS, sizeof(*model->norm));
	if (model->matrix == NULL || model->place == NULL || model->norm == NULL)
		return glm_no_memory(err);
	for (int i = 0; i < list->n; i++)
		if (list->entry[i].use == GLM_USE_MATRIX)
			add_matrix_of(model, &list->entry[i]);
	return true;
}

glm_matrix *
glm_model_matrix_of(const glm_model *model, const glm_tensor_entry *entry)
{
	glm_matrix *m = &model->matrix[place_of(model, entry->projection, entry->layer)->first];

	while (m->offset != entry->offset)
		m++;
	return m;
}

float **
glm_model_norm_of(const glm_model *model, const glm_tensor_entry *entry)
{
	return &model->norm[(entry->layer - GLM_NO_LAYER) * GLM_N_NORMS + (int) entry->norm];
}
