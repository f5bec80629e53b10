/*
 * kind_generate.c - text from a prompt: one token after the other.
 *
 * Each pass leaves the logits of the last known token, which are sampled.  Behind it may
 * lie a draft (draft.c): while the token that was sampled is the draft's, the draft's row
 * was right and is sampled too.  Of a stream every token is sent, with its text; else the
 * text is sent at the end.
 *
 * Of a constrained answer tokens may be known before they are computed, as nothing else may
 * come (constrained.c).  A stream passes such a token on when the row before it has left
 * logits, by which its probability is told; else nobody asks, and it is passed on at once.
 */
#include "engine/serve/constrained.h"
#include "engine/serve/told.h"
#include "engine/serve/vocabularies.h"
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
 * One that does not fit can only fail, so it is not read much farther than that: to twice
 * the context, so that a message still says how much too long an ordinary one is.
 */
bool
glm_read_prompt(const glm_request *req, const glm_model *model, glm_ids *ids, glm_error *err)
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

/* ---- Passing on ------------------------------------------------------------------- */

static bool
send_token(glm_engine *e, glm_sequence *seq, const glm_picked *picked, glm_finish finish)
{
	glm_event event = {.kind = GLM_EVENT_TOKEN,
					   .chat = seq->model->chat->number,
					   .ticket = seq->ticket,
					   .id = seq->request->id,
					   .token_id = picked->token,
					   .logprob = picked->logprob,
					   .finish = finish};

	/* the decoder never holds more than an event can carry */
	if (seq->text.length > GLM_EVENT_PAYLOAD)
		seq->text.length = GLM_EVENT_PAYLOAD;
	seq->told.length = 0;
	if (!glm_told_add(seq, picked, GLM_EVENT_PAYLOAD - seq->text.length))
		return false;
	if (seq->told.length > 0)
		glm_buf_add(&seq->text, seq->told.data, seq->told.length);
	if (seq->text.failed)
		return false;
	event.told = (int32_t) seq->told.length;
	event.length = (uint32_t) seq->text.length;
	glm_outbox_put(&e->outbox, &event, seq->text.data);
	seq->text.length = 0;
	seq->made++;
	return true;
}

/* All tokens are passed on and nothing comes behind them. */
static bool
is_complete(const glm_sequence *seq)
{
	return glm_constrained_over(seq->constrained) && seq->n_shown == (int) seq->tokens.length;
}

/*
 * Puts the text of the next token that is known into seq->text, of a stream into an event.
 * `picked` is that token with what is told of it, NULL: nothing.  `last`: no other has been
 * picked behind it.
 */
static bool
pass_on(glm_engine *e, glm_sequence *seq, const glm_picked *picked, bool last, glm_finish *finish)
{
	int32_t token = seq->tokens.data[seq->n_shown++];
	bool	stopped = glm_model_stops_at(seq->model, token);
	bool	ok = true;

	if (!stopped)
		ok = glm_decoder_push(seq->decoder, token, &seq->text, &stopped);
	if (stopped || (last && is_complete(seq)))
		*finish = GLM_FINISH_STOP;
	else if (seq->n_shown == seq->limit)
		*finish = GLM_FINISH_LENGTH;
	if (*finish != GLM_FINISH_NONE)
		ok = ok && glm_decoder_finish(seq->decoder, &seq->text);
	if (!ok || picked == NULL)
		return ok;
	return seq->request->stream ? send_token(e, seq, picked, *finish)
								: glm_told_add(seq, picked, SIZE_MAX);
}

/* ---- Sampling ---------------------------------------------------------------------- */

/* Where the first logits are wanted: by who is told how likely each token was. */
static int
wants_logits_from(const glm_sequence *seq)
{
	return glm_tells(seq) ? seq->n_shown - 1 : glm_sequence_last_known(seq);
}

/* Rows of the pass, planned or just run, that leave logits for tokens that are known. */
static int
count_known_rows(const glm_sequence *seq)
{
	bool to_the_end = seq->n_computed + seq->n_rows == (int) seq->tokens.length;

	return seq->n_wanted - seq->draft.n_tokens - to_the_end;
}

/*
 * The number of the draw behind the last known token and i tokens of the draft.  One that
 * was begun is numbered from its beginning, so that it goes on as if it had not been cut.
 */
static uint64_t
draw_number(const glm_sequence *seq, int i)
{
	return seq->tokens.length + (size_t) i - (size_t) (seq->n_prompt - seq->n_begun);
}

