/*
 * scheduler.c - the engine thread: many sequences, one forward pass at a time.
 *
 * Continuous batching.  Each step gathers, for one model, the newest token of
 * every running sequence and as many prompt tokens as the prefill budget
 * allows, runs one forward pass over these rows, and samples the sequences
 * whose last known token was among them.  Models with work take turns.  A long
 * answer or a long prompt never holds another request up for more than a step,
 * and what a request gets does not depend on its company: each row's result is
 * its own, bit for bit (forward.c).
 *
 * A sequence is admitted when the KV pool has blocks for the longest answer it
 * may give, first come first served, so a running sequence never runs out.
 * It leaves, and gives its blocks back, in the step in which it ends.
 */
#include "engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The engine thread's own state. */
typedef struct scheduler
{
	glm_engine *engine;
	glm_sequence *waiting;		/* oldest first */
	glm_sequence **waiting_end;
	glm_sequence *running;		/* in order of admission */
	int			n_running;
	int			n_rows;			/* rows of the pass, in engine->row */
	uint32_t	round;			/* each round, every model with work has one pass */
} scheduler;

/* ---- Sequences --------------------------------------------------------------- */

void
glm_scheduler_add(glm_engine *e, glm_sequence *seq)
{
	seq->next = NULL;
	pthread_mutex_lock(&e->inbox_lock);
	*e->inbox_end = seq;
	e->inbox_end = &seq->next;
	pthread_mutex_unlock(&e->inbox_lock);
	atomic_fetch_add(&e->count.waiting, 1);
	glm_signal_raise(&e->wake);
}

void
glm_sequence_free(glm_engine *e, glm_sequence *seq)
{
	if (seq->kv.n_blocks > 0)
		glm_kv_give(e->kv, seq->model->kv_block_bytes, &seq->kv);
	if (seq->sampler != NULL)
		glm_sampler_close(seq->sampler);
	if (seq->decoder != NULL)
		glm_decoder_close(seq->decoder);
	glm_buf_free(&seq->text);
	glm_ids_free(&seq->tokens);
	glm_models_release(&e->models, seq->model);
	free(seq);
}

static bool
is_paused(const glm_engine *e, const glm_sequence *seq)
{
	return seq->request->stream &&
		seq->made - atomic_load(&e->ticket[seq->ticket].taken) >= GLM_OUTBOX;
}

/* Frees a sequence, then tells its reader, so that whoever knows finds it gone. */
static void
fail_sequence(glm_engine *e, glm_sequence *seq, const glm_error *err)
{
	int			ticket = seq->ticket;

	glm_sequence_free(e, seq);
	glm_send_error(e, ticket, err);
}

static void
finish_sequence(glm_engine *e, glm_sequence *seq, glm_finish finish)
{
	int			ticket = seq->ticket;
	int			n_prompt = seq->n_prompt;
	int			n_answer = (int) seq->tokens.length - n_prompt;

	if (!seq->request->stream && seq->text.length > 0)
		glm_send_result(e, ticket, seq->text.data, seq->text.length);
	glm_sequence_free(e, seq);
	glm_send_done(e, ticket, finish, n_prompt, n_answer);
}

/* Takes a sequence out of the running ones; *at points to it. */
static glm_sequence *
remove_running(scheduler *s, glm_sequence **at)
{
	glm_sequence *seq = *at;

	*at = seq->next;
	s->n_running--;
	atomic_store(&s->engine->count.running, s->n_running);
	return seq;
}

/* ---- Admission ------------------------------------------------------------------- */

static void
collect_inbox(scheduler *s)
{
	glm_engine *e = s->engine;

	pthread_mutex_lock(&e->inbox_lock);
	if (e->inbox != NULL)
	{
		*s->waiting_end = e->inbox;
		s->waiting_end = e->inbox_end;
		e->inbox = NULL;
		e->inbox_end = &e->inbox;
	}
	pthread_mutex_unlock(&e->inbox_lock);
}

/* Ends sequences that were cancelled or ran out of time. */
static void
drop_ended(scheduler *s)
{
	glm_engine *e = s->engine;
	glm_error	err;

	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		if (glm_ticket_ended(&e->ticket[(*at)->ticket], &err))
			fail_sequence(e, remove_running(s, at), &err);
		else
			at = &(*at)->next;
	}
	for (glm_sequence **at = &s->waiting; *at != NULL;)
	{
		glm_sequence *seq = *at;

		if (glm_ticket_ended(&e->ticket[seq->ticket], &err))
		{
			*at = seq->next;
			if (*at == NULL)
				s->waiting_end = at;
			atomic_fetch_sub(&e->count.waiting, 1);
			fail_sequence(e, seq, &err);
		}
		else
			at = &seq->next;
	}
}

