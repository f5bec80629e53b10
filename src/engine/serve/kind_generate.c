/*
 * kind_generate.c - text from a prompt: one token after the other.
 *
 * Each pass leaves the logits of the last known token, which are sampled.  Behind it may
 * lie a draft (draft.c): while the token that was sampled is the draft's, the draft's row
 * was right and is sampled too.  Of a stream every token is sent, with its text; else the
 * text is sent at the end.
 */
#include "engine/serve/engine.h"
#include "engine/text/prompt.h"

/* ---- The prompt ------------------------------------------------------------------ */

/*
 * Refuses texts that cannot fit the context however they are cut into pieces, before
 * anybody reads megabytes of them.
 */
static bool
check_length(const glm_request *req, const glm_model *model, glm_error *err)
{
	size_t most = glm_tokenizer_longest(model->tokenizer) * (size_t) model->config.context;
	/* in JSON a character takes up to six bytes for one */
	size_t text = req->text.length / (req->form == GLM_MESSAGES ? 6 : 1);
	size_t sum = text + req->system.length + req->tools.length / 6;

	if (sum <= most || req->truncate != GLM_TRUNCATE_ERROR)
		return true;
	glm_fail(err, GLM_TOO_LONG, "prompt of %zu bytes cannot fit the context of %d tokens",
			 (size_t) req->text.length + req->system.length + req->tools.length,
			 model->config.context);
	glm_hint(err, "Shorten the prompt.");
	return false;
}

/*
 * The ids of a prompt.  One that does not fit can only fail, so it is not read much
 * farther than that: to twice the context, so that a message still says how much too
 * long an ordinary one is.
 */
static bool
build_prompt(const glm_request *req, const glm_model *model, glm_ids *ids, glm_error *err)
{
	size_t most = 2 * (size_t) model->config.context;

	if (!check_length(req, model, err))
		return false;
	if (glm_prompt_fit(model->chat, model->tokenizer, req, model->config.context, most, ids, err))
		return true;
	if (err->status == GLM_TOO_LONG && ids->length > most && req->truncate == GLM_TRUNCATE_ERROR)
		glm_prompt_too_long(most, true, model, err);
	return false;
}

/* ---- Tokens ---------------------------------------------------------------------- */

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
	glm_draft_learn(&seq->draft, seq->ngrams, seq->tokens.data, (int) seq->tokens.length);
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

/* The number of the draw by the i-th row: the last known token's, then those of the draft. */
static uint64_t
draw_number(const glm_sequence *seq, int i)
{
	return seq->tokens.length + (size_t) i - (size_t) seq->n_prompt;
}

/* Without a penalty a row's pick does not ask whether the draft before it was right. */
static bool
describe_pick(const glm_sequence *seq, int i, glm_pick *pick)
{
	return glm_sampler_describe(seq->sampler, draw_number(seq, i), seq->request->stream, pick);
}

static bool
sample_row(glm_sequence *seq, int i, glm_picked *picked)
{
	float *logprob = seq->request->stream ? &picked->logprob : NULL;

	if (seq->device_picked != NULL)
		return glm_sampler_take(seq->sampler, &seq->device_picked[i], &picked->token, logprob,
								&seq->pick_error);
	return glm_sampler_pick(seq->sampler, seq->logits + (size_t) i * seq->model->config.vocab,
							draw_number(seq, i), NULL, &picked->token, logprob, &seq->pick_error);
}

/*
 * Samples after the last known token, and on as long as the draft's next token is
 * what was sampled.  A draft lies behind the tokens.  Stops where a row cannot be sampled.
 */
static void
sample_tokens(glm_sequence *seq)
{
	size_t known = seq->tokens.length;

	seq->n_picked = 0;
	for (int i = 0; i <= seq->draft.n_tokens; i++)
	{
		glm_picked *picked = &seq->picked[i];

		if (!sample_row(seq, i, picked))
			return;
		seq->n_picked++;
		if (i < seq->draft.n_tokens && picked->token != seq->tokens.data[known + i])
			return;
	}
}

/* Passes on what was sampled. */
static bool
take_tokens(glm_engine *e, glm_sequence *seq, glm_finish *finish, glm_error *err)
{
	int used = 0;
	int drafts = seq->draft.n_tokens;

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
	atomic_fetch_add(&seq->served->counters.completion_tokens, used);
	if (*finish == GLM_FINISH_NONE && seq->pick_error.status != GLM_OK)
	{
		*err = seq->pick_error;
		return false;
	}
	/* the rows of drafts that were right have become those of tokens */
	seq->n_computed += used - 1;
	seq->n_accepted += used - 1;
	glm_draft_verified(&seq->draft, used - 1);
	atomic_fetch_add(&seq->served->counters.draft_tokens, drafts);
	atomic_fetch_add(&seq->served->counters.accepted_tokens, used - 1);
	return true;
}

const glm_request_kind glm_kind_generate = {
	.name = "generate",
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_TEXT | GLM_NEEDS_SAMPLER | GLM_NEEDS_DECODER,
	.read_tokens = build_prompt,
	.want = GLM_WANT_LOGITS,
	.wants_from = glm_sequence_last_known,
	.describe = describe_pick,
	.sample = sample_tokens,
	.take = take_tokens,
};