/*
 * A row behind a draft is picked as if that were right: else nobody asks for its token.  The
 * device tells of the token that it picked, of no other.
 */
static bool
describe_pick(const glm_sequence *seq, int row, glm_pick_room *room, glm_pick *pick)
{
	int	 i = row - count_known_rows(seq);
	bool ok;

	if (i < 0 || glm_tells_likeliest(seq) > 0)
		return false;
	ok = glm_sampler_describe(seq->sampler, draw_number(seq, i), glm_tells(seq),
							  seq->tokens.data + seq->tokens.length, i, room, pick);
	return glm_constrained_describe(seq, i, room, pick) && ok;
}

/* The tokens that are told beside this one, by logits that nobody has changed. */
static void
find_likeliest(const glm_sequence *seq, const float *logits, glm_picked *picked)
{
	int n = glm_tells_likeliest(seq);

	picked->n_likely = n > 0 ? glm_sampler_likeliest(seq->sampler, logits, n, picked->likely) : 0;
}

/* A token that nobody draws. */
static bool
know_token(glm_sequence *seq, int row, int32_t token, glm_picked *picked)
{
	const float *logits;

	picked->token = token;
	if (!glm_tells(seq))
		return true;
	logits = seq->logits + (size_t) row * (size_t) seq->model->config.vocab;
	find_likeliest(seq, logits, picked);
	return glm_sampler_know(seq->sampler, logits, token, &picked->logprob, &seq->pick_error);
}

/* A row cannot be sampled without its logits, which the device still has; false. */
static bool
lack_logits(glm_sequence *seq)
{
	seq->lacks_logits = true;
	return false;
}

/* What the device picked, if it may come. */
static bool
take_picked_id(glm_sequence *seq, int row, glm_picked *picked)
{
	const glm_picked_id *id = &seq->device_picked[row];
	float				*logprob = glm_tells(seq) ? &picked->logprob : NULL;

	if (seq->constrained != NULL &&
		(id->status == GLM_INTERNAL ||
		 (id->status == GLM_OK && !glm_constrained_allows(seq->constrained, id->id))))
		return lack_logits(seq);
	if (!glm_sampler_take(seq->sampler, id, &picked->token, logprob, &seq->pick_error))
		return false;
	glm_constrained_take(seq->constrained, picked->token);
	return true;
}

/* The token behind i tokens of the draft, by this row. */
static bool
sample_row(glm_sequence *seq, int row, int i, glm_picked *picked)
{
	float  *logits, *logprob = glm_tells(seq) ? &picked->logprob : NULL;
	int32_t forced = glm_constrained_forced(seq->constrained);
	bool	at_home = glm_sequence_has_logits(seq, row);

	picked->n_likely = 0;
	if (forced >= 0 && !at_home && logprob != NULL)
		return lack_logits(seq);
	if (forced >= 0)
	{
		glm_sampler_advance(seq->sampler, forced);
		glm_constrained_take(seq->constrained, forced);
		return know_token(seq, row, forced, picked);
	}
	if (!at_home)
		return take_picked_id(seq, row, picked);
	logits = seq->logits + (size_t) row * (size_t) seq->model->config.vocab;
	find_likeliest(seq, logits, picked);
	if (seq->constrained == NULL)
		return glm_sampler_pick(seq->sampler, logits, draw_number(seq, i), NULL, &picked->token,
								logprob, &seq->pick_error);
	return glm_constrained_pick(seq, logits, draw_number(seq, i), picked, &seq->pick_error);
}

/*
 * Samples after the last known token, and on as long as the draft's next token is
 * what was sampled.  A draft lies behind the tokens.  Stops where a row cannot be sampled.
 */
static void
sample_draft(glm_sequence *seq, int row)
{
	const int32_t *draft = seq->tokens.data + seq->tokens.length;

	for (int i = seq->n_picked - row;
		 i <= seq->draft.n_tokens && !glm_constrained_over(seq->constrained); i++)
	{
		glm_picked *picked = &seq->picked[seq->n_picked];

		if (!sample_row(seq, row + i, i, picked))
			return;
		seq->n_picked++;
		if (i < seq->draft.n_tokens && picked->token != draft[i])
			break;
	}
	/* here, as it takes time, and this thread is one of several */
	glm_constrained_forced(seq->constrained);
}

