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
 *
 * Of several devices each is a *home* for models, with a pool of its own.  A model goes to the
 * one that has most room, if it holds the model and a context's keys and values; where that
 * turns out not to be so, to the next.  What none holds has its layers on all of them, which
 * together are one more home, with a pool that every device has its part of.
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
	for (int i = 0; i < e->n_homes; i++)
	{
		glm_prefix_close(e->home[i].prefix);
		glm_kv_pool_close(e->home[i].kv);
		for (int turn = 0; turn < 2; turn++)
		{
			glm_rows_free(&e->home[i].rows[turn]);
			free(e->home[i].picks[turn]);
			free(e->home[i].pick_room[turn].memory);
		}
	}
	memset(e->home, 0, sizeof(e->home));
	e->n_homes = 0;
	glm_forward_close(e->forward);
	e->forward = NULL;
}

static bool
no_kv(const glm_home *home, size_t wanted, glm_error *err)
{
	if (home->info.host_memory)
		return glm_fail(err, GLM_NO_ROOM, "could not make a KV cache of %zu bytes", wanted);
	glm_fail(err, GLM_NO_ROOM,
			 "device \"%s\" has no memory for a KV cache: of %llu MB %llu are free",
			 home->info.name, (unsigned long long) (home->info.bytes >> 20),
			 (unsigned long long) (home->info.bytes_free >> 20));
	glm_hint(err, "Other processes use the device too; chatglm.device = 'cpu' does without it.");
	return false;
}

static void
copy_kv(void *arg, uint32_t to, uint32_t from, size_t bytes)
{
	const glm_home *home = arg;

	glm_forward_kv_copy(home->forward, home->place, to, from, bytes);
}

/* The pool is what there is now, at most: that may turn out to be less with the first model. */
static bool
open_home(glm_engine *e, int place, size_t kv_bytes, int max_logits, glm_error *err)
{
	glm_home *home = &e->home[place];
	uint64_t  room = glm_forward_room(e->forward, place);

	home->forward = e->forward;
	home->place = place;
	glm_forward_info(e->forward, place, &home->info);
	atomic_store(&home->bytes_free, home->info.bytes_free);
	for (int turn = 0; home->info.picks && turn < 2; turn++)
	{
		home->picks[turn] = calloc((size_t) max_logits, sizeof(**home->picks));
		home->pick_room[turn] = (glm_pick_room){.memory = malloc(home->info.pick_bytes + 1),
												.bytes = home->info.pick_bytes};
		if (home->picks[turn] == NULL || home->pick_room[turn].memory == NULL)
			return glm_no_memory(err);
	}
	home->kv = glm_kv_pool_open(room < kv_bytes ? (size_t) room : kv_bytes);
	if (home->kv == NULL)
		return no_kv(home, kv_bytes, err);
	if (home->info.host_memory)
	{
		if (!glm_forward_kv_pool(e->forward, place, glm_kv_pool_total(home->kv), err))
			return false;
		atomic_store(&home->kv_taken, true);
	}
	home->prefix = glm_prefix_open(home->kv, copy_kv, home);
	return home->prefix != NULL || glm_no_memory(err);
}

static bool
take_memory(glm_engine *e, const glm_config *config, int max_logits, glm_error *err)
{
	e->n_homes = glm_forward_places(e->forward);
	glm_forward_info(e->forward, e->n_homes - 1, &e->device);
	e->models.on_device = glm_forward_on_device(e->forward);
	for (int i = 0; i < e->n_homes; i++)
		if (!open_home(e, i, config->kv_cache_size, max_logits, err))
			return false;
	return true;
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
		.arithmetic = config->fast ? GLM_FAST : GLM_EXACT,
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
	e->models.home = e->n_homes == 1 ? &e->home[0] : NULL;
	return true;
}

void
glm_device_close(glm_engine *e)
{
	close_device(e);
}

/* ---- Models ---------------------------------------------------------------------- */

/*
 * Bytes that are taken beside a model: of one device what the pool gets is what is left; of
 * several one is chosen where a context has room.
 */
