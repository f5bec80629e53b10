/*
 * models.c - which models are open, and who uses them.
 *
 * A list under one lock.  Only the front thread loads, so a model is opened
 * outside the lock and nobody else can open it twice.  A model known under the
 * same name but another path replaces the old one, which stays for the
 * sequences that still use it.  Models leave least recently used first when
 * the memory limit is passed.
 *
 * The weight files of all models are opened through one glm_weight_files, so
 * that a file two models have in common is opened, mapped and verified once.
 * The limit counts it for each of them all the same.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#include "chunk.h"
#include "json.h"
#include "prefix.h"

bool
glm_models_init(glm_models *models, size_t memory_limit, glm_verify verify)
{
	memset(models, 0, sizeof(*models));
	models->memory_limit = memory_limit;
	atomic_store(&models->verify, verify);
	pthread_mutex_init(&models->lock, NULL);
	models->files = glm_weight_files_open();
	return models->files != NULL;
}

/* Closes a model that is in no list, and forgets its part of the prefix cache. */
static void
close_model(glm_models *models, glm_model *model)
{
	if (models->prefix != NULL && model->generation != 0)
		glm_prefix_forget(models->prefix, model->generation);
	glm_drafter_close(model->drafter);
	glm_model_close(model);
}

void
glm_models_free(glm_models *models)
{
	while (models->first != NULL)
	{
		glm_model  *model = models->first;

		models->first = model->next;
		close_model(models, model);
	}
	glm_weight_files_close(models->files);
	pthread_mutex_destroy(&models->lock);
}

/* Takes a model out of the list. */
static void
unlink_model(glm_models *models, const glm_model *model)
{
	glm_model **at = &models->first;

	while (*at != model)
		at = &(*at)->next;
	*at = model->next;
}

/* Marks a model as gone; true when the caller must close it now. */
static bool
retire(glm_models *models, glm_model *model)
{
	model->dead = true;
	if (model->refs > 0)
		return false;
	unlink_model(models, model);
	return true;
}

static void
use(glm_models *models, glm_model *model)
{
	model->refs++;
	model->requests++;
	model->last_used = ++models->clock;
}

/* The live model of this name and path; retires one of another path, or opened otherwise. */
static glm_model *
find(glm_models *models, const char *name, const char *path, glm_rope rope, glm_model **close_me)
{
	*close_me = NULL;
	for (glm_model *m = models->first; m != NULL; m = m->next)
	{
		if (m->dead || strcmp(m->name, name) != 0)
			continue;
		if (strcmp(m->path, path) == 0 && m->rope_option == rope)
			return m;
		if (retire(models, m))
			*close_me = m;
		return NULL;
	}
	return NULL;
}

/* The idle model used longest ago if the weights pass the limit, else NULL. */
static glm_model *
over_limit(glm_models *models)
{
	uint64_t	bytes = 0;
	glm_model  *oldest = NULL;

	for (glm_model *m = models->first; m != NULL; m = m->next)
	{
		bytes += glm_shards_bytes(m->shards);
		if (m->refs == 0 && (oldest == NULL || m->last_used < oldest->last_used))
			oldest = m;
	}
	return models->memory_limit > 0 && bytes > models->memory_limit ? oldest : NULL;
}

/* Puts a newly opened model into the list and makes room for it. */
static void
insert(glm_models *models, glm_model *model)
{
	glm_model  *victim;
	glm_model  *victims = NULL;

	pthread_mutex_lock(&models->lock);
	model->generation = ++models->generations;
	model->next = models->first;
	models->first = model;
	use(models, model);
	while ((victim = over_limit(models)) != NULL)
	{
		unlink_model(models, victim);
		victim->next = victims;
		victims = victim;
	}
	pthread_mutex_unlock(&models->lock);

	while ((victim = victims) != NULL)
	{
		victims = victim->next;
		close_model(models, victim);
	}
}

/* The number of a string among n names, -1 when it is none of them. */
static int
name_number(json_t *value, const char *const *names, int n)
{
	for (int i = 0; json_is_string(value) && i < n; i++)
		if (strcmp(json_string_value(value), names[i]) == 0)
			return i;
	return -1;
}

static bool
read_option(const char *key, json_t *value, glm_open_options *options, glm_error *err)
{
	static const char *const verify_names[] = {"first-map", "full", "off"};
	int			number = name_number(value, verify_names, 3);

	if (strcmp(key, "verify") == 0)
	{
		if (number >= 0)
			options->verify = (glm_verify) number;
		return number >= 0 || glm_fail(err, GLM_BAD_ARGUMENT, "option \"verify\" of a model is not "
									   "\"first-map\", \"full\" or \"off\"");
	}
	if (strcmp(key, "rope") == 0)
		return glm_rope_named(json_string_value(value), &options->rope) ||
			glm_fail(err, GLM_BAD_ARGUMENT, "option \"rope\" of a model is not \"chatglm2\" or \"chatglm3\"");
	glm_fail(err, GLM_BAD_ARGUMENT, "unknown key \"%.60s\" in the options of a model", key);
	glm_hint(err, "Known are: rope, verify.");
	return false;
}

/* The options of a model, all optional: {"verify": ..., "rope": ...}. */
static bool
read_options(const char *text, glm_open_options *options, glm_error *err)
{
	json_t	   *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *key;
	json_t	   *value;
	bool		ok = json_is_object(root) ||
		glm_fail(err, GLM_BAD_ARGUMENT, "the options of a model are no JSON object");

	json_object_foreach(root, key, value)
		ok = ok && read_option(key, value, options, err);
	json_decref(root);
	return ok;
}