/* Goes on behind those that were sampled. */
static void
sample_tokens(glm_sequence *seq)
{
	int known = count_known_rows(seq);

	for (; seq->n_picked < known; seq->n_picked++)
	{
		int row = seq->n_picked;

		if (!know_token(seq, row, seq->tokens.data[seq->n_shown + row], &seq->picked[row]))
			return;
	}
	if (seq->n_computed == (int) seq->tokens.length)
		sample_draft(seq, known);
}

/* ---- Taking -------------------------------------------------------------------------- */

/* A token was sampled. */
static void
append_token(glm_sequence *seq, int32_t token)
{
	seq->tokens.data[seq->tokens.length++] = token;
	glm_draft_learn(&seq->draft, seq->ngrams, seq->tokens.data, (int) seq->tokens.length);
}

/* Passes on what was sampled behind the known tokens; how many tokens of the draft were right? */
static bool
take_picked(glm_engine *e, glm_sequence *seq, int *right, glm_finish *finish)
{
	int known = count_known_rows(seq);
	int used = 0;

	while (used < seq->n_picked && *finish == GLM_FINISH_NONE)
	{
		const glm_picked *picked = &seq->picked[used++];

		if (used > known)
			append_token(seq, picked->token);
		if (!pass_on(e, seq, glm_tells(seq) ? picked : NULL, used == seq->n_picked, finish))
			return false;
	}
	*right = used > known ? used - known - 1 : 0;
	return true;
}

/* Then what is known to come; who is not told how likely it was need not wait for it. */
static bool
take_forced(glm_engine *e, glm_sequence *seq, glm_finish *finish)
{
	if (seq->constrained == NULL || *finish != GLM_FINISH_NONE)
		return true;
	glm_constrained_go_on(seq);
	while (!glm_tells(seq) && seq->n_shown < (int) seq->tokens.length && *finish == GLM_FINISH_NONE)
	{
		if (!pass_on(e, seq, NULL, true, finish))
			return false;
	}
	/* an answer of nothing but what is forced, or of nothing */
	if (*finish == GLM_FINISH_NONE && is_complete(seq))
	{
		*finish = GLM_FINISH_STOP;
		return glm_decoder_finish(seq->decoder, &seq->text);
	}
	return true;
}

/* The times and numbers of the request itself; `n` tokens more are known of its answer. */
static void
note_tokens(glm_engine *e, const glm_sequence *seq, int n, int drafts, int right)
{
	glm_ticket *ticket = &e->ticket[seq->ticket];

	ticket->timing.draft_tokens += drafts;
	ticket->timing.accepted_tokens += right;
	if (n == 0)
		return;
	if (ticket->timing.first_ns == 0)
		atomic_store(&ticket->stage, GLM_STAGE_DECODE);
	glm_timing_tokens(&ticket->timing, n, e->sampled_ns);
}

/* Passes on what is known of the answer. */
static bool
take_tokens(glm_engine *e, glm_sequence *seq, glm_finish *finish, glm_error *err)
{
	int before = seq->n_shown;
	int drafts = seq->draft.n_tokens;
	int right = 0;
	int n;

	if (!take_picked(e, seq, &right, finish) ||
		(seq->pick_error.status == GLM_OK && !take_forced(e, seq, finish)))
		return glm_no_memory(err);
	n = seq->n_shown - before;
	note_tokens(e, seq, n, drafts, right);
	atomic_fetch_add(&e->ticket[seq->ticket].generated, n);
	atomic_fetch_add(&e->count.completion_tokens, n);
	atomic_fetch_add(&seq->served->counters.completion_tokens, n);
	if (*finish == GLM_FINISH_NONE && seq->pick_error.status != GLM_OK)
	{
		*err = seq->pick_error;
		return false;
	}
	/* the rows of drafts that were right have become those of tokens */
	seq->n_computed += right;
	seq->n_accepted += right;
	glm_draft_verified(&seq->draft, right);
	atomic_fetch_add(&seq->served->counters.draft_tokens, drafts);
	atomic_fetch_add(&seq->served->counters.accepted_tokens, right);
	return true;
}

const glm_request_kind glm_kind_generate = {
	.name = "generate",
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_TEXT | GLM_NEEDS_SAMPLER | GLM_NEEDS_DECODER,
	.read_tokens = glm_read_prompt,
	.want = GLM_WANT_LOGITS,
	.wants_from = wants_logits_from,
	.describe = describe_pick,
	.sample = sample_tokens,
	.take = take_tokens,
};
