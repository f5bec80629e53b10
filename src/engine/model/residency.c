/*
 * residency.c - the weights of a model that somebody keeps readable.
 */
#include "engine/model/residency.h"

#include <stdlib.h>

bool
glm_residency_open(glm_residency *r, const glm_model *model, glm_error *err)
{
	size_t segments = (size_t) (model->config.layers - GLM_SEGMENT_OUTPUT);

	r->model = model;
	r->touched = calloc(segments, sizeof(*r->touched));
	atomic_init(&r->complete, false);
	return r->touched != NULL || glm_no_memory(err);
}

void
glm_residency_close(glm_residency *r)
{
	for (int i = GLM_SEGMENT_OUTPUT; r->touched != NULL && i < r->model->config.layers; i++)
		glm_residency_release(r, i);
	free(r->touched);
	r->touched = NULL;
}

static bool *
touched(const glm_residency *r, int segment)
{
	return &r->touched[segment - GLM_SEGMENT_OUTPUT];
}

static void
drop_tensors(const glm_residency *r, const glm_segment *segment, int n)
{
	for (int i = 0; i < n; i++)
		glm_shards_drop(r->model->shards, &segment->tensor[i]);
}

bool
glm_residency_touch(glm_residency *r, int number, glm_error *err)
{
	const glm_segment *segment = glm_model_segment(r->model, number);

	if (segment == NULL || *touched(r, number))
		return true;
	/* a walk begins here and needs every chunk: several threads check them sooner than one */
	if (number == GLM_SEGMENT_EMBEDDING && !glm_shards_verify(r->model->shards, err))
		return false;
	for (int i = 0; i < segment->n; i++)
	{
		if (!glm_shards_hold(r->model->shards, &segment->tensor[i], err))
		{
			drop_tensors(r, segment, i);
			return false;
		}
	}
	*touched(r, number) = true;
	return true;
}

void
glm_residency_release(glm_residency *r, int number)
{
	const glm_segment *segment = glm_model_segment(r->model, number);

	if (*touched(r, number))
		drop_tensors(r, segment, segment->n);
	*touched(r, number) = false;
}

static bool
populate(glm_residency *r, int number, glm_error *err)
{
	const glm_segment *segment = glm_model_segment(r->model, number);

	for (int i = 0; segment != NULL && i < segment->n; i++)
	{
		if (!glm_shards_populate(r->model->shards, &segment->tensor[i], err))
			return false;
	}
	return true;
}

bool
glm_residency_hold(glm_residency *r, glm_error *err)
{
	int layers = r->model->config.layers;

	for (int i = 0; i < layers - GLM_SEGMENT_OUTPUT; i++)
	{
		/* as a pass reads them: the embedding first, the head last */
		int number = i == 0 ? GLM_SEGMENT_EMBEDDING : i <= layers ? i - 1 : GLM_SEGMENT_OUTPUT;

		if (!(glm_residency_complete(r) ? populate : glm_residency_touch)(r, number, err) ||
			!glm_pause(err))
			return false;
	}
	atomic_store(&r->complete, true);
	return true;
}

bool
glm_residency_complete(const glm_residency *r)
{
	return atomic_load(&r->complete);
}
