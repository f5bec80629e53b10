/*
 * models.c - which models are open, and who uses them.
 *
 * A list under one lock.  A model is opened and closed outside of it, in threads of
 * their own (loader.c), which see to it that it is opened once.  Models leave least
 * recently used first when the memory limit is passed.
 *
 * A model is known by name and path.  Requests of one origin mean one path by a
 * name, those of different origins may mean two, and both models stay.  So each
 * remembers the origins that named it: when one of them comes with another path, the
 * name has changed its meaning there, and a model that no other origin named goes
 * (which leaves it to the sequences that still use it).
 *
 * The weight files of all models are opened through one glm_weight_files, so
 * that a file two models have in common is opened, mapped and verified once.
 * The limit counts it for each of them all the same.
 */
#include "engine/serve/engine.h"

#include <stdlib.h>
#include <string.h>

#include "engine/model/model_files.h"
#include "engine/model/model_options.h"
#include "engine/serve/prefix.h"
#include "engine/serve/settler.h"
#include "engine/serve/vocabularies.h"

#define CONSTRAINT_BYTES ((size_t) 256 << 20) /* of compiled constraints that are kept */

bool
glm_models_init(glm_models *models, size_t memory_limit, glm_verify verify)
{
	memset(models, 0, sizeof(*models));
	models->memory_limit = memory_limit;
	atomic_store(&models->verify, verify);
	pthread_mutex_init(&models->lock, NULL);
	pthread_cond_init(&models->settled, NULL);
	models->constraints = glm_constraints_open(CONSTRAINT_BYTES);
	models->files = glm_weight_files_open();
	return models->files != NULL;
}

void
glm_models_close(glm_models *models, glm_served *served)
{
	glm_weights *weights = atomic_load(&served->weights);

	glm_settler_end(models, served);
	if (weights != NULL)
	{
		glm_home *home = atomic_load(&served->home);

		glm_forward_unload(models->forward, weights);
		if (home != NULL)
			atomic_fetch_sub(&home->models, 1);
	}
	glm_served_close_vocabulary(models, served);
	glm_drafter_close(served->drafter);
	glm_model_close(served->model);
	free(served->origin);
	free(served);
}

/* Its part of the prefix cache is free at once. */
static void
forget_served(const glm_served *served)
{
	const glm_home *home = atomic_load(&served->home);

	if (home != NULL && served->generation != 0)
		glm_prefix_forget(home->prefix, served->generation);
}

/* Has a model closed that is in no list any more: gigabytes of pages take their time. */
static void
close_served(glm_models *models, glm_served *served)
{
	forget_served(served);
	if (models->closer != NULL)
		models->closer(models->closer_arg, served);
	else
		glm_models_close(models, served);
}

void
glm_models_free(glm_models *models)
{
	while (models->first != NULL)
	{
		glm_served *served = models->first;

		models->first = served->next;
		close_served(models, served);
	}
	glm_weight_files_close(models->files);
	glm_constraints_close(models->constraints);
	pthread_cond_destroy(&models->settled);
	pthread_mutex_destroy(&models->lock);
}

/* Takes a model out of the list. */
static void
unlink_served(glm_models *models, const glm_served *served)
{
	glm_served **at = &models->first;

	while (*at != served)
		at = &(*at)->next;
	*at = served->next;
}

/* Marks a model as gone; true when the caller must close it now. */
static bool
retire_served(glm_models *models, glm_served *served)
{
	served->dead = true;
	if (served->refs > 0)
		return false;
	unlink_served(models, served);
	return true;
}

/* Closes those that were retired, a list by `next`. */
static void
close_retired(glm_models *models, glm_served *list)
{
	while (list != NULL)
	{
		glm_served *served = list;

		list = served->next;
		close_served(models, served);
	}
}

/* Remembers who named it.  Without memory for that it may be replaced too early. */
static void
add_origin(glm_served *served, uint32_t origin)
{
	uint32_t *list;

	for (int i = 0; i < served->n_origins; i++)
	{
		if (served->origin[i] == origin)
			return;
	}
	list = realloc(served->origin, ((size_t) served->n_origins + 1) * sizeof(*list));
	if (list == NULL)
		return;
	served->origin = list;
	served->origin[served->n_origins++] = origin;
}

/* This origin means something else now; true when nobody else meant the model. */
static bool
drop_origin(glm_served *served, uint32_t origin)
{
	for (int i = 0; i < served->n_origins; i++)
	{
		if (served->origin[i] == origin)
		{
			served->origin[i] = served->origin[--served->n_origins];
			return served->n_origins == 0;
		}
	}
	return false;
}

static void
use_served(glm_models *models, glm_served *served, uint32_t origin)
{
	add_origin(served, origin);
	served->refs++;
	served->requests++;
	served->last_used = ++models->clock;
}

