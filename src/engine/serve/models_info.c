/*
 * models_info.c - the open models as the host sees them.
 */
#include "engine/serve/engine.h"

#include <string.h>

#include "engine/weights/chunk.h"

/* What the model's sequences came to, and what they left in the pool. */
static void
describe_use(const glm_served *m, glm_model_info *out)
{
	const glm_home	*home = atomic_load(&m->home);
	uint64_t		 devices = home != NULL ? (uint64_t) home->info.devices : 0;
	glm_prefix_stats stats = {0};

	if (home != NULL)
		glm_prefix_stats_get(home->prefix, m->generation, &stats);
	out->requests = m->requests;
	out->prompt_tokens = atomic_load(&m->counters.prompt_tokens);
	out->cached_tokens = atomic_load(&m->counters.cached_tokens);
	out->prefill_tokens = atomic_load(&m->counters.prefill_tokens);
	out->completion_tokens = atomic_load(&m->counters.completion_tokens);
	out->draft_tokens = atomic_load(&m->counters.draft_tokens);
	out->accepted_tokens = atomic_load(&m->counters.accepted_tokens);
	out->preemptions = atomic_load(&m->counters.preemptions);
	out->kv_bytes_used = stats.bytes_used * devices;
	out->kv_bytes_cached = stats.bytes_cached * devices;
	out->kv_evictions = stats.evictions;
}

static void
describe_served(const glm_served *m, glm_model_info *out)
{
	glm_chunk_usage usage = {0};

	glm_shards_usage(m->model->shards, &usage);
	memset(out, 0, sizeof(*out));
	strncpy(out->name, m->model->name, sizeof(out->name) - 1);
	strncpy(out->path, m->model->path, sizeof(out->path) - 1);
	out->number = m->generation;
	strncpy(out->dtype, glm_dtypes[m->model->dtype].name, sizeof(out->dtype) - 1);
	strncpy(out->quantization, glm_shards_quantization(m->model->shards),
			sizeof(out->quantization) - 1);
	out->layers = m->model->config.layers;
	out->hidden = m->model->config.hidden;
	out->vocab = m->model->config.vocab;
	out->context = m->model->config.context;
	out->sequences = m->refs;
	out->chunks_mapped = usage.mapped;
	out->chunks_total = usage.total;
	out->bytes_mapped = usage.bytes_mapped;
	out->bytes_resident = usage.bytes_resident;
	out->size_bytes = glm_shards_bytes(m->model->shards);
	out->load_ms = m->model->load_ms;
	describe_use(m, out);
}

int
glm_models_list(glm_models *models, glm_model_info *out, int max)
{
	int n = 0;

	pthread_mutex_lock(&models->lock);
	for (const glm_served *m = models->first; m != NULL && n < max; m = m->next)
	{
		if (!m->dead)
			describe_served(m, &out[n++]);
	}
	pthread_mutex_unlock(&models->lock);
	return n;
}
