/*
 * pass.c - one forward pass: rows from sequences, tokens back to them.
 *
 * Runs the model over the rows that plan.c wrote, samples each sequence whose last
 * known token was among them and passes the token on.  While that is the one that
 * the sequence's draft foresaw, its row was right and is sampled too.  KV blocks
 * that are complete become known to other sequences.  Sequences that end leave at
 * once.
 *
 * Sampling walks the vocabulary several times, so the compute threads share the
 * sequences; all the rest is done in the engine thread.  Nothing here allocates.
 */
#include "engine/serve/scheduler.h"

#include <math.h>

#define LOOK_NS INT64_C(20000000) /* of a pass, between two looks around */
#define SHARED_PICKS 4			  /* sequences for which waking the compute threads pays */

/* ---- Tokens ---------------------------------------------------------------- */

static bool
is_stop_id(const glm_model *model, int32_t token)
{
	const glm_model_config *c = &model->config;

	for (int i = 0; i < c->n_eos; i++)
	{
		if (token == c->eos[i])
			return true;
	}
	return glm_chat_stops(model->chat, model->tokenizer, token);
}

/* Puts a sampled token behind the sequence and its text into seq->text. */
static bool
append_token(glm_sequence *seq, int32_t token, glm_finish *finish)
{
	bool stopped = is_stop_id(seq->model, token);
	bool ok = true;

	seq->tokens.data[seq->tokens.length++] = token;
	glm_foresight_learn(&seq->foresight, seq->learnt, seq->tokens.data, (int) seq->tokens.length);
	if (!stopped)
		ok = glm_decoder_push(seq->decoder, token, &seq->text, &stopped);
	*finish = stopped								   ? GLM_FINISH_STOP
			  : (int) seq->tokens.length == seq->limit ? GLM_FINISH_LENGTH
													   : GLM_FINISH_NONE;
	if (*finish != GLM_FINISH_NONE)
		ok = ok && glm_decoder_finish(seq->decoder, &seq->text);
	return ok;
}

static void
send_token(glm_engine *e, glm_sequence *seq, int32_t token, float logprob, glm_finish finish)
{
	glm_event event = {.kind = GLM_EVENT_TOKEN,
					   .chat = seq->model->chat->number,
					   .ticket = seq->ticket,
					   .id = seq->request->id,
					   .token_id = token,
					   .logprob = logprob,
					   .finish = finish};

	/* the decoder never holds more than an event can carry */
	event.length = seq->text.length < GLM_EVENT_PAYLOAD ? seq->text.length : GLM_EVENT_PAYLOAD;
	glm_outbox_put(&e->outbox, &event, seq->text.data);
	seq->text.length = 0;
	seq->made++;
}

/*
 * Samples after the last known token, and on as long as the draft's next token is
 * what was sampled.  A draft lies behind the tokens.  Stops where a row cannot be sampled.
 */
static void
pick_tokens(glm_sequence *seq)
{
	int	   vocab = seq->model->config.vocab;
	size_t known = seq->tokens.length;
	bool   stream = seq->request->stream;

	seq->n_picked = 0;
	for (int i = 0; i <= seq->foresight.n_drafts; i++)
	{
		glm_picked *picked = &seq->picked[i];

		if (!glm_sampler_pick(seq->sampler, seq->logits + (size_t) i * vocab,
							  known + i - seq->n_prompt, &picked->token,
							  stream ? &picked->logprob : NULL, &seq->pick_error))
			return;
		glm_sampler_see(seq->sampler, picked->token);
		seq->n_picked++;
		if (i < seq->foresight.n_drafts && picked->token != seq->tokens.data[known + i])
			return;
	}
}

/* The part of a compute thread: every count-th of the sequences with logits. */
static void
pick_part(void *arg, int index, int count)
{
	const glm_scheduler *s = arg;
	int					 i = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (seq->logits != NULL && seq->request->kind == GLM_GENERATE && i++ % count == index)
			pick_tokens(seq);
	}
}

/* Passes on what was picked; *finish says if it was the last. */
static bool
use_picked(glm_engine *e, glm_sequence *seq, glm_finish *finish, glm_error *err)
{
	int used = 0;
	int drafts = seq->foresight.n_drafts;

	while (used < seq->n_picked && *finish == GLM_FINISH_NONE)
	{
		const glm_picked *picked = &seq->picked[used++];

		if (!append_token(seq, picked->token, finish))
			return glm_no_memory(err);
		if (seq->request->stream)
			send_token(e, seq, picked->token, picked->logprob, *finish);
	}
	atomic_fetch_add(&e->ticket[seq->ticket].generated, used);
	atomic_fetch_add(&e->count.completion_tokens, used);
	atomic_fetch_add(&seq->model->tally.completion_tokens, used);
	if (*finish == GLM_FINISH_NONE && seq->pick_error.status != GLM_OK)
	{
		*err = seq->pick_error;
		return false;
	}
	/* the rows of drafts that were right have become those of tokens */
	seq->n_computed += used - 1;
	seq->n_accepted += used - 1;
	glm_foresight_judge(&seq->foresight, used - 1);
	atomic_fetch_add(&seq->model->tally.draft_tokens, drafts);
	atomic_fetch_add(&seq->model->tally.accepted_tokens, used - 1);
	return true;
}

/* A GLM_LOGITS request: its answer is the logits themselves. */
static bool
send_logits(glm_engine *e, const glm_sequence *seq, const float *logits, glm_error *err)
{
	int vocab = seq->model->config.vocab;

	for (int i = 0; i < vocab; i++)
	{
		if (!isfinite(logits[i]))
			return glm_fail(err, GLM_NOT_FINITE, "model \"%s\" computed a logit that is not finite",
							seq->model->name);
	}
	glm_send_result(e, seq->ticket, logits, vocab * sizeof(float));
	return true;
}

