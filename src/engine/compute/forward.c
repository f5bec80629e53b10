/*
 * forward.c - the forward pass: rows of tokens in, logits, hidden states or picks out.
 *
 *     x = embedding[token]
 *     for each layer: layer_walk.c
 *     hidden = rmsnorm(x)                   for the rows that want it, or logits
 *     logits = head(hidden)                 for the rows that want them
 *     picked = pick(logits)                 where the device picks and may
 *
 * A pass mixes rows of any sequences of one model: single rows that decode and
 * chunks of prompts.  The KV of all rows is stored before attention reads it, so
 * a row of a chunk sees the rows before it; what lies behind its own position
 * it never reads.
 *
 * Buffers are the device's, those of each place its own, and belong to the glm_forward; they
 * are taken in glm_forward_prepare, never in a pass.  What attention, the feed-forward part and the head
 * need at different times lies in the same memory.  Nothing here follows an address in it,
 * unless the device says that it is the host's.
 *
 * Between layers there is a pause, which may end the pass: what it stored is stored again.
 * However a pass ends, it is waited for, so that nothing of it is left over for the next.
 * While it is, passes at other places may be put in order, and at its own the next, whose tokens
 * the device knows before the host does.
 * One thread (the engine's) calls all of this, save load, refresh and unload.
 */
#include "engine/compute/forward.h"

#include <stdlib.h>
#include <string.h>

#include "engine/compute/host_buffer.h"
#include "engine/compute/layer_walk.h"
#include "engine/compute/pass_turns.h"

/* The buffers of a pass; the sizes say how many floats each has. */
typedef enum buffer_id
{
	X,		/* [rows, hidden]: the residual stream, then what the final norm gives */
	NORMED, /* [rows, hidden] */
	SHARED, /* what a layer's walk needs, then logits [rows that want them, vocab] */
	N_BUFFERS
} buffer_id;

/* The buffers of a place for models. */
typedef struct place_buffers
{
	glm_mem			mem[N_BUFFERS];
	atomic_size_t	size[N_BUFFERS]; /* loading threads read them */
	glm_host_buffer logits;
	glm_host_buffer hidden;
	glm_pass_turns	turns;
} place_buffers;

struct glm_forward
{
	const glm_backend *backend;
	glm_device		  *dev;
	bool			   host_memory;
	atomic_bool		   lost;
	int				   max_rows;
	int				   max_logits;
	int				   n_places;
	place_buffers	   buffers[GLM_MOST_PLACES]; /* [n_places] */
	place_buffers	  *here;					 /* of the pass that is put in order */
};

/* ---- The device ----------------------------------------------------------- */

/* Does the device that was opened suffice?  What it picks has a place from now on. */
static bool
take_on(glm_forward *fwd, glm_error *err)
{
	glm_device_info info;

	fwd->n_places = fwd->backend->places != NULL ? fwd->backend->places(fwd->dev) : 1;
	glm_forward_info(fwd, 0, &info);
	fwd->host_memory = info.host_memory;
	if (info.max_rows != 0 && info.max_rows < fwd->max_rows)
		return glm_fail(err, GLM_UNSUPPORTED,
						"device \"%s\" computes at most %d rows at a time, not %d", info.name,
						info.max_rows, fwd->max_rows);
	for (int p = 0; info.picks && p < fwd->n_places; p++)
		if (!glm_turns_open(&fwd->buffers[p].turns, fwd->max_logits))
			return glm_no_memory(err);
	return true;
}

