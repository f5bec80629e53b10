/*
 * gpu_pick.c - tokens that a GPU picks: what it is told of them.
 *
 * Picks point to sets of ids and lists of changes in the host's memory.  These go to the device
 * in one piece, by pinned memory, and picks point to them there.  How much that is changes from
 * pass to pass, so it is no part of a graph.
 */
#include <string.h>

#include "cuda/resident.h"
#include "engine/base/drawing.h"

_Static_assert(sizeof(cuda_change) == sizeof(glm_pick_change) && (int) GLM_CUDA_BAN == GLM_BIAS_BAN,
			   "changes are told as they are");

/* Puts so many bytes behind what was put; where they will be on the device, NULL: nowhere. */
static const void *
put(cuda_gpu *dev, size_t *used, const void *from, size_t bytes)
{
	const cuda_part *w = dev->weights;
	size_t			 at = *used;

	if (from == NULL || bytes == 0)
		return NULL;
	if (bytes > CUDA_PICK_BYTES - at)
	{
		dev->stream.failed = true;
		glm_fail(&dev->stream.why, GLM_INTERNAL, "picks point to more than %zu bytes",
				 CUDA_PICK_BYTES);
		return NULL;
	}
	memcpy(cuda_pinned_of(dev)->pick_data + at, from, bytes);
	*used = (at + bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t) * sizeof(uint64_t);
	return (const char *) cuda_at(w, w->scratch.pick_data) + at;
}

static cuda_pick
told(cuda_gpu *dev, size_t *used, const glm_pick *pick)
{
	size_t set = GLM_PICK_SET_BYTES(pick->n_ids);

	return (cuda_pick){
		.temperature = pick->temperature,
		.top_p = pick->top_p,
		.min_p = pick->min_p,
		.repetition = pick->repetition,
		.frequency = pick->frequency,
		.presence = pick->presence,
		.seed = pick->seed,
		.index = pick->index,
		.mask = put(dev, used, pick->mask, set),
		.seen = put(dev, used, pick->seen, set),
		.change = put(dev, used, pick->change, (size_t) pick->n_changes * sizeof(*pick->change)),
		.n_changes = pick->n_changes,
		.top_k = pick->top_k,
		.n_ids = pick->n_ids,
		.logprob = pick->logprob};
}

void
cuda_op_pick(cuda_gpu *dev, glm_picked_id *picked, glm_mem logits, const glm_pick *pick, int n)
{
	const cuda_part	  *w = dev->weights;
	const cuda_pinned *pinned = cuda_pinned_of(dev);
	size_t			   vocab = (size_t) w->model->config.vocab, used = 0;
	cuda_pick		  *there = cuda_at(w, w->scratch.pick);
	cuda_picked		  *ids = cuda_at(w, w->scratch.picked);

	for (int i = 0; i < n; i++)
		pinned->pick[i] = told(dev, &used, &pick[i]);
	cuda_stream_put_first(&dev->stream, (uintptr_t) there, pinned->pick,
						  (size_t) n * sizeof(*there));
	if (used > 0)
		cuda_stream_put_first(&dev->stream, w->memory + w->scratch.pick_data, pinned->pick_data,
							  used);
	for (int i = 0; i < n; i += PICK_ROWS)
		cuda_pick_rows(&dev->stream.launcher,
					   &(pick_args){.picked = ids + i,
									.logits = (const float *) logits.at + (size_t) i * vocab,
									.pick = there + i,
									.changed = cuda_at(w, w->scratch.changed),
									.candidate = cuda_at(w, w->scratch.candidate),
									.sum = cuda_at(w, w->scratch.sum),
									.vocab = (int) vocab},
					   n - i < PICK_ROWS ? n - i : PICK_ROWS);
	dev->flight[dev->turn] = (cuda_flight){picked, pinned->picked, n};
	dev->outcome = (cuda_outcome){.there = logits.at,
								  .bytes = (size_t) n * vocab * sizeof(float),
								  .picks = (uintptr_t) ids,
								  .pick_bytes = (size_t) n * sizeof(*ids)};
}