/* Counts the rows of a sequence as computed; true when it has logits. */
static bool
advance(glm_engine *e, glm_sequence *seq)
{
	int n = seq->n_rows;

	seq->n_rows = 0;
	seq->n_computed += n;
	if (n > 0 && seq->request->scope != 0)
		glm_chain_index(e->prefix, &seq->chain, seq->tokens.data, seq->n_computed);
	return n > 0 && seq->n_computed == (int) seq->tokens.length;
}

/* Tells every sequence where its logits are, NULL: it has none; how many have some. */
static int
give_logits(glm_scheduler *s, int vocab, float *logits)
{
	int n = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		seq->logits = NULL;
		if (!advance(s->engine, seq))
			continue;
		seq->logits = logits;
		logits += (size_t) (1 + seq->foresight.n_drafts) * vocab;
		n++;
	}
	return n;
}

/* Samples every sequence that has logits; those that end leave. */
static void
use_logits(glm_scheduler *s, int vocab, float *logits)
{
	glm_engine *e = s->engine;

	if (give_logits(s, vocab, logits) >= SHARED_PICKS)
		glm_threads_run(e->threads, pick_part, s);
	else
		pick_part(s, 0, 1);
	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		glm_sequence *seq = *at;
		glm_finish	  finish = GLM_FINISH_NONE;
		glm_error	  err = {0};
		bool		  ok;

		if (seq->logits == NULL)
		{
			at = &seq->next;
			continue;
		}
		if (seq->request->kind == GLM_LOGITS)
		{
			ok = send_logits(e, seq, seq->logits, &err);
			finish = GLM_FINISH_STOP;
		}
		else
			ok = use_picked(e, seq, &finish, &err);

		if (!ok)
			glm_sequence_fail(s, glm_sequence_remove(s, at), &err);
		else if (finish != GLM_FINISH_NONE)
			glm_sequence_finish(s, glm_sequence_remove(s, at), finish);
		else
			at = &seq->next;
	}
}

/* ---- The pass -------------------------------------------------------------- */

/* The forward pass failed: so do all sequences that were in it. */
static void
fail_pass(glm_scheduler *s, const glm_error *err)
{
	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		if ((*at)->n_rows > 0)
			glm_sequence_fail(s, glm_sequence_remove(s, at), err);
		else
			at = &(*at)->next;
	}
}

/* Rows that bring sequences up to their last known token: not one by one. */
static int
count_prefill_rows(const glm_scheduler *s)
{
	int n = 0;

	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (seq->n_rows > 1 || (seq->n_rows == 1 && seq->n_computed < seq->n_prompt))
			n += seq->n_rows;
	}
	return n;
}

static void
count_pass(glm_scheduler *s, glm_model *model, int64_t ns)
{
	glm_counters *count = &s->engine->count;
	int			  prefill = count_prefill_rows(s);

	atomic_fetch_add(&count->steps, 1);
	atomic_fetch_add(&count->step_ns, ns);
	atomic_fetch_add(&count->prompt_tokens, prefill);
	atomic_fetch_add(&model->tally.prefill_tokens, prefill);
	model->pace.spent_ns += ns;
	if (model->drafter != NULL && prefill == 0)
		glm_drafter_count_pass(model->drafter, s->n_rows, ns);
}

/*
 * What glm_pause() does in a pass, which may take seconds: sequences that are not in it
 * end in time, and so does it when all that are have ended.
 */
static bool
look_around(void *arg, glm_error *err)
{
	glm_scheduler *s = arg;
	glm_engine	  *e = s->engine;
	int64_t		   now = glm_now_ns();
	bool		   wanted = false;
	glm_error	   why = {0};

	if (now - s->looked_ns < LOOK_NS)
		return true;
	s->looked_ns = now;
	glm_scheduler_collect(s);
	for (glm_sequence **at = &s->waiting; *at != NULL;)
	{
		if (glm_ticket_ended(&e->ticket[(*at)->ticket], &why))
			glm_sequence_fail(s, glm_sequence_unwait(s, at), &why);
		else
			at = &(*at)->next;
	}
	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		bool ended = glm_ticket_ended(&e->ticket[(*at)->ticket], &why);

		wanted |= !ended && (*at)->n_rows > 0;
		if (ended && (*at)->n_rows == 0)
			glm_sequence_fail(s, glm_sequence_remove(s, at), &why);
		else
			at = &(*at)->next;
	}
	return (wanted && !atomic_load(&e->stopping)) ||
		   glm_fail(err, GLM_CANCELLED, "nobody waits for the pass any more");
}

void
glm_pass_run(glm_scheduler *s, glm_model *model)
{
	int		  vocab = model->config.vocab;
	int64_t	  start = glm_now_ns();
	float	 *logits;
	glm_error err = {0};
	bool	  ok;

	glm_plan_pass(s, model);
	if (s->n_rows == 0)
		return; /* the only one was preempted */
	s->looked_ns = start;
	glm_pause_with(look_around, s);
	ok = glm_forward_run(s->engine->forward, model, s->engine->row, s->n_rows, &logits, &err);
	glm_pause_with(NULL, NULL);
	atomic_store(&model->used_ns, glm_now_ns());
	if (!ok)
	{
		/* who was in a pass that ended is dropped next, each with his own reason */
		if (err.status != GLM_CANCELLED)
			fail_pass(s, &err);
		return;
	}
	count_pass(s, model, glm_now_ns() - start);
	/* the model may go with its last sequence */
	use_logits(s, vocab, logits);
}
