/*
 * device.c - the device that computes, with its memory for keys and values: the one that the
 * configuration names, or what is there.
 *
 * "auto" is a GPU that can be opened and has room for the KV pool, else the CPU.  A device
 * that is named must be had, or the CPU stands in for it where the configuration says so.
 * Why it is not the first choice is kept for whoever looks.
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

static bool
take_memory(glm_engine *e, const glm_config *config, int max_logits, glm_error *err)
{
	glm_forward_info(e->forward, &e->device);
	if (e->device.picks)
	{
		e->picks = calloc((size_t) max_logits, sizeof(*e->picks));
		if (e->picks == NULL)
			return glm_no_memory(err);
	}
	e->kv = glm_kv_pool_open(config->kv_cache_size);
	if (e->kv == NULL)
		return glm_fail(err, GLM_NO_ROOM, "could not make a KV cache of %zu bytes",
						config->kv_cache_size);
	if (!glm_forward_kv_pool(e->forward, glm_kv_pool_total(e->kv), err))
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
