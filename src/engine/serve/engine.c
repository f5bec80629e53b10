/*
 * engine.c - the host's door: open, submit, cancel, poll, observe.
 *
 * Everything here runs on the host's thread (glm.h) and only moves pointers;
 * the work happens in front.c, loader.c and scheduler.c.  Tickets are numbers of a fixed
 * table, so that a cancel or a reader's progress is one atomic store.
 */
#include "engine/serve/engine.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Small tools ------------------------------------------------------ */

int64_t
glm_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

bool
glm_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	bool			   ok;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	ok = pthread_cond_init(cond, &attr) == 0;
	pthread_condattr_destroy(&attr);
	return ok;
}

void
glm_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ns)
{
	struct timespec until = {deadline_ns / 1000000000, deadline_ns % 1000000000};

	if (deadline_ns == 0)
		pthread_cond_wait(cond, lock);
	else
		pthread_cond_timedwait(cond, lock, &until);
}

bool
glm_thread_start(void *(*thread_main)(void *), void *arg)
{
	pthread_t	   thread;
	pthread_attr_t attr;
	bool		   ok;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ok = pthread_create(&thread, &attr, thread_main, arg) == 0;
	pthread_attr_destroy(&attr);
	return ok;
}

bool
glm_signal_init(glm_signal *s)
{
	s->raised = false;
	return pthread_mutex_init(&s->lock, NULL) == 0 && glm_cond_init(&s->raised_cond);
}

void
glm_signal_destroy(glm_signal *s)
{
	pthread_cond_destroy(&s->raised_cond);
	pthread_mutex_destroy(&s->lock);
}

void
glm_signal_raise(glm_signal *s)
{
	pthread_mutex_lock(&s->lock);
	s->raised = true;
	pthread_cond_signal(&s->raised_cond);
	pthread_mutex_unlock(&s->lock);
}

void
glm_signal_wait(glm_signal *s, int64_t deadline_ns)
{
	struct timespec until = {deadline_ns / 1000000000, deadline_ns % 1000000000};

	pthread_mutex_lock(&s->lock);
	while (!s->raised)
	{
		if (deadline_ns == 0)
			pthread_cond_wait(&s->raised_cond, &s->lock);
		else if (pthread_cond_timedwait(&s->raised_cond, &s->lock, &until) != 0)
			break;
	}
	s->raised = false;
	pthread_mutex_unlock(&s->lock);
}

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
	e->order = calloc(e->n_tickets, sizeof(*e->order));
	e->turn_end = calloc(e->n_tickets, sizeof(*e->turn_end));
	if (e->ticket == NULL || e->free_ticket == NULL || e->order == NULL || e->turn_end == NULL)
		return glm_no_memory(err);
	for (int i = e->n_tickets - 1; i >= 0; i--)
		e->free_ticket[e->n_free++] = i;
	return glm_front_open(e, e->n_tickets, err);
}

static bool
open_compute(glm_engine *e, const glm_config *config, glm_error *err)
{
	int cpus = glm_cpus_count(config->cpus, err);
	int threads = config->threads > 0 ? config->threads : cpus;

	if (cpus == 0)
		return false;
	e->row = calloc(config->max_sequences + GLM_PREFILL_MAX, sizeof(*e->row));
	e->order = calloc(e->n_tickets, sizeof(*e->order));
	e->turn_end = calloc(e->n_tickets, sizeof(*e->turn_end));
	if (e->row == NULL || e->order == NULL || e->turn_end == NULL)
		return glm_no_memory(err);
	e->kv = glm_kv_pool_open(config->kv_cache_size);
	if (e->kv == NULL)
		return glm_fail(err, GLM_NO_ROOM, "could not reserve %zu bytes for the KV cache",
						config->kv_cache_size);
	e->prefix = e->models.prefix = glm_prefix_open(e->kv);
	if (e->prefix == NULL)
		return glm_no_memory(err);
	e->threads = glm_threads_open(threads, err);
	if (e->threads == NULL)
		return false;
	if (!glm_threads_bind(e->threads, config->cpus))
		return glm_fail(err, GLM_UNSUPPORTED, "could not bind the compute threads to CPUs \"%s\"",
						config->cpus);
	e->forward =
		glm_forward_open(config->kernels, e->threads, config->max_sequences + GLM_PREFILL_MAX, err);
	return e->forward != NULL;
}

