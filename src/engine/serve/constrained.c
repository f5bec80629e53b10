/*
 * constrained.c - sequences whose answers have to be something.
 *
 * A matcher (constrain.h) says which tokens may come next.  Most that a model would write
 * anyway are allowed, so a token is drawn from all first, and only if it is refused is the
 * mask made, and drawn again from what it leaves.  A token's probability is the same as if
 * all draws were made with the mask, p / Z: p + (1 - Z) p / Z.  Not so where the sampler
 * leaves unlikely tokens out; there the mask comes first.
 *
 * Where the matcher knows what comes next whatever is drawn, nothing is.  How forced text is
 * cut into tokens is not how it would be drawn; so a run of them is asked for at the same
 * places, FORCED_MAX at a time, whatever the passes are like, and once begun it is taken to
 * its end.  Tokens that are known are computed as those of a prompt are: many at a time.
 *
 * A device draws the first time, and the mask that it is told, if any, is that of the token's
 * place.  What it drew and the matcher refuses is drawn anew from the beginning, here.
 *
 * Draws are numbered by the token's place in the answer and how often it was drawn, so
 * that neither forced tokens nor drafts change what others get.
 *
 * In a chat format with a line of metadata before the content, the answer is made to begin
 * with an empty one, which is not shown; a call of a tool writes its own.  The blank that
 * encoding puts before a text is part of how a model writes its first token, so it stands
 * before both.
 *
 * An answer that was begun (a last message of the assistant's) is taken first, as if it had
 * been drawn: the whole of both is what is asked for.
 *
 * A raw prompt ends where its writer ended, which may be within what the model would write as
 * one token: behind "It is " it would rather have written " good" than "good".  So where a
 * longer token may come the prompt's last one is taken back, and the answer is made to begin
 * with its bytes, which are not shown.
 *
 * A sequence's own part belongs to who works for it: its task, then the engine thread, or
 * a compute thread that samples.  What sequences share locks itself.
 */
#include "engine/serve/constrained.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/serve/told.h"
#include "engine/serve/vocabularies.h"

#define FORCED_MAX 32
#define DRAWS_MAX 30 /* after as many refused tokens the way out is taken */

/* Where an answer is, beside the matcher. */
typedef struct place
{
	bool	over;
	bool	looked; /* whether tokens are forced; `forced` has them then */
	int		n_forced;
	int		at; /* of these, the next */
	int32_t forced[FORCED_MAX];
} place;

struct glm_constrained
{
	const glm_model *model;
	glm_constraint	*constraint; /* one reference */
	glm_matcher		*matcher;
	uint64_t		*mask; /* a bit for each id */
	const char		*lead; /* [n_lead] bytes of a token that was taken back from the prompt */
	size_t			 n_lead;
	place			 now;
	place			 before; /* a draft was made */
};

/* ---- One answer ------------------------------------------------------------------ */

bool
glm_constrained_over(const glm_constrained *c)
{
	return c != NULL && c->now.over;
}

int32_t
glm_constrained_forced(glm_constrained *c)
{
	place *now;

	if (c == NULL || c->now.over)
		return -1;
	now = &c->now;
	if (!now->looked)
	{
		now->n_forced = glm_matcher_forced(c->matcher, now->forced, FORCED_MAX);
		now->at = 0;
		now->looked = true;
	}
	return now->at < now->n_forced ? now->forced[now->at] : -1;
}

void
glm_constrained_take(glm_constrained *c, int32_t token)
{
	if (c == NULL)
		return;
	glm_matcher_take(c->matcher, token);
	c->now.at++;
	c->now.looked = c->now.at < c->now.n_forced;
	c->now.over = glm_model_stops_at(c->model, token) || glm_matcher_must_end(c->matcher);
}

void
glm_constrained_go_on(glm_sequence *seq)
{
	glm_ids *tokens = &seq->tokens;
	int32_t	 token;

	while ((int) tokens->length < seq->limit &&
		   (token = glm_constrained_forced(seq->constrained)) >= 0)
	{
		glm_constrained_take(seq->constrained, token);
		tokens->data[tokens->length++] = token;
		if (seq->sampler == NULL) /* it will read them when it is opened */
			continue;
		glm_sampler_advance(seq->sampler, token);
		glm_draft_learn(&seq->draft, seq->ngrams, tokens->data, (int) tokens->length);
	}
}

/* ---- Draws ----------------------------------------------------------------------- */

