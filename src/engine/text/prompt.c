/*
 * prompt.c - the ids of a prompt.
 *
 * A prompt begins with the format's prefix, as the published tokenizers put it in front
 * of any text.  A raw continuation is that and its text; of a conversation the format's
 * template makes pieces of ids, turn by turn.  Which turns a request has is messages.c's
 * affair.  A conversation whose last turn is an assistant's content ends there, and the
 * answer goes on from it: its ids are those that the model would have written.
 *
 * No locks: pure functions.
 */
#include "engine/text/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "engine/text/messages.h"
#include "engine/text/truncate.h"

/* The ids [from, to) of a text that may be cut. */
typedef struct piece
{
	size_t from;
	size_t to;
} piece;

struct glm_prompt
{
	const glm_chat		*chat;
	const glm_tokenizer *tok;
	glm_ids				*ids;
	size_t				 most; /* ids, after which it is given up */
	glm_truncate		 truncate;
	size_t				 limit;	 /* most ids, where it is to be cut */
	piece				*pieces; /* in their order; those without ids are left out */
	size_t				 n_pieces;
	size_t				 capacity;
	bool				 is_open; /* the last turn is an answer that can go on */
};

/* ---- Texts that may be cut ------------------------------------------------ */

static bool
note_piece(glm_prompt *p, size_t from, glm_error *err)
{
	if (p->n_pieces == p->capacity)
	{
		size_t capacity = p->capacity ? 2 * p->capacity : 16;
		piece *more = realloc(p->pieces, capacity * sizeof(*more));

		if (more == NULL)
			return glm_no_memory(err);
		p->pieces = more;
		p->capacity = capacity;
	}
	p->pieces[p->n_pieces++] = (piece){from, p->ids->length};
	return true;
}

static size_t
piece_length(const piece *one)
{
	return one->to - one->from;
}

/* Of several as long the first. */
static piece *
longest_piece(const glm_prompt *p)
{
	piece *longest = p->pieces;

	for (size_t i = 1; i < p->n_pieces; i++)
		if (piece_length(&p->pieces[i]) > piece_length(longest))
			longest = &p->pieces[i];
	return longest;
}

/* Takes all ids of a piece away. */
static void
remove_piece(glm_prompt *p, piece *gone)
{
	size_t n = piece_length(gone);
	piece *end = p->pieces + p->n_pieces--;

	memmove(p->ids->data + gone->from, p->ids->data + gone->to,
			(p->ids->length - gone->to) * sizeof(int32_t));
	p->ids->length -= n;
	for (; gone + 1 < end; gone++)
		*gone = (piece){gone[1].from - n, gone[1].to - n};
}

/* Takes away what cannot stay whatever follows, so that a long chat takes little memory. */
static void
remove_hopeless(glm_prompt *p)
{
	while (p->n_pieces > 1 && p->ids->length > p->limit)
	{
		piece *longest = longest_piece(p);

		if (p->ids->length - piece_length(longest) <= p->limit)
			break;
		remove_piece(p, longest);
	}
}

/* Cuts the longest piece; those that would have to go altogether go before. */
static bool
cut(glm_prompt *p, glm_error *err)
{
	while (p->n_pieces > 1 && p->ids->length > p->limit)
	{
		piece *longest = longest_piece(p);

		if (p->ids->length - piece_length(longest) < p->limit &&
			glm_truncate_ids(p->tok, p->truncate, p->limit, p->ids, longest->from, longest->to,
							 err))
			return true;
		remove_piece(p, longest);
	}
	return glm_truncate_ids(p->tok, p->truncate, p->limit, p->ids,
							p->n_pieces ? p->pieces->from : 0, p->n_pieces ? p->pieces->to : 0,
							err);
}

/* ---- What a template puts into a prompt ----------------------------------- */

bool
glm_prompt_add_token(glm_prompt *p, const char *name, glm_error *err)
{
	return glm_ids_add(p->ids, glm_tokenizer_special(p->tok, name), err);
}

bool
glm_prompt_add_text(glm_prompt *p, const char *text, size_t n, glm_error *err)
{
	bool stopped;

	if (!glm_tokenizer_encode_most(p->tok, text, n, p->most, &stopped, p->ids, err))
		return false;
	if (!stopped && p->ids->length <= p->most)
		return true;
	glm_fail(err, GLM_TOO_LONG, "the prompt has more than %zu tokens", p->most);
	glm_hint(err, "Shorten the prompt.");
	return false;
}

bool
glm_prompt_add_user_text(glm_prompt *p, const char *text, size_t n, glm_error *err)
{
	size_t	from = p->ids->length;
	glm_buf joined = {0};
	bool	ok = glm_truncate_text(p->tok, p->truncate, p->limit, &text, &n, &joined, err) &&
			  glm_prompt_add_text(p, text, n, err);

	glm_buf_free(&joined);
	if (!ok || p->truncate == GLM_TRUNCATE_ERROR || p->ids->length == from)
		return ok;
	if (!note_piece(p, from, err))
		return false;
	remove_hopeless(p);
	return true;
}

