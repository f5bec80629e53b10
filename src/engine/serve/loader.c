/*
 * loader.c - models are opened, verified, brought into memory and closed beside everything else.
 *
 * All of that takes as long as files are large and disks are slow, so none of it is done
 * by a thread that others wait for.  A *loading* is one such piece of work on one model,
 * on a thread of its own; tasks that need what it does are parked (tasks.c) and counted
 * as its waiters.  Requests for the same model wait for the same loading.
 *
 * The last waiter that ends takes the loading with it: the work looks at the count in
 * every pause, some megabytes apart at most, and gives up at 0.  A task that comes before it
 * has noticed makes it go on, or begin anew; what was verified and paged in is found done.
 * Only what has no pauses, such as SentencePiece's reading of tokenizer.model, goes on to
 * its end, for nobody.
 *
 * A sequence is handed to the engine thread when all of its model is on the device
 * (glm_forward_load), so a forward pass does not wait for a disk.  What the kernel took away
 * from a model that nobody used for a while is brought back in the same way.
 *
 * Locks.  intake.lock guards the list and all counts; a loading's thread takes it to begin
 * and to end.  The model of one that is not opening has a reference of its own.
 */
#include "engine/serve/settler.h"

#include <stdlib.h>
#include <string.h>

#define IDLE_NS INT64_C(10000000000) /* without a pass, after which pages may have gone */

typedef enum loading_kind
{
	LOADING_OPEN,
	LOADING_VERIFY, /* all chunks of a model that is open */
	LOADING_HOLD,	/* all of it into memory */
	LOADING_CLOSE
} loading_kind;

struct glm_loading
{
	struct glm_loading *next;
	glm_engine		   *engine;
	loading_kind		kind;
	char			   *name; /* OPEN, as are the next two */
	char			   *path;
	glm_open_options	options;
	glm_served		   *served;	 /* with a reference; OPEN: once it is */
	atomic_int			waiters; /* tasks parked on it */
	atomic_bool			done;
	glm_error			err; /* why it failed; GLM_OK: it did not */
};

/* ---- The work ---------------------------------------------------------------------- */

static bool
is_unwanted(const glm_loading *l)
{
	return l->kind != LOADING_CLOSE &&
		   (atomic_load(&l->waiters) == 0 || atomic_load(&l->engine->stopping));
}

/* What glm_pause() does in a loading. */
static bool
pause_loading(void *arg, glm_error *err)
{
	return !is_unwanted(arg) || glm_fail(err, GLM_CANCELLED, "nobody waits for the model any more");
}

/* Brings a model to the device, or back into memory. */
static bool
hold_served(glm_loading *l, glm_error *err)
{
	glm_forward *forward = l->engine->forward;
	glm_weights *weights = atomic_load(&l->served->weights);

	if (weights != NULL)
		return glm_forward_refresh(forward, weights, err);
	weights = glm_device_load(l->engine, l->served, err);
	atomic_store(&l->served->weights, weights);
	return weights != NULL;
}

static bool
do_loading(glm_loading *l, glm_error *err)
{
	switch (l->kind)
	{
		case LOADING_OPEN:
			l->served = glm_models_load(&l->engine->models, l->name, l->path, &l->options, err);
			return l->served != NULL;
		case LOADING_VERIFY:
			return glm_shards_verify(l->served->model->shards, err);
		case LOADING_HOLD:
			return hold_served(l, err);
		case LOADING_CLOSE:
			glm_models_close(&l->engine->models, l->served);
			glm_device_count_free(l->engine);
			l->served = NULL;
	}
	return true;
}

/* Frees a loading that is in no list; gives its model back, without the lock. */
static void
free_loading(glm_loading *l)
{
	if (l->served != NULL)
		glm_models_release(&l->engine->models, l->served);
	free(l->name);
	free(l->path);
	free(l);
}

static void
unlink_loading(glm_intake *in, glm_loading *l)
{
	glm_loading **at = &in->loadings;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
}