static int32_t
draw_allowed(glm_constrained *c, glm_sampler *sampler, float *logits, uint64_t index)
{
	bool masked = glm_sampler_cuts(sampler);

	if (masked)
		glm_matcher_mask(c->matcher, c->mask);
	for (uint64_t draw = 0; draw < DRAWS_MAX; draw++)
	{
		int32_t token =
			glm_sampler_draw(sampler, logits, index | draw << 32, masked ? c->mask : NULL);

		if (token < 0)
			break;
		if (glm_matcher_allows(c->matcher, token))
			return token;
		if (!masked)
			glm_matcher_mask(c->matcher, c->mask);
		masked = true;
		c->mask[token / 64] &= ~(UINT64_C(1) << token % 64);
	}
	return glm_matcher_way_out(c->matcher);
}

bool
glm_constrained_pick(glm_sequence *seq, float *logits, uint64_t index, glm_picked *picked,
					 glm_error *err)
{
	glm_constrained *c = seq->constrained;
	float			*logprob = glm_tells(seq) ? &picked->logprob : NULL;

	if (!glm_sampler_begin(seq->sampler, logits, logprob != NULL, err))
		return false;
	picked->token = draw_allowed(c, seq->sampler, logits, index);
	glm_sampler_end(seq->sampler, logits, picked->token, logprob);
	glm_constrained_take(c, picked->token);
	return true;
}

bool
glm_constrained_allows(glm_constrained *c, int32_t token)
{
	return glm_matcher_allows(c->matcher, token);
}

/* ---- Drafts ---------------------------------------------------------------------- */

static int32_t
forced_in_draft(void *arg)
{
	return glm_constrained_forced(arg);
}

/* A draft goes on by this token if it may. */
static bool
allows_in_draft(void *arg, int32_t token)
{
	glm_constrained *c = arg;
	int32_t			 forced = glm_constrained_forced(c);

	if (c->now.over || (forced >= 0 ? token != forced : !glm_matcher_allows(c->matcher, token)))
		return false;
	glm_constrained_take(c, token);
	return true;
}

static void
mark(glm_constrained *c)
{
	glm_matcher_mark(c->matcher);
	c->before = c->now;
}

void
glm_constrained_begin_draft(glm_constrained *c, glm_draft_limits *limits)
{
	if (c == NULL)
		return;
	limits->forced = forced_in_draft;
	limits->allows = allows_in_draft;
	limits->arg = c;
	mark(c);
}

void
glm_constrained_end_draft(glm_constrained *c)
{
	if (c == NULL)
		return;
	glm_matcher_back(c->matcher);
	c->now = c->before;
}

/* Nobody asks for a pick where there is no choice. */
static bool
describe_mask(glm_constrained *c, glm_pick_room *room, glm_pick *pick)
{
	uint64_t *mask;

	if (c->now.over || glm_constrained_forced(c) >= 0)
		return true;
	pick->mask = mask = glm_pick_room_take(room, GLM_PICK_SET_BYTES(pick->n_ids));
	if (mask != NULL)
		glm_matcher_mask(c->matcher, mask);
	return mask != NULL;
}

bool
glm_constrained_describe(const glm_sequence *seq, int i, glm_pick_room *room, glm_pick *pick)
{
	glm_constrained *c = seq->constrained;
	bool			 ok;

	if (c == NULL || !glm_sampler_cuts(seq->sampler))
		return true;
	if (i == 0)
		mark(c);
	else
		glm_constrained_take(c, seq->tokens.data[(int) seq->tokens.length + i - 1]);
	ok = describe_mask(c, room, pick);
	if (i == seq->draft.n_tokens)
		glm_constrained_end_draft(c);
	return ok;
}

/* ---- Open and close ---------------------------------------------------------------- */

void
glm_constrained_close(glm_constrained *c)
{
	if (c == NULL)
		return;
	glm_matcher_close(c->matcher);
	glm_constraint_release(c->constraint);
	free(c->mask);
	free(c);
}

static bool
compile(glm_constrained *c, glm_engine *e, const glm_sequence *seq, glm_error *err)
{
	const glm_request		 *req = seq->request;
	const glm_vocabulary	 *vocabulary = glm_served_vocabulary(seq->served, err);
	const glm_constraint_spec spec = {.kind = (glm_constraint_kind) req->constrained,
									  .order = (glm_property_order) req->property_order,
									  .space = (glm_json_space) req->json_space,
									  .text = glm_request_text(req, req->constraint),
									  .length = req->constraint.length};

	if (vocabulary == NULL)
		return false;
	c->mask = calloc((size_t) glm_vocabulary_words(vocabulary), sizeof(*c->mask));
	if (c->mask == NULL || e->models.constraints == NULL)
		return glm_no_memory(err);
	c->constraint = glm_constraints_get(e->models.constraints, &spec, vocabulary, err);
	return c->constraint != NULL;
}

