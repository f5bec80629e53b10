/*
 * device.c - the device that computes, with its memory for keys and values: the one that the
 * configuration names, or what is there.
 *
 * "auto" is a GPU that can be opened and has room for the KV pool, else the CPU.  A device
 * that is named must be had, or the CPU stands in for it where the configuration says so.
 * Why it is not the first choice is kept for whoever looks.
 *
 * A device with memory of its own has room for the KV pool and for models.  The pool is taken
 * with the first model, of what that leaves, if it leaves less than the configuration wants.
 * Later models find what is left then; those that are idle make way for them.
 */
#include "engine/serve/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/compute/backend_host.h"

static bool
is_auto(const char *device)
{
	return device == NULL || device[0] == '\0' || strcmp(device, "auto") == 0;
}

static void
close_device(glm_engine *e)
{
	glm_prefix_close(e->prefix);
	glm_kv_pool_close(e->kv);
	glm_forward_close(e->forward);
	free(e->picks);
	e->prefix = NULL;
	e->kv = NULL;
	e->forward = NULL;
	e->picks = NULL;
}

/* At most: what the device has may turn out to be less when the first model is loaded. */
static size_t
bytes_of_kv(const glm_engine *e, const glm_config *config)
{
	uint64_t room = glm_forward_room(e->forward);

	return room < config->kv_cache_size ? (size_t) room : config->kv_cache_size;
}

static bool
no_kv(const glm_engine *e, size_t wanted, glm_error *err)
{
	if (!e->models.on_device)
		return glm_fail(err, GLM_NO_ROOM, "could not make a KV cache of %zu bytes", wanted);
	glm_fail(err, GLM_NO_ROOM,
			 "device \"%s\" has no memory for a KV cache: of %llu MB %llu are free", e->device.name,
			 (unsigned long long) (e->device.bytes >> 20),
			 (unsigned long long) (e->device.bytes_free >> 20));
	glm_hint(err, "Other processes use the device too; chatglm.device = 'cpu' does without it.");
	return false;
}

static bool
take_memory(glm_engine *e, const glm_config *config, int max_logits, glm_error *err)
{
	glm_forward_info(e->forward, &e->device);
	e->models.on_device = glm_forward_on_device(e->forward);
	if (e->device.picks)
	{
		e->picks = calloc((size_t) max_logits, sizeof(*e->picks));
		if (e->picks == NULL)
			return glm_no_memory(err);
	}
	e->kv = glm_kv_pool_open(bytes_of_kv(e, config));
	if (e->kv == NULL)
		return no_kv(e, config->kv_cache_size, err);
	if (!e->models.on_device && !glm_forward_kv_pool(e->forward, glm_kv_pool_total(e->kv), err))
		return false;
	e->prefix = glm_prefix_open(e->kv, glm_forward_kv_copy, e->forward);
	return e->prefix != NULL || glm_no_memory(err);
}

/* Opens the device of this name; extra: see glm_backend_find. */
static bool
open_named(glm_engine *e, const glm_config *config, const char *device, const glm_backend *extra,
		   glm_error *err)
{
	const glm_forward_options options = {
		.device = device,
		.backend = extra,
		.kernels = config->kernels,
		.pool = e->threads,
		.max_rows = config->max_sequences + GLM_PREFILL_MAX,
		.max_logits = config->max_sequences * (1 + GLM_DRAFT_MAX),
	};

	e->forward = glm_forward_open(&options, err);
	if (e->forward != NULL && take_memory(e, config, options.max_logits, err))
		return true;
	close_device(e);
	return false;
}

/* The backend for GPUs, if the device may be one of them; NULL: none, and *why says why. */
static const glm_backend *
find_gpus(const glm_config *config, glm_error *why)
{
	if (config->backend != NULL)
		return config->backend;
	if (config->backend_library == NULL ||
		(!is_auto(config->device) && strncmp(config->device, "cpu", 3) == 0))
		return NULL;
	return glm_backend_load(config->backend_library, why);
}

/* What was asked for; *why: why not, with the library's reason where that is it. */
static bool
open_wanted(glm_engine *e, const glm_config *config, glm_error *why)
{
	glm_error		   missing = {0};
	const glm_backend *gpus = find_gpus(config, &missing);
	glm_error		   hint;

	if (!is_auto(config->device))
	{
		if (open_named(e, config, config->device, gpus, why))
			return true;
		hint = *why;
		if (gpus == NULL && missing.message[0] != '\0')
		{
			glm_fail(why, hint.status, "%s: %s", hint.message, missing.message);
			glm_hint(why, "%s", hint.hint);
		}
		return false;
	}
	*why = missing;
	/* one that is handed in is taken by its name alone */
	return gpus != NULL && config->backend == NULL && open_named(e, config, gpus->name, gpus, why);
}

bool
glm_device_open(glm_engine *e, const glm_config *config, glm_error *err)
{
	glm_error why = {0};
	bool	  instead = is_auto(config->device) || config->fallback;

	snprintf(e->kernels, sizeof(e->kernels), "%s", config->kernels);
	if (!open_wanted(e, config, &why))
	{
		if (!instead)
			*err = why;
		if (!instead || !open_named(e, config, "cpu", NULL, err))
			return false;
		snprintf(e->device_why, sizeof(e->device_why), "%.255s", why.message);
	}
	e->models.forward = e->forward;
	e->models.prefix = e->prefix;
	return true;
}

void
glm_device_close(glm_engine *e)
{
	close_device(e);
}

/* ---- Models ---------------------------------------------------------------------- */

/* The memory of the pool, with the first model: what that leaves, if it is less. */
static bool
take_kv(glm_engine *e, const glm_model *model, glm_error *err)
{
	uint64_t need = glm_forward_need(e->forward, model), room = glm_forward_room(e->forward);

	if (need >= room)
		return glm_forward_no_room(e->forward, model, err);
	glm_kv_pool_shrink(e->kv, room - need);
	e->kv_taken = glm_kv_fits(e->kv, model->kv_block_bytes, 1)
					  ? glm_forward_kv_pool(e->forward, glm_kv_pool_total(e->kv), err)
					  : glm_forward_no_room(e->forward, model, err);
	return e->kv_taken;
}

/* Has idle models make way, those first that were unused for longest, where that suffices. */
static void
make_room(glm_engine *e, const glm_model *model)
{
	uint64_t need = glm_forward_need(e->forward, model), room;

	while (need > (room = glm_forward_room(e->forward)) &&
		   need - room <= glm_models_idle(&e->models) && glm_models_evict(&e->models))
		continue;
}

glm_weights *
glm_device_load(glm_engine *e, const glm_model *model, glm_error *err)
{
	glm_weights *weights = NULL;
	bool		 room = true;

	if (e->models.on_device)
	{
		pthread_mutex_lock(&e->device_lock);
		room = e->kv_taken || take_kv(e, model, err);
		pthread_mutex_unlock(&e->device_lock);
		make_room(e, model);
	}
	if (GLM_INJECT("device-load"))
		glm_no_memory(err);
	else if (room)
		weights = glm_forward_load(e->forward, model, err);
	if (weights == NULL)
		glm_device_look(e, err);
	return weights;
}

void
glm_device_look(glm_engine *e, const glm_error *err)
{
	pthread_mutex_lock(&e->device_lock);
	if (!atomic_load(&e->lost) && glm_forward_lost(e->forward))
	{
		e->lost_why = *err;
		atomic_store(&e->lost, true);
	}
	pthread_mutex_unlock(&e->device_lock);
}