/* Is it over, or has somebody come back to one that gave up?  Under the lock. */
static bool
end_loading(glm_loading *l, const glm_error *err)
{
	if (err->status == GLM_CANCELLED && !is_unwanted(l))
		return false;
	l->err = *err;
	atomic_store(&l->done, true);
	unlink_loading(&l->engine->intake, l);
	pthread_cond_signal(&l->engine->intake.work);
	return true;
}

static void *
loading_main(void *arg)
{
	glm_loading *l = arg;
	glm_engine	*e = l->engine;
	glm_intake	*in = &e->intake;
	glm_served	*settle = NULL;
	bool		 alone;
	bool		 over;

	glm_thread_enter("glm loader");
	glm_thread_lower(GLM_LOWER_REQUEST);
	glm_pause_with(pause_loading, l);
	do
	{
		glm_error err = {0};

		if (GLM_INJECT("loader"))
			glm_no_memory(&err);
		else if (do_loading(l, &err))
			err.status = GLM_OK;
		pthread_mutex_lock(&in->lock);
		over = end_loading(l, &err);
		alone = over && atomic_load(&l->waiters) == 0;
		if (over && !alone && l->kind == LOADING_HOLD && l->err.status == GLM_OK &&
			glm_settler_begin(e, l->served))
			settle = l->served;
		pthread_mutex_unlock(&in->lock);
	} while (!over);
	if (alone)
		free_loading(l);
	if (settle != NULL)
	{
		glm_thread_lower(GLM_LOWER_JOB - GLM_LOWER_REQUEST); /* nobody waits any more */
		glm_settler_run(e, settle);
	}
	pthread_mutex_lock(&in->lock);
	in->n_loaders--;
	pthread_cond_broadcast(&in->gone);
	pthread_mutex_unlock(&in->lock);
	return NULL;
}

/* ---- Starting ------------------------------------------------------------------------ */

static bool
start_thread(glm_loading *l)
{
	glm_intake *in = &l->engine->intake;

	if (GLM_INJECT("loader-thread") || !glm_thread_start(loading_main, l))
		return false;
	in->n_loaders++;
	l->next = in->loadings;
	in->loadings = l;
	return true;
}

static bool
is_same_loading(const glm_loading *a, const glm_loading *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind != LOADING_OPEN)
		return a->served == b->served;
	return strcmp(a->name, b->name) == 0 && strcmp(a->path, b->path) == 0;
}

/* The loading on its way that is like this one, NULL: there is none.  Under the lock. */
static glm_loading *
find_loading(const glm_intake *in, const glm_loading *like)
{
	glm_loading *l = in->loadings;

	while (l != NULL && !is_same_loading(l, like))
		l = l->next;
	return l;
}

/* Parks a task on the loading that is like `want`, which is taken over or freed. */
static bool
wait_for(glm_engine *e, glm_task *task, glm_loading *want, glm_error *err)
{
	glm_intake	*in = &e->intake;
	glm_loading *l;
	bool		 ok = true;

	pthread_mutex_lock(&in->lock);
	l = find_loading(in, want);
	if (l == NULL)
	{
		l = want;
		atomic_store(&l->waiters, 1);
		ok = start_thread(l);
	}
	else
		atomic_fetch_add(&l->waiters, 1);
	if (ok)
		task->loading = l;
	pthread_mutex_unlock(&in->lock);
	if (l != want || !ok)
		free_loading(want);
	return ok || glm_fail(err, GLM_NO_ROOM, "could not start a thread to load a model");
}