/* ---- The end of a raw prompt --------------------------------------------------------- */

/* Is a token of more than n bytes in the mask? */
static bool
has_longer(const glm_constrained *c, size_t n)
{
	int words = (glm_tokenizer_size(c->model->tokenizer) + 63) / 64;

	for (int i = 0; i < words; i++)
		for (uint64_t word = c->mask[i]; word != 0; word &= word - 1)
		{
			size_t length = 0;

			if (glm_tokenizer_bytes(c->model->tokenizer, i * 64 + __builtin_ctzll(word), &length) !=
					NULL &&
				length > n)
				return true;
		}
	return false;
}

/* Takes the prompt's last token, of whole characters, back if the answer may begin with a longer one. */
static void
take_back(glm_constrained *c, glm_sequence *seq)
{
	glm_ids	   *tokens = &seq->tokens;
	int			room = (int) seq->model->config.context - (int) tokens->length + 1;
	int			most = seq->request->max_tokens < room ? seq->request->max_tokens : room;
	size_t		n = 0;
	const char *bytes = NULL;
	glm_error	ignored;

	if (seq->request->form == GLM_RAW && tokens->length > 0)
		bytes = glm_tokenizer_bytes(seq->model->tokenizer, tokens->data[tokens->length - 1], &n);
	if (bytes == NULL || glm_utf8_check(bytes, n) >= 0)
		return;
	c->matcher = glm_matcher_open(c->constraint, bytes, n, most, &ignored);
	if (c->matcher == NULL)
		return;
	glm_matcher_mask(c->matcher, c->mask);
	if (has_longer(c, n))
	{
		c->lead = bytes;
		c->n_lead = n;
		tokens->length--;
	}
	glm_matcher_close(c->matcher);
	c->matcher = NULL;
}

bool
glm_constrained_open(glm_engine *e, glm_sequence *seq, glm_error *err)
{
	if (seq->request->constrained == GLM_UNCONSTRAINED)
		return true;
	seq->constrained = calloc(1, sizeof(*seq->constrained));
	if (seq->constrained == NULL)
		return glm_no_memory(err);
	seq->constrained->model = seq->model;
	if (!compile(seq->constrained, e, seq, err))
		return false;
	take_back(seq->constrained, seq);
	return true;
}

/* ---- The beginning of an answer ------------------------------------------------------ */

/* Takes what was begun of the answer, which has to be the beginning of one. */
static bool
take_begun(glm_constrained *c, const glm_sequence *seq, glm_error *err)
{
	for (int i = seq->n_prompt - seq->n_begun; i < seq->n_prompt; i++)
	{
		int32_t token = seq->tokens.data[i];

		if (c->now.over || !glm_matcher_allows(c->matcher, token))
			return glm_fail(err, GLM_BAD_ARGUMENT,
							"the last message does not begin an answer that the constraint allows");
		glm_constrained_take(c, token);
	}
	return true;
}

/* Matches the answer from its first byte on, what is put in front of it included. */
static bool
open_matcher(glm_constrained *c, glm_sequence *seq, glm_error *err)
{
	const char *lead = glm_tokenizer_lead(seq->model->tokenizer);
	bool		chat = seq->request->form != GLM_RAW;
	bool		content = chat && seq->request->constrained != GLM_TOOL_CALL;
	bool		metadata = content && seq->model->chat->metadata_line;
	const char *prefix = c->lead;
	size_t		n = c->n_lead;
	char		line[8];

	snprintf(line, sizeof(line), "%s%s%s", metadata ? lead : "", metadata ? "\n" : "",
			 chat ? lead : "");
	if (chat)
	{
		prefix = line;
		n = strlen(line);
	}
	c->matcher =
		glm_matcher_open(c->constraint, prefix, n, seq->limit - seq->n_prompt + seq->n_begun, err);
	if (c->matcher == NULL && seq->limit - seq->n_prompt < seq->request->max_tokens)
		glm_advise(err, GLM_ADVICE_SHORTEN); /* it is the context that has no more room */
	if (c->matcher == NULL)
		return false;
	glm_decoder_exact(seq->decoder, n, content);
	c->now.over = glm_matcher_must_end(c->matcher);
	return take_begun(c, seq, err);
}

bool
glm_constrained_begin(glm_sequence *seq, glm_error *err)
{
	if (seq->constrained == NULL)
		return true;
	if (!open_matcher(seq->constrained, seq, err))
		return false;
	glm_constrained_go_on(seq);
	return true;
}
