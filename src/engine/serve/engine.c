/*
 * engine.c - the host's door: open, submit, cancel, poll, observe.
 *
 * Everything here runs on the host's thread (glm.h) and only moves pointers;
 * the work happens in tasks.c, loader.c and scheduler.c.  Tickets are numbers of a fixed
 * table, so that a cancel or a reader's progress is one atomic store.
 */
#include "engine/serve/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Open and close ---------------------------------------------------- */

static bool
check_config(const glm_config *c, glm_error *err)
{
	if (c->max_sequences < 1 || c->max_sequences > 65536)
		return glm_fail(err, GLM_BAD_ARGUMENT, "max_sequences %d is out of range",
						c->max_sequences);
	if (c->max_queue < 1 || c->max_queue > 1 << 20)
		return glm_fail(err, GLM_BAD_ARGUMENT, "max_queue %d is out of range", c->max_queue);
	if (c->prefill_budget < 1 || c->prefill_budget > GLM_PREFILL_MAX)
		return glm_fail(err, GLM_BAD_ARGUMENT, "prefill_budget %d is out of range",
						c->prefill_budget);
	if (c->threads < 0 || c->threads > 1024)
		return glm_fail(err, GLM_BAD_ARGUMENT, "threads %d is out of range", c->threads);
	return true;
}

/* The tables whose size the configuration sets. */
static bool
open_tickets(glm_engine *e, const glm_config *config, glm_error *err)
{
	e->max_sequences = config->max_sequences;
	e->n_tickets = config->max_sequences + config->max_queue;
	e->ticket = calloc(e->n_tickets, sizeof(*e->ticket));
	e->free_ticket = calloc(e->n_tickets, sizeof(*e->free_ticket));
	e->ranked = calloc(e->n_tickets, sizeof(*e->ranked));
	e->rank_counts = calloc(e->n_tickets, sizeof(*e->rank_counts));
	if (e->ticket == NULL || e->free_ticket == NULL || e->ranked == NULL || e->rank_counts == NULL)
		return glm_no_memory(err);
	for (int i = e->n_tickets - 1; i >= 0; i--)
		e->free_ticket[e->n_free++] = i;
	return glm_intake_open(e, e->n_tickets, err);
}

static bool
open_compute(glm_engine *e, const glm_config *config, glm_error *err)
{
	int cpus = glm_cpus_count(config->cpus, err);
	int threads = config->threads > 0 ? config->threads : cpus;

	if (cpus == 0)
		return false;
	e->threads = glm_threads_open(threads, err);
	if (e->threads == NULL)
		return false;
	if (!glm_threads_bind(e->threads, config->cpus))
		return glm_fail(err, GLM_UNSUPPORTED, "could not bind the compute threads to CPUs \"%s\"",
						config->cpus);
	return glm_device_open(e, config, err);
}

static bool
start_threads(glm_engine *e, const char *cpus, glm_error *err)
{
	if (glm_intake_start(e))
		e->engine_started = pthread_create(&e->engine_thread, NULL, glm_scheduler_main, e) == 0;
	if (!e->engine_started)
		return glm_fail(err, GLM_INTERNAL, "could not start the engine's threads");
	return glm_cpus_bind(e->engine_thread, cpus) ||
		   glm_fail(err, GLM_UNSUPPORTED, "could not bind the engine's thread to CPUs \"%s\"",
					cpus);
}