static glm_loading *
make_loading(glm_engine *e, loading_kind kind, glm_served *served, glm_error *err)
{
	glm_loading *l = calloc(1, sizeof(*l));

	if (l == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	l->engine = e;
	l->kind = kind;
	l->served = served;
	return l;
}

static glm_outcome_kind
park_on_model(glm_engine *e, glm_task *task, loading_kind kind, glm_served *served, glm_error *err)
{
	glm_loading *l = make_loading(e, kind, served, err);

	if (l == NULL)
		return GLM_TASK_FAILED;
	glm_models_keep(&e->models, served);
	return wait_for(e, task, l, err) ? GLM_TASK_PARKED : GLM_TASK_FAILED;
}

static glm_outcome_kind
park_on_open(glm_engine *e, glm_task *task, const glm_request *req, const glm_open_options *options,
			 glm_error *err)
{
	glm_loading *l = make_loading(e, LOADING_OPEN, NULL, err);

	if (l == NULL)
		return GLM_TASK_FAILED;
	l->options = *options;
	l->name = strdup(glm_request_text(req, req->model));
	l->path = strdup(glm_request_text(req, req->path));
	if (l->name != NULL && l->path != NULL)
		return wait_for(e, task, l, err) ? GLM_TASK_PARKED : GLM_TASK_FAILED;
	free_loading(l);
	glm_no_memory(err);
	return GLM_TASK_FAILED;
}

/* ---- Entry points ---------------------------------------------------------------------- */

glm_outcome_kind
glm_loader_find(glm_engine *e, glm_task *task, const glm_request *req, glm_served **served,
				glm_error *err)
{
	glm_open_options options;
	glm_outcome_kind outcome;

	if (!glm_models_find(&e->models, req, &options, served, err))
		return GLM_TASK_FAILED;
	if (*served == NULL)
		return park_on_open(e, task, req, &options, err);
	/* asked for expressly, it is done now; what was done before, as by opening, is not repeated */
	if ((task->kind->needs & GLM_NEEDS_VERIFIED) == 0 ||
		options.weights.verify != GLM_VERIFY_FULL || task->verified)
		return GLM_TASK_GOES_ON;
	task->verified = true;
	outcome = park_on_model(e, task, LOADING_VERIFY, *served, err);
	glm_models_release(&e->models, *served);
	return outcome;
}

/* Do others wait until it is in memory?  A task that comes after them does not overtake. */
static bool
is_being_held(glm_engine *e, glm_served *served)
{
	const glm_loading like = {.kind = LOADING_HOLD, .served = served};
	bool			  found;

	pthread_mutex_lock(&e->intake.lock);
	found = find_loading(&e->intake, &like) != NULL;
	pthread_mutex_unlock(&e->intake.lock);
	return found;
}

glm_outcome_kind
glm_loader_hold(glm_engine *e, glm_task *task, glm_served *served, glm_error *err)
{
	int64_t used = atomic_load(&served->used_ns);

	if (task->held || (atomic_load(&served->weights) != NULL && glm_now_ns() - used < IDLE_NS &&
					   !is_being_held(e, served)))
		return GLM_TASK_GOES_ON;
	task->held = true; /* when it is begun again */
	return park_on_model(e, task, LOADING_HOLD, served, err);
}

void
glm_loader_close(void *arg, glm_served *served)
{
	glm_engine	*e = arg;
	glm_loading *l = make_loading(e, LOADING_CLOSE, served, NULL);
	bool		 started = false;

	if (l != NULL)
	{
		pthread_mutex_lock(&e->intake.lock);
		started = start_thread(l);
		pthread_mutex_unlock(&e->intake.lock);
	}
	if (started)
		return;
	free(l);
	glm_models_close(&e->models, served);
}

bool
glm_loading_done(const glm_loading *l)
{
	return atomic_load(&l->done);
}

bool
glm_loading_good(const glm_loading *l, glm_error *err)
{
	if (l->err.status == GLM_OK)
		return true;
	*err = l->err;
	return false;
}

/* The last one takes it along, unless its thread still has it. */
void
glm_loading_drop(glm_engine *e, glm_loading *l)
{
	bool last;

	pthread_mutex_lock(&e->intake.lock);
	last = atomic_fetch_sub(&l->waiters, 1) == 1 && atomic_load(&l->done);
	pthread_mutex_unlock(&e->intake.lock);
	if (last)
		free_loading(l);
}