/* Admits one waiting sequence; false when its time has not come. */
static bool
admit_one(scheduler *s)
{
	glm_engine *e = s->engine;
	glm_sequence *seq = s->waiting;
	glm_sequence **end = &s->running;
	int			blocks = (seq->limit + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;
	glm_error	err;

	if (s->n_running >= e->max_sequences ||
		!glm_kv_take(e->kv, seq->model->kv_block_bytes, blocks, &seq->kv))
		return false;
	s->waiting = seq->next;
	if (s->waiting == NULL)
		s->waiting_end = &s->waiting;
	atomic_fetch_sub(&e->count.waiting, 1);
	if (!glm_forward_prepare(e->forward, seq->model, &err))
	{
		fail_sequence(e, seq, &err);
		return true;
	}
	while (*end != NULL)
		end = &(*end)->next;
	*end = seq;
	seq->next = NULL;
	s->n_running++;
	atomic_store(&e->count.running, s->n_running);
	return true;
}

/* ---- One pass ---------------------------------------------------------------------- */

/*
 * Adds the rows of one sequence: its newest token, or as much of its prompt as
 * *budget allows.  Only the row of the last known token needs logits.
 */
static void
gather(scheduler *s, glm_sequence *seq, int *budget)
{
	int			left = (int) seq->tokens.length - seq->n_computed;

	seq->n_rows = left;
	if (left > 1)
	{
		seq->n_rows = left < *budget ? left : *budget;
		*budget -= seq->n_rows;
	}
	for (int i = 0; i < seq->n_rows; i++)
	{
		int			position = seq->n_computed + i;

		s->engine->row[s->n_rows++] = (glm_row)
		{
			.token = seq->tokens.data[position],
			.position = position,
			.kv = &seq->kv,
			.logits = i == left - 1,
		};
	}
}

static void
gather_rows(scheduler *s, const glm_model *model)
{
	int			budget = atomic_load(&s->engine->prefill_budget);

	s->n_rows = 0;
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		seq->n_rows = 0;
		if (seq->model != model || is_paused(s->engine, seq))
			continue;
		seq->round = s->round;
		gather(s, seq, &budget);
	}
}

static bool
is_stop_id(const glm_model *model, int32_t token)
{
	const glm_model_config *c = &model->config;

	for (int i = 0; i < c->n_eos; i++)
	{
		if (token == c->eos[i])
			return true;
	}
	return token == glm_tokenizer_special(model->tokenizer, GLM_SP_USER) ||
		token == glm_tokenizer_special(model->tokenizer, GLM_SP_OBSERVATION);
}

/* Puts a sampled token behind the sequence and its text into seq->text. */
static bool
append_token(glm_sequence *seq, int32_t token, glm_finish *finish)
{
	bool		stopped = is_stop_id(seq->model, token);
	bool		ok = true;

	seq->tokens.data[seq->tokens.length++] = token;
	glm_sampler_see(seq->sampler, token);
	if (!stopped)
		ok = glm_decoder_push(seq->decoder, token, &seq->text, &stopped);
	*finish = stopped ? GLM_FINISH_STOP :
		(int) seq->tokens.length == seq->limit ? GLM_FINISH_LENGTH : GLM_FINISH_NONE;
	if (*finish != GLM_FINISH_NONE)
		ok = ok && glm_decoder_finish(seq->decoder, &seq->text);
	return ok;
}

static void
send_token(glm_engine *e, glm_sequence *seq, int32_t token, float logprob, glm_finish finish)
{
	glm_event	event = {.kind = GLM_EVENT_TOKEN, .ticket = seq->ticket,
						 .id = seq->request->id, .token_id = token,
						 .logprob = logprob, .finish = finish};

	/* the decoder never holds more than an event can carry */
	event.length = seq->text.length < GLM_EVENT_PAYLOAD ? seq->text.length : GLM_EVENT_PAYLOAD;
	glm_outbox_put(&e->outbox, &event, seq->text.data);
	seq->text.length = 0;
	seq->made++;
}

/* Samples a token of a sequence and passes it on; *finish says if it was the last. */
static bool
next_token(scheduler *s, glm_sequence *seq, float *logits, glm_finish *finish, glm_error *err)
{
	glm_engine *e = s->engine;
	uint64_t	index = seq->tokens.length - seq->n_prompt;
	int32_t		token;
	float		logprob = 0;

	if (!glm_sampler_pick(seq->sampler, logits, index, &token,
						  seq->request->stream ? &logprob : NULL, err))
		return false;
	if (!append_token(seq, token, finish))
		return glm_no_memory(err);
	atomic_fetch_add(&e->count.completion_tokens, 1);
	if (seq->request->stream)
		send_token(e, seq, token, logprob, *finish);
	return true;
}

/* A GLM_LOGITS request: its answer is the logits themselves. */
static bool
send_logits(glm_engine *e, const glm_sequence *seq, const float *logits, glm_error *err)
{
	int			vocab = seq->model->config.vocab;

	for (int i = 0; i < vocab; i++)
	{
		if (!isfinite(logits[i]))
			return glm_fail(err, GLM_NOT_FINITE, "model \"%s\" computed a logit that is not finite",
							seq->model->name);
	}
	glm_send_result(e, seq->ticket, logits, vocab * sizeof(float));
	return true;
}