glm_forward *
glm_forward_open(const glm_forward_options *options, glm_error *err)
{
	glm_forward		 *fwd = calloc(1, sizeof(*fwd));
	glm_device_choice choice;

	if (fwd == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	fwd->max_rows = options->max_rows;
	fwd->max_logits = options->max_logits > 0 && options->max_logits < options->max_rows
						  ? options->max_logits
						  : options->max_rows;
	if (!glm_backend_find(options->device, options->backend, &choice, err))
		goto fail;
	fwd->backend = choice.backend;
	fwd->dev = choice.backend->open(choice.which, choice.n, options->kernels, options->pool,
									options->arithmetic, err);
	if (fwd->dev == NULL)
		goto fail;
	if (take_on(fwd, err))
		return fwd;
	glm_forward_close(fwd);
	return NULL;

fail:
	free(fwd);
	return NULL;
}

void
glm_forward_close(glm_forward *fwd)
{
	if (fwd == NULL)
		return;
	for (int p = 0; p < fwd->n_places; p++)
	{
		place_buffers *b = &fwd->buffers[p];

		for (int i = 0; i < N_BUFFERS; i++)
			fwd->backend->free(fwd->dev, b->mem[i]);
		glm_host_buffer_free(&b->logits, fwd->backend, fwd->dev);
		glm_host_buffer_free(&b->hidden, fwd->backend, fwd->dev);
		glm_turns_close(&b->turns);
	}
	fwd->backend->close(fwd->dev);
	free(fwd);
}

int
glm_forward_places(const glm_forward *fwd)
{
	return fwd->n_places;
}

void
glm_forward_info(const glm_forward *fwd, int place, glm_device_info *info)
{
	fwd->backend->info(fwd->dev, place, info);
}

int
glm_forward_tuned(const glm_forward *fwd, glm_tuned *out, int max, uint64_t *cost_ns)
{
	*cost_ns = 0;
	return fwd->backend->tuned != NULL ? fwd->backend->tuned(fwd->dev, out, max, cost_ns) : 0;
}

void
glm_forward_set_tuning(glm_forward *fwd, bool on)
{
	if (fwd->backend->set_tuning != NULL)
		fwd->backend->set_tuning(fwd->dev, on);
}

const glm_pass_times *
glm_forward_times(const glm_forward *fwd, int place)
{
	return glm_turn_times(&fwd->buffers[place].turns);
}

bool
glm_forward_lost(const glm_forward *fwd)
{
	return atomic_load(&fwd->lost) || (fwd->backend->lost != NULL && fwd->backend->lost(fwd->dev));
}

bool
glm_forward_kv_pool(glm_forward *fwd, int place, size_t bytes, glm_error *err)
{
	return fwd->backend->kv_pool(fwd->dev, place, bytes, err).at != 0;
}

void
glm_forward_kv_copy(glm_forward *fwd, int place, uint32_t to, uint32_t from, size_t bytes)
{
	fwd->backend->kv_copy(fwd->dev, place, to, from, bytes);
}

/* ---- Models ------------------------------------------------------------------ */

/* Floats of the buffers for passes of a model. */
static void
sizes_of(const glm_forward *fwd, const glm_model *model, size_t size[N_BUFFERS])
{
	size_t rows = (size_t) fwd->max_rows, hidden = (size_t) model->config.hidden;
	size_t logits = (size_t) fwd->max_logits * (size_t) model->config.vocab;

	size[X] = rows * hidden;
	size[NORMED] = rows * hidden;
	size[SHARED] = glm_walk_shared(model, fwd->max_rows);
	size[SHARED] = size[SHARED] > logits ? size[SHARED] : logits;
}

static bool
ask_pause(void *arg, glm_error *err)
{
	(void) arg;
	return glm_pause(err);
}

bool
glm_forward_on_device(const glm_forward *fwd)
{
	return !fwd->host_memory;
}

uint64_t
glm_forward_growth(const glm_forward *fwd, int place, const glm_model *model)
{
	const place_buffers *b = &fwd->buffers[place];
	uint64_t			 bytes = 0;
	size_t				 size[N_BUFFERS];

	sizes_of(fwd, model, size);
	for (int i = 0; i < N_BUFFERS; i++)
		if (size[i] > atomic_load(&b->size[i]))
			bytes += size[i] * sizeof(float); /* beside the smaller one that it replaces */
	return bytes;
}

void
glm_forward_need(const glm_forward *fwd, int place, const glm_model *model, glm_footprint *need)
{
	fwd->backend->need(fwd->dev, place, model, fwd->max_rows, need);
	need->bytes += glm_forward_growth(fwd, place, model);
}

uint64_t
glm_forward_room(const glm_forward *fwd, int place)
{
	glm_device_info info;

	if (fwd->host_memory)
		return UINT64_MAX;
	glm_forward_info(fwd, place, &info);
	return info.bytes_free;
}

bool
glm_forward_no_room(const glm_forward *fwd, int place, const glm_model *model, glm_error *err)
{
	glm_device_info info;
	glm_footprint	need;

	glm_forward_info(fwd, place, &info);
	glm_forward_need(fwd, place, model, &need);
	glm_fail(err, GLM_NO_ROOM,
			 "model \"%s\" needs %llu MB of memory on device \"%s\", of which %llu are free",
			 model->name, (unsigned long long) ((need.bytes + 1048575) >> 20), info.name,
			 (unsigned long long) (need.room >> 20));
	glm_hint(err, "Unload another model, or start with a smaller chatglm.kv_cache_size, which "
				  "leaves more to models.");
	return false;
}

/* A device with memory of its own says at once that it has too little. */
glm_weights *
glm_forward_load(glm_forward *fwd, int place, const glm_model *model, glm_error *err)
{
	glm_footprint need;

	glm_forward_need(fwd, place, model, &need);
	if (!fwd->host_memory && need.bytes > need.room)
	{
		glm_forward_no_room(fwd, place, model, err);
		return NULL;
	}
	return fwd->backend->load(fwd->dev, place, model, GLM_ALL_SEGMENTS, fwd->max_rows, ask_pause,
							  NULL, err);
}

bool
glm_forward_refresh(glm_forward *fwd, glm_weights *weights, glm_error *err)
{
	return fwd->backend->refresh == NULL ||
		   fwd->backend->refresh(fwd->dev, weights, ask_pause, NULL, err);
}

void
glm_forward_unload(glm_forward *fwd, glm_weights *weights)
{
	fwd->backend->unload(fwd->dev, weights);
}

/* ---- Buffers ----------------------------------------------------------- */

/*
 * A buffer that cannot grow stays as it was, so that the models which were
 * prepared before still run.
 */
bool
glm_forward_prepare(glm_forward *fwd, int place, const glm_model *model, glm_error *err)
{
	const glm_model_config *config = &model->config;
	place_buffers		   *b = &fwd->buffers[place];
	size_t					size[N_BUFFERS];

	sizes_of(fwd, model, size);
	for (int i = 0; i < N_BUFFERS; i++)
	{
		glm_mem bigger;

		if (size[i] <= b->size[i])
			continue;
		bigger = fwd->backend->alloc(fwd->dev, place, size[i] * sizeof(float), err);
		if (bigger.at == 0)
			return false;
		fwd->backend->free(fwd->dev, b->mem[i]);
		b->mem[i] = bigger;
		b->size[i] = size[i];
	}
	return fwd->host_memory ||
		   (glm_host_buffer_grow(&b->logits, fwd->backend, fwd->dev,
								 (size_t) fwd->max_logits * (size_t) config->vocab) &&
			glm_host_buffer_grow(&b->hidden, fwd->backend, fwd->dev,
								 (size_t) fwd->max_rows * (size_t) config->hidden)) ||
		   glm_no_memory(err);
}

/* ---- The pass ---------------------------------------------------------- */

/* What comes is of this layer: another device may have it. */
static void
enter(glm_forward *fwd, int layer, int n_rows)
{
	if (fwd->backend->enter != NULL)
		fwd->backend->enter(fwd->dev, layer, fwd->here->mem[X], n_rows);
}

/* x through all layers; false: a pause ended it. */
static bool
walk_layers(glm_forward *fwd, const glm_model *model, int n_rows, glm_error *err)
{
	const glm_walk walk = {.backend = fwd->backend,
						   .dev = fwd->dev,
						   .model = model,
						   .x = fwd->here->mem[X],
						   .normed = fwd->here->mem[NORMED],
						   .shared = fwd->here->mem[SHARED],
						   .n = n_rows,
						   .slice = n_rows,
						   .times = &glm_turn_last(&fwd->here->turns)->times};

	for (int l = 0; l < model->config.layers; l++)
	{
		if (!glm_pause(err))
			return false;
		enter(fwd, l, n_rows);
		if (!glm_layer_walk(&walk, l, l, err))
			return false;
	}
	enter(fwd, GLM_NO_LAYER, n_rows);
	return true;
}

/* Logits by the head, and what is made of them. */
static void
finish_logits(glm_forward *fwd, const glm_model *model, glm_mem hidden, int n,
			  const glm_pick *picks, glm_results *results)
{
	const glm_backend *be = fwd->backend;
	glm_mem			   logits = fwd->here->mem[SHARED];
	glm_pass_turn	  *turn = glm_turn_last(&fwd->here->turns);

	if (n > 0)
		be->matmul(fwd->dev, logits, hidden, (size_t) model->config.hidden, GLM_HEAD, GLM_NO_LAYER,
				   n, false, false);
	results->picked = n > 0 && picks != NULL ? turn->picked : NULL;
	if (results->picked != NULL)
	{
		be->pick(fwd->dev, turn->picked, logits, picks, n);
		turn->n_picked = n;
	}
	glm_pass_times_add(&turn->times, GLM_PART_HEAD);
	results->logits = glm_host_buffer_bring_rows(&fwd->here->logits, be, fwd->dev, logits, n,
												 (size_t) model->config.vocab,
												 results->picked != NULL ? picks : NULL);
}

/* Final norm and head for the rows that want what they give; the others end here. */
static void
finish_rows(glm_forward *fwd, const glm_model *model, const glm_pass *pass, const glm_pick *picks,
			glm_results *results)
{
	const glm_backend *be = fwd->backend;
	size_t	width = (size_t) model->config.hidden, hidden = (size_t) pass->n_hidden * width;
	glm_mem gathered = fwd->here->mem[NORMED];

	be->gather(fwd->dev, gathered, fwd->here->mem[X], GLM_WANT_LOGITS);
	if (pass->n_hidden > 0)
		be->gather(fwd->dev, glm_at(gathered, (size_t) pass->n_logits * width), fwd->here->mem[X],
				   GLM_WANT_HIDDEN);
	if (glm_model_norm(model, GLM_FINAL_NORM, GLM_NO_LAYER) != NULL)
	{
		/* x itself has been read, so its buffer takes the result */
		be->rmsnorm(fwd->dev, fwd->here->mem[X], gathered, GLM_FINAL_NORM, GLM_NO_LAYER,
					pass->n_logits + pass->n_hidden);
		gathered = fwd->here->mem[X];
	}
	finish_logits(fwd, model, gathered, pass->n_logits, picks, results);
	results->hidden =
		glm_host_buffer_bring(&fwd->here->hidden, be, fwd->dev,
							  glm_at(gathered, (size_t) pass->n_logits * width), hidden, 0, hidden);
}

static place_buffers *
buffers_of(glm_forward *fwd, const glm_weights *weights)
{
	return &fwd->buffers[fwd->backend->place != NULL ? fwd->backend->place(weights) : 0];
}

static bool
wait_for(glm_forward *fwd, const place_buffers *b, glm_error *err)
{
	glm_device_state state = GLM_DEVICE_FINE;
	glm_error		 why = {0};

	if (fwd->backend->wait(fwd->dev, (int) (b - fwd->buffers), &state, &why))
		return true;
	if (state == GLM_DEVICE_LOST)
		atomic_store(&fwd->lost, true);
	*err = why;
	return false;
}

bool
glm_forward_finish(glm_forward *fwd, const glm_weights *weights, glm_error *err)
{
	place_buffers *b = buffers_of(fwd, weights);
	bool		   done = wait_for(fwd, b, err);

	glm_turn_finish(&b->turns, !fwd->host_memory);
	return done;
}

void
glm_forward_fetch(glm_forward *fwd, const glm_weights *weights, size_t vocab, int n_logits,
				  int first, int n, glm_results *results)
{
	place_buffers *b = buffers_of(fwd, weights);

	results->logits = glm_host_buffer_bring(&b->logits, fwd->backend, fwd->dev, b->mem[SHARED],
											(size_t) n_logits * vocab, (size_t) first * vocab,
											(size_t) n * vocab);
}

bool
glm_forward_fetched(glm_forward *fwd, const glm_weights *weights, glm_error *err)
{
	return wait_for(fwd, buffers_of(fwd, weights), err);
}

bool
glm_forward_ready(const glm_forward *fwd, int place)
{
	return fwd->backend->ready(fwd->dev, place);
}

bool
glm_forward_start(glm_forward *fwd, const glm_model *model, const glm_weights *weights,
				  const glm_pass *pass, const glm_pick *picks, glm_results *results, glm_error *err)
{
	const glm_backend *be = fwd->backend;
	place_buffers	  *b = buffers_of(fwd, weights);
	bool			   ok;

	if (!glm_pass_check(pass, model, fwd->max_rows, fwd->max_logits, glm_turn_picks(&b->turns),
						err))
		return false;
	fwd->here = b;
	glm_turn_begin(&b->turns);
	be->begin(fwd->dev, weights, pass);
	be->embed(fwd->dev, fwd->here->mem[X]);
	ok = walk_layers(fwd, model, pass->n_rows, err);
	if (ok && pass->n_logits + pass->n_hidden > 0)
		finish_rows(fwd, model, pass, picks, results);
	be->end(fwd->dev);
	glm_turn_end(&b->turns);
	if (!ok)
		glm_forward_finish(fwd, weights, err);
	return ok;
}

bool
glm_forward_run(glm_forward *fwd, const glm_model *model, const glm_weights *weights,
				const glm_pass *pass, const glm_pick *picks, glm_results *results, glm_error *err)
{
	return glm_forward_start(fwd, model, weights, pass, picks, results, err) &&
		   glm_forward_finish(fwd, weights, err);
}