static bool
start_threads(glm_engine *e, const char *cpus, glm_error *err)
{
	if (glm_front_start(e))
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
	e = calloc(1, sizeof(*e));
	if (e == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	e->inbox_end = &e->inbox;
	atomic_store(&e->prefill_budget, config->prefill_budget);
	pthread_mutex_init(&e->inbox_lock, NULL);
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
	glm_front_stop(e);
	if (e->engine_started)
		pthread_join(e->engine_thread, NULL);
	glm_job_stop(e);
	/* the threads that close what these two let go */
	glm_front_stop(e);
	e->models.closer = NULL;
}

void
glm_engine_close(glm_engine *e)
{
	stop_threads(e);
	glm_front_close(e);
	while (e->inbox != NULL)
	{
		glm_sequence *seq = e->inbox;

		e->inbox = seq->next;
		glm_sequence_free(e, seq);
	}
	if (e->forward != NULL)
		glm_forward_close(e->forward);
	if (e->threads != NULL)
		glm_threads_close(e->threads);
	glm_models_free(&e->models);
	glm_prefix_close(e->prefix);
	if (e->kv != NULL)
		glm_kv_pool_close(e->kv);
	for (int i = 0; e->ticket != NULL && i < e->n_tickets; i++)
		free(e->ticket[i].request);
	free(e->ticket);
	free(e->free_ticket);
	free(e->order);
	free(e->turn_end);
	free(e->row);
	glm_outbox_free(&e->outbox);
	glm_signal_destroy(&e->wake);
	pthread_mutex_destroy(&e->inbox_lock);
	free(e);
}

/* ---- Requests ----------------------------------------------------------- */

glm_request *
glm_request_new(size_t size)
{
	return malloc(size);
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
	atomic_fetch_add(&e->count.requests, 1);

	glm_front_add(e, number);
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
	glm_front_poke(e, number);
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
glm_engine_set_speculation(glm_engine *e, glm_speculation speculation)
{
	atomic_store(&e->speculation, speculation);
}

void
glm_engine_set_step_delay(glm_engine *e, int ms)
{
	atomic_store(&e->step_delay_ms, ms);
}

void
glm_engine_set_prefill_budget(glm_engine *e, int tokens)
{
	atomic_store(&e->prefill_budget, tokens < GLM_PREFILL_MAX ? tokens : GLM_PREFILL_MAX);
}

/* ---- Events, as the engine's threads send them ---------------------------- */

bool
glm_ticket_ended(const glm_ticket *ticket, glm_error *err)
{
	if (atomic_load(&ticket->cancelled))
	{
		glm_fail(err, GLM_CANCELLED, "the request was cancelled");
		return true;
	}
	if (ticket->deadline_ns != 0 && glm_now_ns() >= ticket->deadline_ns)
	{
		glm_fail(err, GLM_TIMED_OUT, "the request took longer than %d ms",
				 ticket->request->timeout_ms);
		glm_hint(err, "Raise chatglm.request_timeout or options.timeout_ms.");
		return true;
	}
	return false;
}

void
glm_send_result(glm_engine *e, int ticket, const void *bytes, size_t n)
{
	glm_event event = {
		.kind = GLM_EVENT_RESULT, .ticket = ticket, .id = e->ticket[ticket].request->id};

	for (size_t at = 0; at < n; at += event.length)
	{
		event.length = n - at < GLM_EVENT_PAYLOAD ? n - at : GLM_EVENT_PAYLOAD;
		glm_outbox_put(&e->outbox, &event, (const char *) bytes + at);
	}
}

/* Puts the last event of a request; after it the ticket is not ours. */
static void
send_terminal(glm_engine *e, int ticket, glm_event *event, const void *payload)
{
	glm_ticket *t = &e->ticket[ticket];

	event->ticket = ticket;
	event->id = t->request->id;
	free(t->request);
	t->request = NULL;
	glm_outbox_put(&e->outbox, event, payload);
}

void
glm_send_usage(glm_engine *e, int ticket, glm_finish finish, const glm_event *usage)
{
	glm_event event = *usage;

	event.kind = GLM_EVENT_DONE;
	event.finish = finish;
	atomic_fetch_add(&e->count.completed, 1);
	send_terminal(e, ticket, &event, NULL);
}

void
glm_send_done(glm_engine *e, int ticket, glm_finish finish, int prompt_tokens,
			  int completion_tokens)
{
	glm_event usage = {.prompt_tokens = prompt_tokens, .completion_tokens = completion_tokens};

	glm_send_usage(e, ticket, finish, &usage);
}

void
glm_send_error(glm_engine *e, int ticket, const glm_error *err)
{
	char	  text[sizeof(err->message) + sizeof(err->hint)];
	size_t	  message = strlen(err->message) + 1;
	size_t	  hint = strlen(err->hint) + 1;
	glm_event event = {.kind = GLM_EVENT_ERROR, .status = err->status, .length = message + hint};

	memcpy(text, err->message, message);
	memcpy(text + message, err->hint, hint);
	atomic_fetch_add(err->status == GLM_CANCELLED ? &e->count.cancelled : &e->count.failed, 1);
	send_terminal(e, ticket, &event, text);
}

/* ---- Observation ------------------------------------------------------------ */

void
glm_engine_stats(glm_engine *e, glm_stats *out)
{
	const glm_counters *c = &e->count;
	glm_prefix_stats	kv;

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
	out->running = atomic_load(&c->running);
	out->paused = atomic_load(&c->paused);
	out->waiting = atomic_load(&c->waiting) + atomic_load(&e->front.n_tasks);
	out->kv_bytes_total = glm_kv_pool_total(e->kv);
	glm_prefix_stats_get(e->prefix, 0, &kv);
	out->kv_bytes_used = kv.bytes_used;
	out->kv_bytes_cached = kv.bytes_cached;
	out->kv_evictions = kv.evictions;
	out->threads = glm_threads_count(e->threads);
	strncpy(out->kernels, glm_forward_kernels(e->forward), sizeof(out->kernels) - 1);
}

int
glm_engine_models(glm_engine *e, glm_model_info *out, int max)
{
	return glm_models_list(&e->models, out, max);
}