glm_engine *
glm_engine_open(const glm_config *config, glm_error *err)
{
	glm_engine *e;

	if (!check_config(config, err))
		return NULL;
	e = GLM_INJECT("engine-open") ? NULL : calloc(1, sizeof(*e));
	if (e == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	e->inbox_end = &e->inbox;
	e->tuning = true;
	atomic_store(&e->huge_pages, true);
	atomic_store(&e->prefill_budget, config->prefill_budget);
	pthread_mutex_init(&e->inbox_lock, NULL);
	pthread_mutex_init(&e->device_lock, NULL);
	glm_models_init(&e->models, config->memory_limit, config->verify);
	e->models.kv_type = config->kv_type;
	e->models.closer = glm_loader_close;
	e->models.closer_arg = e;
	glm_signal_init(&e->wake);
	glm_job_init(&e->job);
	if (!glm_outbox_open(&e->outbox, err) || !open_tickets(e, config, err) ||
		!open_compute(e, config, err) || !start_threads(e, config->cpus, err))
	{
		glm_engine_close(e);
		return NULL;
	}
	return e;
}

static void
stop_threads(glm_engine *e)
{
	atomic_store(&e->stopping, true);
	glm_outbox_close(&e->outbox);
	glm_signal_raise(&e->wake);
	glm_intake_stop(e);
	if (e->engine_started)
		pthread_join(e->engine_thread, NULL);
	glm_job_stop(e);
	/* the threads that close what these two let go */
	glm_intake_stop(e);
	e->models.closer = NULL;
}

void
glm_engine_close(glm_engine *e)
{
	stop_threads(e);
	glm_intake_close(e);
	while (e->inbox != NULL)
	{
		glm_sequence *seq = e->inbox;

		e->inbox = seq->next;
		glm_sequence_free(e, seq);
	}
	/* what is on the device goes before it */
	glm_models_free(&e->models);
	glm_device_close(e);
	if (e->threads != NULL)
		glm_threads_close(e->threads);
	for (int i = 0; e->ticket != NULL && i < e->n_tickets; i++)
		free(e->ticket[i].request);
	free(e->ticket);
	free(e->free_ticket);
	free(e->ranked);
	free(e->rank_counts);
	glm_outbox_free(&e->outbox);
	glm_signal_destroy(&e->wake);
	pthread_mutex_destroy(&e->inbox_lock);
	pthread_mutex_destroy(&e->device_lock);
	free(e);
}

/* ---- Requests ----------------------------------------------------------- */

glm_request *
glm_request_new(size_t size)
{
	return GLM_INJECT("request") ? NULL : malloc(size);
}

void
glm_request_free(glm_request *req)
{
	free(req);
}

int
glm_engine_give(glm_engine *e, glm_request *req, glm_error *err)
{
	int			number;
	glm_ticket *ticket;

	if (e->n_free == 0)
	{
		glm_fail(err, GLM_BUSY, "too many requests are waiting (%d)", e->n_tickets);
		glm_hint(err, "Try again later.");
		return -1;
	}
	number = e->free_ticket[--e->n_free];
	ticket = &e->ticket[number];
	ticket->request = req;
	ticket->deadline_ns =
		req->timeout_ms > 0 ? glm_now_ns() + req->timeout_ms * INT64_C(1000000) : 0;
	atomic_store(&ticket->cancelled, false);
	atomic_store(&ticket->taken, 0);
	atomic_store(&ticket->generated, 0);
	atomic_store(&ticket->stage, GLM_STAGE_READING);
	ticket->stream = req->stream != 0;
	ticket->timing = (glm_timing){.submitted_ns = glm_now_ns()};
	atomic_fetch_add(&e->count.requests, 1);

	glm_intake_add(e, number);
	return number;
}

int
glm_engine_submit(glm_engine *e, const glm_request *req, glm_error *err)
{
	glm_request *copy = glm_request_new(req->size);
	int			 number;

	if (copy == NULL)
	{
		glm_no_memory(err);
		return -1;
	}
	memcpy(copy, req, req->size);
	number = glm_engine_give(e, copy, err);
	if (number < 0)
		glm_request_free(copy);
	return number;
}

void
glm_engine_cancel(glm_engine *e, int number)
{
	atomic_store(&e->ticket[number].cancelled, true);
	glm_intake_poke(e, number);
	glm_signal_raise(&e->wake);
}

void
glm_engine_taken(glm_engine *e, int number, uint32_t taken)
{
	atomic_store(&e->ticket[number].taken, taken);
	glm_signal_raise(&e->wake);
}

int
glm_engine_generated(const glm_engine *e, int number)
{
	return (int) atomic_load(&e->ticket[number].generated);
}

glm_stage
glm_engine_stage(const glm_engine *e, int number)
{
	const glm_ticket *ticket = &e->ticket[number];
	unsigned		  taken = atomic_load(&ticket->taken);

	if (ticket->stream && atomic_load(&ticket->generated) - taken >= GLM_OUTBOX)
		return GLM_STAGE_PAUSED;
	return (glm_stage) atomic_load(&ticket->stage);
}

const glm_timing *
glm_engine_timing(const glm_engine *e, int number)
{
	return &e->ticket[number].timing;
}

int
glm_engine_fd(const glm_engine *e)
{
	return e->outbox.fd;
}

bool
glm_engine_poll(glm_engine *e, glm_event *buf)
{
	if (!glm_outbox_take(&e->outbox, buf))
		return false;
	if (buf->kind == GLM_EVENT_DONE || buf->kind == GLM_EVENT_ERROR)
		e->free_ticket[e->n_free++] = buf->ticket;
	return true;
}

void
glm_engine_set_verify(glm_engine *e, glm_verify verify)
{
	atomic_store(&e->models.verify, verify);
}

void
glm_engine_set_huge_pages(glm_engine *e, bool on)
{
	atomic_store(&e->huge_pages, on);
}

void
glm_engine_set_tuning(glm_engine *e, bool on)
{
	e->tuning = on;
	glm_forward_set_tuning(e->forward, on);
}

void
glm_engine_set_speculation(glm_engine *e, glm_speculation speculation)
{
	atomic_store(&e->speculation, speculation);
}

void
glm_engine_set_step_delay(glm_engine *e, int ms)
{
	atomic_store(&e->step_delay_ms, ms);
	glm_signal_raise(&e->wake);
}

void
glm_engine_set_prefill_budget(glm_engine *e, int tokens)
{
	atomic_store(&e->prefill_budget, tokens < GLM_PREFILL_MAX ? tokens : GLM_PREFILL_MAX);
}

/* ---- Observation ------------------------------------------------------------ */

void
glm_engine_stats(glm_engine *e, glm_stats *out)
{
	const glm_counters *c = &e->count;

	memset(out, 0, sizeof(*out));
	out->requests = atomic_load(&c->requests);
	out->completed = atomic_load(&c->completed);
	out->failed = atomic_load(&c->failed);
	out->cancelled = atomic_load(&c->cancelled);
	out->prompt_tokens = atomic_load(&c->prompt_tokens);
	out->cached_tokens = atomic_load(&c->cached_tokens);
	out->completion_tokens = atomic_load(&c->completion_tokens);
	out->preemptions = atomic_load(&c->preemptions);
	out->steps = atomic_load(&c->steps);
	out->step_ns = atomic_load(&c->step_ns);
	out->followed = atomic_load(&c->followed);
	out->running = atomic_load(&c->running);
	out->paused = atomic_load(&c->paused);
	out->waiting = atomic_load(&c->waiting) + atomic_load(&e->intake.n_tasks);
	glm_device_describe(e, out);
	out->models_evicted = atomic_load(&e->models.evicted);
	out->threads = glm_threads_count(e->threads);
	snprintf(out->kernels, sizeof(out->kernels), "%s", e->device.kernels);
	snprintf(out->device, sizeof(out->device), "%s", e->device.name);
	out->fast = e->device.arithmetic == GLM_FAST;
	snprintf(out->device_why, sizeof(out->device_why), "%s", e->device_why);
	out->tuning = e->tuning;
	out->n_tuned = glm_forward_tuned(e->forward, out->tuned, GLM_TUNED_MAX, &out->tuning_ns);
}

int
glm_engine_models(glm_engine *e, glm_model_info *out, int max)
{
	return glm_models_list(&e->models, out, max);
}