static void
put_served(glm_served **list, glm_served *served)
{
	served->next = *list;
	*list = served;
}

static bool
is_meant(const glm_served *served, const char *path, glm_rope rope)
{
	return strcmp(served->model->path, path) == 0 && served->model->rope_option == rope;
}

/*
 * Retires the models of this name that the origin does not mean any more; path and rope:
 * what it means now, path NULL: nothing.  Those to be closed are put before *close_me; how
 * many left.
 */
static int
retire_others(glm_models *models, const char *name, const char *path, glm_rope rope,
			  uint32_t origin, glm_served **close_me)
{
	int n = 0;

	for (glm_served *m = models->first, *next; m != NULL; m = next)
	{
		next = m->next;
		if (m->dead || strcmp(m->model->name, name) != 0 ||
			(path != NULL && is_meant(m, path, rope)) || !drop_origin(m, origin))
			continue;
		n++;
		if (retire_served(models, m))
			put_served(close_me, m);
	}
	return n;
}

/* Retires the models of this name and path, however they were opened. */
static int
retire_all(glm_models *models, const char *name, const char *path, glm_served **close_me)
{
	int n = 0;

	for (glm_served *m = models->first, *next; m != NULL; m = next)
	{
		next = m->next;
		if (m->dead || strcmp(m->model->name, name) != 0 || strcmp(m->model->path, path) != 0)
			continue;
		n++;
		if (retire_served(models, m))
			put_served(close_me, m);
	}
	return n;
}

/* The live model of this name and path, opened in this way. */
static glm_served *
find_served(const glm_models *models, const char *name, const char *path, glm_rope rope)
{
	glm_served *m = models->first;

	while (m != NULL && (m->dead || strcmp(m->model->name, name) != 0 || !is_meant(m, path, rope)))
		m = m->next;
	return m;
}

/* The idle model used longest ago, of those on the device or of all; else NULL. */
static glm_served *
longest_idle(const glm_models *models, bool on_device)
{
	glm_served *oldest = NULL;

	for (glm_served *m = models->first; m != NULL; m = m->next)
	{
		if (m->refs == 0 && (!on_device || atomic_load(&m->weights) != NULL) &&
			(oldest == NULL || m->last_used < oldest->last_used))
			oldest = m;
	}
	return oldest;
}

/* Does what files there are of a model count?  What is on a device needs none of their pages. */
static bool
is_limited(const glm_models *models)
{
	return models->memory_limit > 0 && !models->on_device;
}

/* The model that makes way if the weights pass the limit, else NULL. */
static glm_served *
over_memory_limit(const glm_models *models)
{
	uint64_t bytes = 0;

	for (const glm_served *m = models->first; m != NULL; m = m->next)
		bytes += glm_shards_bytes(m->model->shards);
	return is_limited(models) && bytes > models->memory_limit ? longest_idle(models, false) : NULL;
}

/* Puts a newly opened model into the list and makes room for it. */
static void
insert_served(glm_models *models, glm_served *served)
{
	glm_served *victim;
	glm_served *victims = NULL;

	pthread_mutex_lock(&models->lock);
	served->generation = ++models->generations;
	served->next = models->first;
	models->first = served;
	served->refs = 1;
	served->last_used = ++models->clock;
	while ((victim = over_memory_limit(models)) != NULL)
	{
		unlink_served(models, victim);
		victim->next = victims;
		victims = victim;
	}
	pthread_mutex_unlock(&models->lock);
	close_retired(models, victims);
}

uint64_t
glm_models_idle(glm_models *models)
{
	uint64_t bytes = 0;

	pthread_mutex_lock(&models->lock);
	for (const glm_served *m = models->first; m != NULL; m = m->next)
	{
		const glm_home *home = atomic_load(&m->home);
		glm_footprint	need;

		if (m->refs > 0 || atomic_load(&m->weights) == NULL || home == NULL)
			continue;
		glm_forward_need(models->forward, home->place, m->model, &need);
		bytes += need.bytes;
	}
	pthread_mutex_unlock(&models->lock);
	return bytes;
}

bool
glm_models_evict(glm_models *models)
{
	glm_served *victim;

	pthread_mutex_lock(&models->lock);
	victim = longest_idle(models, true);
	if (victim != NULL)
		unlink_served(models, victim);
	pthread_mutex_unlock(&models->lock);
	if (victim == NULL)
		return false;
	atomic_fetch_add(&models->evicted, 1);
	forget_served(victim);
	glm_models_close(models, victim); /* here: the caller waits for its room */
	return true;
}

