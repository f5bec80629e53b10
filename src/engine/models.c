/*
 * models.c - which models are open, and who uses them.
 *
 * A list under one lock.  Only the front thread loads, so a model is opened
 * outside the lock and nobody else can open it twice.  A model known under the
 * same name but another path replaces the old one, which stays for the
 * sequences that still use it.  Models leave least recently used first when
 * the memory limit is passed.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

bool
glm_models_init(glm_models *models, size_t memory_limit)
{
	memset(models, 0, sizeof(*models));
	models->memory_limit = memory_limit;
	return pthread_mutex_init(&models->lock, NULL) == 0;
}

void
glm_models_free(glm_models *models)
{
	while (models->first != NULL)
	{
		glm_model  *model = models->first;

		models->first = model->next;
		glm_model_close(model);
	}
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

/* The live model of this name and path; retires one of another path. */
static glm_model *
find(glm_models *models, const char *name, const char *path, glm_model **close_me)
{
	*close_me = NULL;
	for (glm_model *m = models->first; m != NULL; m = m->next)
	{
		if (m->dead || strcmp(m->name, name) != 0)
			continue;
		if (strcmp(m->path, path) == 0)
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
		glm_model_close(victim);
	}
}

static glm_model *
load(glm_models *models, const char *name, const char *path, glm_error *err)
{
	glm_model  *model = glm_model_open(name, path, err);

	if (model == NULL)
		return NULL;
	if (models->memory_limit > 0 && glm_shards_bytes(model->shards) > models->memory_limit)
	{
		glm_fail(err, GLM_NO_ROOM, "model \"%s\" maps %llu bytes, more than chatglm.memory_limit",
				 name, (unsigned long long) glm_shards_bytes(model->shards));
		glm_hint(err, "Raise chatglm.memory_limit.");
		glm_model_close(model);
		return NULL;
	}
	insert(models, model);
	return model;
}

glm_model *
glm_models_acquire(glm_models *models, const glm_request *req, glm_error *err)
{
	const char *name = glm_request_text(req, req->model);
	const char *path = glm_request_text(req, req->path);
	glm_model  *model;
	glm_model  *close_me;

	if (name == NULL || path == NULL)
	{
		glm_fail(err, GLM_BAD_ARGUMENT, "the request names no model");
		return NULL;
	}
	pthread_mutex_lock(&models->lock);
	model = find(models, name, path, &close_me);
	if (model != NULL)
		use(models, model);
	pthread_mutex_unlock(&models->lock);
	if (close_me != NULL)
		glm_model_close(close_me);
	return model != NULL ? model : load(models, name, path, err);
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
		glm_model_close(model);
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
		glm_model_close(model);
	return model != NULL || glm_fail(err, GLM_NO_MODEL, "model \"%s\" is not loaded", name);
}

static void
describe(const glm_model *m, glm_model_info *out)
{
	static const char *const dtype_name[] = {"F32", "F16", "BF16", "INT4", "INT8"};

	memset(out, 0, sizeof(*out));
	strncpy(out->name, m->name, sizeof(out->name) - 1);
	strncpy(out->path, m->path, sizeof(out->path) - 1);
	strncpy(out->dtype, dtype_name[m->dtype], sizeof(out->dtype) - 1);
	out->layers = m->config.layers;
	out->hidden = m->config.hidden;
	out->vocab = m->config.vocab;
	out->context = m->config.context;
	out->sequences = m->refs;
	out->bytes_mapped = glm_shards_bytes(m->shards);
	out->requests = m->requests;
	out->load_ms = m->load_ms;
}

int
glm_models_list(glm_models *models, glm_model_info *out, int max)
{
	int			n = 0;

	pthread_mutex_lock(&models->lock);
	for (const glm_model *m = models->first; m != NULL && n < max; m = m->next)
	{
		if (!m->dead)
			describe(m, &out[n++]);
	}
	pthread_mutex_unlock(&models->lock);
	return n;
}