static glm_model *
load(glm_models *models, const char *name, const char *path, const glm_open_options *options,
	 glm_error *err)
{
	glm_model  *model = glm_model_open_with(name, path, options, err);

	if (model == NULL)
		return NULL;
	if (models->memory_limit > 0 && glm_shards_bytes(model->shards) > models->memory_limit)
	{
		glm_fail(err, GLM_NO_ROOM, "the weights of model \"%s\" are %llu bytes, more than "
				 "chatglm.memory_limit", name, (unsigned long long) glm_shards_bytes(model->shards));
		glm_hint(err, "Raise chatglm.memory_limit.");
		glm_model_close(model);
		return NULL;
	}
	model->drafter = glm_drafter_open();
	insert(models, model);
	return model;
}

glm_model *
glm_models_acquire(glm_models *models, const glm_request *req, glm_error *err)
{
	const char *name = glm_request_text(req, req->model);
	const char *path = glm_request_text(req, req->path);
	const char *text = glm_request_text(req, req->options);
	glm_open_options options = {.verify = (glm_verify) atomic_load(&models->verify),
								.files = models->files, .kv_type = models->kv_type};
	glm_model  *model;
	glm_model  *close_me;

	if (name == NULL || path == NULL)
	{
		glm_fail(err, GLM_BAD_ARGUMENT, "the request names no model");
		return NULL;
	}
	if (text != NULL && !read_options(text, &options, err))
		return NULL;
	pthread_mutex_lock(&models->lock);
	model = find(models, name, path, options.rope, &close_me);
	if (model != NULL)
		use(models, model);
	pthread_mutex_unlock(&models->lock);
	if (close_me != NULL)
		close_model(models, close_me);
	if (model == NULL)
		return load(models, name, path, &options, err);

	/* asked for expressly, it is done now; what was done before is not repeated */
	if (req->kind == GLM_LOAD && options.verify == GLM_VERIFY_FULL &&
		!glm_shards_verify(model->shards, err))
	{
		glm_models_release(models, model);
		return NULL;
	}
	return model;
}

void
glm_models_release(glm_models *models, glm_model *model)
{
	bool		last;

	pthread_mutex_lock(&models->lock);
	model->refs--;
	last = model->dead && model->refs == 0;
	if (last)
		unlink_model(models, model);
	pthread_mutex_unlock(&models->lock);
	if (last)
		close_model(models, model);
}

bool
glm_models_unload(glm_models *models, const char *name, glm_error *err)
{
	glm_model  *model;
	bool		last = false;

	pthread_mutex_lock(&models->lock);
	for (model = models->first; model != NULL; model = model->next)
	{
		if (!model->dead && strcmp(model->name, name) == 0)
		{
			last = retire(models, model);
			break;
		}
	}
	pthread_mutex_unlock(&models->lock);
	if (last)
		close_model(models, model);
	return model != NULL || glm_fail(err, GLM_NO_MODEL, "model \"%s\" is not loaded", name);
}

/* What the model's sequences came to, and what they left in the pool. */
static void
describe_use(glm_models *models, const glm_model *m, glm_model_info *out)
{
	glm_prefix_stats stats = {0};

	if (models->prefix != NULL)
		glm_prefix_stats_get(models->prefix, m->generation, &stats);
	out->requests = m->requests;
	out->prompt_tokens = atomic_load(&m->tally.prompt_tokens);
	out->cached_tokens = atomic_load(&m->tally.cached_tokens);
	out->prefill_tokens = atomic_load(&m->tally.prefill_tokens);
	out->completion_tokens = atomic_load(&m->tally.completion_tokens);
	out->draft_tokens = atomic_load(&m->tally.draft_tokens);
	out->accepted_tokens = atomic_load(&m->tally.accepted_tokens);
	out->preemptions = atomic_load(&m->tally.preemptions);
	out->kv_bytes_used = stats.bytes_used;
	out->kv_bytes_cached = stats.bytes_cached;
	out->kv_evictions = stats.evictions;
}

static void
describe(glm_models *models, const glm_model *m, glm_model_info *out)
{
	static const char *const dtype_name[] = {"F32", "F16", "BF16", "INT4", "INT8"};
	glm_chunk_usage usage = {0};

	glm_shards_usage(m->shards, &usage);
	memset(out, 0, sizeof(*out));
	strncpy(out->name, m->name, sizeof(out->name) - 1);
	strncpy(out->path, m->path, sizeof(out->path) - 1);
	strncpy(out->dtype, dtype_name[m->dtype], sizeof(out->dtype) - 1);
	strncpy(out->quantization, glm_shards_quantization(m->shards), sizeof(out->quantization) - 1);
	out->layers = m->config.layers;
	out->hidden = m->config.hidden;
	out->vocab = m->config.vocab;
	out->context = m->config.context;
	out->sequences = m->refs;
	out->chunks_mapped = usage.mapped;
	out->chunks_total = usage.total;
	out->bytes_mapped = usage.bytes_mapped;
	out->bytes_resident = usage.bytes_resident;
	out->size_bytes = glm_shards_bytes(m->shards);
	out->load_ms = m->load_ms;
	describe_use(models, m, out);
}

int
glm_models_list(glm_models *models, glm_model_info *out, int max)
{
	int			n = 0;

	pthread_mutex_lock(&models->lock);
	for (const glm_model *m = models->first; m != NULL && n < max; m = m->next)
	{
		if (!m->dead)
			describe(models, m, &out[n++]);
	}
	pthread_mutex_unlock(&models->lock);
	return n;
}