/* ---- The whole ------------------------------------------------------------- */

bool
glm_prompt_prefix(const glm_chat *chat, const glm_tokenizer *tok, glm_ids *out, glm_error *err)
{
	for (const char *const *name = chat->prefix; *name != NULL; name++)
		if (!glm_ids_add(out, glm_tokenizer_special(tok, *name), err))
			return false;
	return true;
}

size_t
glm_prompt_prefix_length(const glm_chat *chat)
{
	size_t n = 0;

	while (chat->prefix[n] != NULL)
		n++;
	return n;
}

static bool
take_turn(void *arg, const glm_turn *turn, glm_error *err)
{
	glm_prompt *p = arg;

	/* a call ends where it is written, and what is asked for is what comes then */
	p->is_open = turn->role == GLM_ROLE_ASSISTANT && turn->metadata->length == 0;
	return p->chat->add_turn(p, turn, err);
}

/* A raw continuation has no turns that a system prompt could stand in. */
static bool
add_raw(glm_prompt *p, const glm_request *req, glm_error *err)
{
	if (req->system.offset != 0)
		return glm_fail(err, GLM_BAD_ARGUMENT,
						"argument \"system\" does not apply to a raw continuation");
	if (req->tools.offset != 0)
		return glm_fail(err, GLM_BAD_ARGUMENT,
						"argument \"tools\" does not apply to a raw continuation");
	return glm_prompt_add_user_text(p, glm_request_text(req, req->text), req->text.length, err);
}

static bool
build(glm_prompt *p, const glm_request *req, bool over, glm_error *err)
{
	if (!glm_prompt_prefix(p->chat, p->tok, p->ids, err))
		return false;
	if (req->form == GLM_RAW)
		return add_raw(p, req, err);
	return glm_messages_walk(p->chat, req, req->form == GLM_MESSAGES, take_turn, p, err) &&
		   (over || p->is_open || p->chat->add_question(p, err));
}

bool
glm_prompt_build(const glm_chat *chat, const glm_tokenizer *tok, const glm_request *req,
				 glm_ids *out, glm_error *err)
{
	glm_prompt p = {.chat = chat, .tok = tok, .ids = out, .most = SIZE_MAX};

	return build(&p, req, false, err);
}

bool
glm_prompt_build_over(const glm_chat *chat, const glm_tokenizer *tok, const glm_request *req,
					  glm_ids *out, glm_error *err)
{
	glm_prompt p = {.chat = chat, .tok = tok, .ids = out, .most = SIZE_MAX};

	return build(&p, req, true, err);
}

bool
glm_prompt_fit(const glm_chat *chat, const glm_tokenizer *tok, const glm_request *req, int context,
			   size_t most, glm_ids *out, glm_error *err)
{
	glm_prompt p = {.chat = chat,
					.tok = tok,
					.ids = out,
					.truncate = (glm_truncate) req->truncate,
					.limit = glm_truncate_limit(context, req->max_tokens)};
	bool	   ok;

	/* what is cut comes to no more ids than glm_truncate_text() leaves bytes, the rest must fit */
	p.most = p.truncate == GLM_TRUNCATE_ERROR
				 ? most
				 : (2 * glm_tokenizer_longest(tok) + 1) * ((size_t) context + 8);

	ok = build(&p, req, false, err) && cut(&p, err);
	free(p.pieces);
	return ok;
}

/* ---- What continues a prompt --------------------------------------------------- */

bool
glm_prompt_answer(const glm_chat *chat, const glm_tokenizer *tok, const glm_request *req,
				  glm_ids *out, glm_error *err)
{
	if (req->form == GLM_RAW || !chat->metadata_line)
		return true;
	return glm_tokenizer_encode(tok, "\n", 1, out, err);
}

bool
glm_prompt_continuation(const glm_chat *chat, const glm_tokenizer *tok, const glm_request *req,
						const char *text, size_t n, size_t most, glm_ids *out, glm_error *err)
{
	glm_prompt p = {.chat = chat, .tok = tok, .ids = out, .most = most};
	glm_buf	   joined = {0};
	bool	   ok;

	if (req->form != GLM_RAW)
		return glm_prompt_add_text(&p, text, n, err);
	glm_buf_add(&joined, glm_request_text(req, req->text), req->text.length);
	glm_buf_add(&joined, text, n);
	ok = joined.failed ? glm_no_memory(err)
					   : glm_prompt_prefix(chat, tok, out, err) &&
							 glm_prompt_add_text(&p, joined.data, joined.length, err);
	glm_buf_free(&joined);
	return ok;
}