static uint64_t
kv_beside(const glm_engine *e, const glm_home *home, const glm_model *model,
		  const glm_footprint *need)
{
	uint64_t blocks = ((uint64_t) model->config.context + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;
	uint64_t bytes = blocks * need->kv_block_bytes, most = glm_kv_pool_total(home->kv);

	if (atomic_load(&home->kv_taken))
		return 0;
	return e->n_homes == 1 ? 1 : bytes < most ? bytes : most;
}

/* Bytes that a home lacks to take a model; *need: what it would take. */
static uint64_t
lacks(const glm_engine *e, const glm_home *home, const glm_model *model, glm_footprint *need)
{
	uint64_t bytes;

	glm_forward_need(e->forward, home->place, model, need);
	bytes = need->bytes + kv_beside(e, home, model, need);
	return bytes > need->room ? bytes - need->room : 0;
}

/*
 * Where a model goes: of the devices that hold it that with most room, else to all of them;
 * not where it was tried, by bits.  NULL: nowhere.
 */
static glm_home *
find_home(glm_engine *e, const glm_model *model, unsigned tried, glm_footprint *need)
{
	glm_home *found = NULL;

	for (int i = 0; i < e->n_homes; i++)
	{
		glm_home	 *home = &e->home[i];
		glm_footprint here;

		if ((tried & 1u << i) != 0 || (home->info.devices > 1 && found != NULL) ||
			lacks(e, home, model, &here) > 0 || (found != NULL && here.room <= need->room))
			continue;
		found = home;
		*need = here;
	}
	return found;
}

/* Has an idle model make way, the one that was unused for longest, where that can suffice. */
static bool
make_way(glm_engine *e, const glm_model *model)
{
	glm_footprint need;

	return lacks(e, &e->home[e->n_homes - 1], model, &need) <= glm_models_idle(&e->models) &&
		   glm_models_evict(&e->models);
}

/* The memory of a home's pool, with its first model: what that leaves, if it is less. */
static bool
take_kv(glm_engine *e, glm_home *home, const glm_model *model, size_t block_bytes, glm_error *err)
{
	uint64_t room = glm_forward_room(e->forward, home->place);
	uint64_t growth = glm_forward_growth(e->forward, home->place, model);
	bool	 taken;

	if (room < growth + block_bytes)
		return glm_forward_no_room(e->forward, home->place, model, err);
	glm_kv_pool_shrink(home->kv, room - growth);
	taken = glm_kv_fits(home->kv, block_bytes, 1)
				? glm_forward_kv_pool(e->forward, home->place, glm_kv_pool_total(home->kv), err)
				: glm_forward_no_room(e->forward, home->place, model, err);
	atomic_store(&home->kv_taken, taken);
	return taken;
}

void
glm_device_count_free(glm_engine *e)
{
	for (int i = 0; e->models.on_device && i < e->n_homes; i++)
		atomic_store(&e->home[i].bytes_free, glm_forward_room(e->forward, i));
}

/* Loads a model there, and has it be known for its home. */
static glm_weights *
load_at(glm_engine *e, glm_home *home, const glm_footprint *need, glm_served *served,
		glm_error *err)
{
	glm_weights *weights = NULL;
	bool		 taken;

	if (GLM_INJECT("device-load"))
		glm_no_memory(err);
	else
		weights = glm_forward_load(e->forward, home->place, served->model, err);
	if (weights == NULL)
		return NULL;
	pthread_mutex_lock(&e->device_lock);
	taken =
		atomic_load(&home->kv_taken) || take_kv(e, home, served->model, need->kv_block_bytes, err);
	pthread_mutex_unlock(&e->device_lock);
	if (!taken)
	{
		glm_forward_unload(e->forward, weights);
		return NULL;
	}
	/* where all have one home, both are known, and read, from the start */
	if (e->models.home == NULL)
	{
		served->kv_block_bytes = need->kv_block_bytes;
		atomic_store(&served->home, home);
	}
	atomic_fetch_add(&home->models, 1);
	return weights;
}

glm_weights *
glm_device_load(glm_engine *e, glm_served *served, glm_error *err)
{
	const glm_model *model = served->model;
	glm_weights		*weights = NULL;
	unsigned		 tried = 0;

	while (weights == NULL)
	{
		glm_footprint need = {.kv_block_bytes = model->kv_block_bytes};
		glm_home	 *home = e->models.on_device ? find_home(e, model, tried, &need) : &e->home[0];

		if (home == NULL && make_way(e, model))
			continue;
		if (home == NULL && tried == 0)
			glm_forward_no_room(e->forward, e->n_homes - 1, model, err);
		if (home == NULL)
			break;
		weights = load_at(e, home, &need, served, err);
		if (weights == NULL && (err->status != GLM_NO_ROOM || e->n_homes == 1))
			break;
		tried |= 1u << home->place;
	}
	glm_device_count_free(e);
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

/* ---- What there is --------------------------------------------------------------- */

static void
describe_device(const glm_engine *e, const glm_home *home, glm_device_use *out)
{
	const glm_home *all = &e->home[e->n_homes - 1];

	*out = (glm_device_use){.number = home->info.number,
							.models = atomic_load(&home->models),
							.bytes = home->info.bytes,
							.bytes_free = atomic_load(&home->bytes_free),
							.kv_bytes_total = glm_kv_pool_total(home->kv),
							.kv_bytes_used = glm_kv_pool_used(home->kv)};
	snprintf(out->name, sizeof(out->name), "%s", home->info.name);
	if (all == home || !atomic_load(&all->kv_taken))
		return;
	out->models += atomic_load(&all->models);
	out->kv_bytes_total += glm_kv_pool_total(all->kv);
	out->kv_bytes_used += glm_kv_pool_used(all->kv);
}

/* The pool of all together counts once a model is there. */
void
glm_device_describe(glm_engine *e, glm_stats *out)
{
	for (int i = 0; i < e->n_homes; i++)
	{
		const glm_home	*home = &e->home[i];
		uint64_t		 devices = (uint64_t) home->info.devices;
		glm_prefix_stats kv;

		if (devices == 1 && !home->info.host_memory && out->n_devices < GLM_DEVICES_SHOWN)
			describe_device(e, home, &out->device_use[out->n_devices++]);
		if (devices > 1 && !atomic_load(&home->kv_taken))
			continue;
		glm_prefix_stats_get(home->prefix, 0, &kv);
		out->kv_bytes_total += glm_kv_pool_total(home->kv) * devices;
		out->kv_bytes_used += kv.bytes_used * devices;
		out->kv_bytes_cached += kv.bytes_cached * devices;
		out->kv_evictions += kv.evictions;
	}
}