/* Uses the logits of every sequence that has some; those that end leave. */
static void
use_logits(scheduler *s, const glm_model *model, float *logits)
{
	glm_engine *e = s->engine;
	int			vocab = model->config.vocab;

	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		glm_sequence *seq = *at;
		glm_finish	finish = GLM_FINISH_NONE;
		glm_error	err = {0};
		bool		ok;

		seq->n_computed += seq->n_rows;
		if (seq->n_rows == 0 || seq->n_computed < (int) seq->tokens.length)
		{
			seq->n_rows = 0;
			at = &seq->next;
			continue;
		}
		seq->n_rows = 0;
		if (seq->request->kind == GLM_LOGITS)
		{
			ok = send_logits(e, seq, logits, &err);
			finish = GLM_FINISH_STOP;
		}
		else
			ok = next_token(s, seq, logits, &finish, &err);
		logits += vocab;

		if (!ok)
			fail_sequence(e, remove_running(s, at), &err);
		else if (finish != GLM_FINISH_NONE)
			finish_sequence(e, remove_running(s, at), finish);
		else
			at = &seq->next;
	}
}

/* The forward pass failed: so do all sequences that were in it. */
static void
fail_pass(scheduler *s, const glm_error *err)
{
	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		if ((*at)->n_rows > 0)
			fail_sequence(s->engine, remove_running(s, at), err);
		else
			at = &(*at)->next;
	}
}

static int
count_prompt_rows(const scheduler *s)
{
	int			n = 0;

	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (seq->n_rows > 0 && seq->n_computed < seq->n_prompt)
			n += seq->n_rows;
	}
	return n;
}

static void
run_pass(scheduler *s, const glm_model *model)
{
	glm_counters *count = &s->engine->count;
	int64_t		start = glm_now_ns();
	float	   *logits;
	glm_error	err = {0};

	gather_rows(s, model);
	if (!glm_forward_run(s->engine->forward, model, s->engine->row, s->n_rows, &logits, &err))
	{
		fail_pass(s, &err);
		return;
	}
	atomic_fetch_add(&count->steps, 1);
	atomic_fetch_add(&count->prompt_tokens, count_prompt_rows(s));
	atomic_fetch_add(&count->step_ns, glm_now_ns() - start);
	use_logits(s, model, logits);
}

/* ---- The thread ------------------------------------------------------------------------ */

/* A sequence whose model has not had its pass in this round; counts the paused. */
static glm_sequence *
next_in_round(scheduler *s)
{
	glm_sequence *found = NULL;
	int			paused = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (is_paused(s->engine, seq))
			paused++;
		else if (seq->round != s->round && found == NULL)
			found = seq;
	}
	atomic_store(&s->engine->count.paused, paused);
	return found;
}

/* One pass for every model with work; false when there was none. */
static bool
run_round(scheduler *s)
{
	bool		any = false;
	glm_sequence *seq;

	s->round++;
	while ((seq = next_in_round(s)) != NULL)
	{
		run_pass(s, seq->model);
		any = true;
	}
	return any;
}

/* When the next sequence's time is up; 0 = none has a limit. */
static int64_t
next_deadline(const scheduler *s)
{
	int64_t		next = 0;
	const glm_sequence *list[2] = {s->running, s->waiting};

	for (int i = 0; i < 2; i++)
	{
		for (const glm_sequence *seq = list[i]; seq != NULL; seq = seq->next)
		{
			int64_t		deadline = s->engine->ticket[seq->ticket].deadline_ns;

			if (deadline != 0 && (next == 0 || deadline < next))
				next = deadline;
		}
	}
	return next;
}

/* Takes in what has happened outside since the last look. */
static void
take_news(scheduler *s)
{
	collect_inbox(s);
	drop_ended(s);
	while (s->waiting != NULL && admit_one(s))
		;
}

/* The delay that tests ask for; cancels go on meanwhile. */
static void
delay_step(scheduler *s)
{
	glm_engine *e = s->engine;
	int64_t		until = glm_now_ns() + atomic_load(&e->step_delay_ms) * INT64_C(1000000);

	while (glm_now_ns() < until && !atomic_load(&e->stopping))
	{
		glm_signal_wait(&e->wake, until);
		take_news(s);
	}
}

static void
free_sequences(scheduler *s, glm_sequence *list)
{
	while (list != NULL)
	{
		glm_sequence *seq = list;

		list = seq->next;
		glm_sequence_free(s->engine, seq);
	}
}

void *
glm_scheduler_main(void *arg)
{
	glm_engine *e = arg;
	scheduler	s = {.engine = e};

	glm_thread_enter("glm engine");
	s.waiting_end = &s.waiting;
	while (!atomic_load(&e->stopping))
	{
		take_news(&s);
		if (!run_round(&s))
			glm_signal_wait(&e->wake, next_deadline(&s));
		else if (atomic_load(&e->step_delay_ms) > 0)
			delay_step(&s);
	}
	free_sequences(&s, s.running);
	free_sequences(&s, s.waiting);
	return NULL;
}