/* A model with what serving it needs, in no list yet; takes it over. */
static glm_served *
serve_model(glm_models *models, glm_model *model, glm_error *err)
{
	glm_served *served = calloc(1, sizeof(*served));

	if (served == NULL)
	{
		glm_model_close(model);
		glm_no_memory(err);
		return NULL;
	}
	served->model = model;
	served->kv_block_bytes = model->kv_block_bytes;
	atomic_init(&served->home, models->home);
	served->drafter = glm_drafter_open();
	return served;
}

glm_served *
glm_models_load(glm_models *models, const char *name, const char *path,
				const glm_open_options *options, glm_error *err)
{
	glm_model  *model = glm_model_open_with(name, path, options, err);
	glm_served *served;

	if (model == NULL)
		return NULL;
	if (is_limited(models) && glm_shards_bytes(model->shards) > models->memory_limit)
	{
		glm_fail(err, GLM_NO_ROOM,
				 "the weights of model \"%s\" are %llu bytes, more than the limit of %zu", name,
				 (unsigned long long) glm_shards_bytes(model->shards), models->memory_limit);
		glm_advise(err, GLM_ADVICE_MEMORY_LIMIT);
		glm_model_close(model);
		return NULL;
	}
	served = serve_model(models, model, err);
	if (served != NULL)
		insert_served(models, served);
	return served;
}

/* Was it opened with these files?  NULL: any will do. */
static bool
has_identity(const glm_served *served, const char *identity)
{
	return identity == NULL || glm_same_identity(served->model->identity, identity);
}

/* Retires a model that was opened before its files were replaced by those of the request. */
static bool
retire_outdated(glm_models *models, const glm_request *req, glm_rope rope, glm_error *err)
{
	const char *name = glm_request_text(req, req->model);
	const char *path = glm_request_text(req, req->path);
	const char *identity = glm_request_text(req, req->identity);
	glm_served *close_me = NULL;
	glm_served *served;
	char		now[GLM_MODEL_HASH];
	bool		packed;

	if (!glm_model_identity(path, now, &packed, err))
		return false;
	if (!glm_same_identity(now, identity))
	{
		glm_fail(err, GLM_NO_MODEL, "the files of model \"%s\" have changed", name);
		glm_hint(err, "Run it again.");
		return false;
	}
	pthread_mutex_lock(&models->lock);
	served = find_served(models, name, path, rope);
	if (served != NULL && !has_identity(served, identity) && retire_served(models, served))
		put_served(&close_me, served);
	pthread_mutex_unlock(&models->lock);
	close_retired(models, close_me);
	return true;
}

bool
glm_models_find(glm_models *models, const glm_request *req, glm_open_options *options,
				glm_served **served, glm_error *err)
{
	const char *name = glm_request_text(req, req->model);
	const char *path = glm_request_text(req, req->path);
	const char *text = glm_request_text(req, req->options);
	glm_served *close_me = NULL;
	bool		outdated;

	*options = (glm_open_options){.weights.verify = (glm_verify) atomic_load(&models->verify),
								  .weights.files = models->files,
								  .kv_type = models->kv_type};
	if (name == NULL || path == NULL)
		return glm_fail(err, GLM_BAD_ARGUMENT, "the request names no model");
	if (text != NULL && !glm_model_options_read(options, text, err))
		return false;
	pthread_mutex_lock(&models->lock);
	retire_others(models, name, path, options->rope, req->origin, &close_me);
	*served = find_served(models, name, path, options->rope);
	outdated = *served != NULL && !has_identity(*served, glm_request_text(req, req->identity));
	if (outdated)
		*served = NULL;
	else if (*served != NULL)
		use_served(models, *served, req->origin);
	pthread_mutex_unlock(&models->lock);
	close_retired(models, close_me);
	return !outdated || retire_outdated(models, req, options->rope, err);
}

void
glm_models_keep(glm_models *models, glm_served *served)
{
	pthread_mutex_lock(&models->lock);
	served->refs++;
	pthread_mutex_unlock(&models->lock);
}

void
glm_models_release(glm_models *models, glm_served *served)
{
	bool last;

	pthread_mutex_lock(&models->lock);
	served->refs--;
	last = served->dead && served->refs == 0;
	if (last)
		unlink_served(models, served);
	pthread_mutex_unlock(&models->lock);
	if (last)
		close_served(models, served);
}

bool
glm_models_unload(glm_models *models, const glm_request *req, glm_error *err)
{
	const char *name = glm_request_text(req, req->model);
	const char *path = glm_request_text(req, req->path);
	glm_served *close_me = NULL;
	int			n;

	pthread_mutex_lock(&models->lock);
	if (path == NULL)
		n = retire_others(models, name, NULL, GLM_ROPE_BY_NAME, req->origin, &close_me);
	else
		n = retire_all(models, name, path, &close_me);
	pthread_mutex_unlock(&models->lock);
	close_retired(models, close_me);
	return n > 0 || glm_fail(err, GLM_NO_MODEL, "model \"%s\" is not loaded", name);
}
