/*
 * prompt.c - the ids of a prompt.
 *
 * ChatGLM3's template:
 *
 *     [gMASK] sop
 *     <|role|> encode(metadata "\n") encode(content)     for each turn
 *     <|assistant|>
 *
 * The two texts of a turn are encoded each on its own, and the role is an id
 * that no text can encode to.  A raw continuation has the first two ids and
 * its text, as the published tokenizer puts them in front of any text.  Which
 * turns a request has is messages.c's affair.
 *
 * No locks: pure functions.
 */
#include "internal.h"

#include "messages.h"
#include "truncate.h"

typedef struct prompt
{
	const glm_tokenizer *tok;
	glm_ids    *ids;
	size_t		most;			/* ids, after which it is given up */
	glm_truncate truncate;
	size_t		limit;			/* most ids, where it is to be cut */
	size_t		from;			/* ids[from, to) may be cut: the longest text so far */
	size_t		to;
} prompt;

static bool
add_special(prompt *p, glm_special which, glm_error *err)
{
	return glm_ids_add(p->ids, glm_tokenizer_special(p->tok, which), err);
}

static bool
add_text(prompt *p, const char *text, size_t n, glm_error *err)
{
	bool		stopped;

	if (!glm_tokenizer_encode_most(p->tok, text, n, p->most, &stopped, p->ids, err))
		return false;
	if (!stopped && p->ids->length <= p->most)
		return true;
	glm_fail(err, GLM_TOO_LONG, "the prompt has more than %zu tokens", p->most);
	glm_hint(err, "Shorten the prompt.");
	return false;
}

/* The same for a text that may be cut. */
static bool
add_user_text(prompt *p, const char *text, size_t n, glm_error *err)
{
	size_t		from = p->ids->length;
	glm_buf		joined = {0};
	bool		ok = glm_truncate_text(p->tok, p->truncate, p->limit, &text, &n, &joined, err) &&
		add_text(p, text, n, err);

	glm_buf_free(&joined);
	if (ok && p->ids->length - from > p->to - p->from)
	{
		p->from = from;
		p->to = p->ids->length;
	}
	return ok;
}

static bool
add_turn(void *arg, const glm_turn *turn, glm_error *err)
{
	prompt	   *p = arg;
	bool		said = turn->role == GLM_SP_USER || turn->role == GLM_SP_OBSERVATION;
	glm_buf		head = {0};
	bool		ok;

	glm_buf_add(&head, turn->metadata->data, turn->metadata->length);
	glm_buf_add(&head, "\n", 1);
	ok = head.failed ? glm_no_memory(err) :
		add_special(p, turn->role, err) &&
		add_text(p, head.data, head.length, err) &&
		(said ? add_user_text : add_text) (p, turn->content->data, turn->content->length, err);
	glm_buf_free(&head);
	return ok;
}

/* A raw continuation has no turns that a system prompt could stand in. */
static bool
add_raw(prompt *p, const glm_request *req, glm_error *err)
{
	if (req->system.offset != 0)
		return glm_fail(err, GLM_BAD_ARGUMENT,
						"argument \"system\" does not apply to a raw continuation");
	if (req->tools.offset != 0)
		return glm_fail(err, GLM_BAD_ARGUMENT,
						"argument \"tools\" does not apply to a raw continuation");
	return add_user_text(p, glm_request_text(req, req->text), req->text.length, err);
}

static bool
build(prompt *p, const glm_request *req, glm_error *err)
{
	bool		is_json = req->form == GLM_MESSAGES || req->kind == GLM_CHAT_TOKENS;

	if (!add_special(p, GLM_SP_GMASK, err) || !add_special(p, GLM_SP_SOP, err))
		return false;
	if (req->form == GLM_RAW && !is_json)
		return add_raw(p, req, err);
	return glm_messages_walk(req, is_json, add_turn, p, err) &&
		add_special(p, GLM_SP_ASSISTANT, err);
}

bool
glm_prompt_build(const glm_tokenizer *tok, const glm_request *req, glm_ids *out, glm_error *err)
{
	prompt		p = {.tok = tok, .ids = out, .most = SIZE_MAX};

	return build(&p, req, err);
}

bool
glm_prompt_fit(const glm_tokenizer *tok, const glm_request *req, int context, size_t most,
			   glm_ids *out, glm_error *err)
{
	prompt		p = {.tok = tok, .ids = out, .truncate = (glm_truncate) req->truncate,
					 .limit = glm_truncate_limit(context, req->max_tokens)};

	/* what is cut comes to no more ids than bytes that glm_truncate_text() leaves, the rest must fit */
	p.most = p.truncate == GLM_TRUNCATE_ERROR ? most :
		(2 * glm_tokenizer_longest(tok) + 1) * ((size_t) context + 8);

	return build(&p, req, err) &&
		glm_truncate_ids(tok, p.truncate, p.limit, out, p.from, p.to, err);
}
