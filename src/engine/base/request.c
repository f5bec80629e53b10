/*
 * request.c - is a block of bytes a request?
 *
 * A request travels from a backend to the worker through shared memory, and the worker
 * checks its own copy, which nobody else can change.  After the check every span lies
 * inside the block and ends in a NUL, texts are UTF-8 without NULs, enums and numbers
 * are in range.  What depends on the model (token ids, the prompt's length) is checked
 * where the model is known.
 *
 * The check has two parts: the frame, which takes no time, and the texts, which can have
 * megabytes and are read with pauses.  No locks: pure functions, callable from any thread.
 */
#include "engine/base/base.h"

#include <math.h>
#include <stdalign.h>
#include <string.h>

#define STOP_STRINGS_MAX 64
#define STOP_LENGTH_MAX 1024 /* a decoder holds back as much, see decoder.c */

/* ---- Spans ------------------------------------------------------------- */

const char *
glm_request_text(const glm_request *req, glm_span span)
{
	return span.offset != 0 ? (const char *) req + span.offset : NULL;
}

const int32_t *
glm_request_tokens(const glm_request *req, size_t *n)
{
	*n = req->tokens.length / sizeof(int32_t);
	return (const int32_t *) glm_request_text(req, req->tokens);
}

const glm_bias *
glm_request_bias(const glm_request *req, size_t *n)
{
	*n = req->bias.length / sizeof(glm_bias);
	return (const glm_bias *) (const void *) glm_request_text(req, req->bias);
}

/* An absent span is all zero; a present one lies behind the header. */
static bool
check_span(const glm_request *req, glm_span span, const char *name, glm_error *err)
{
	if (span.offset == 0 && span.length == 0)
		return true;
	if (span.offset < sizeof(glm_request) || span.offset >= req->size ||
		span.length >= req->size - span.offset ||
		((const char *) req)[(size_t) span.offset + span.length] != '\0')
		return glm_fail(err, GLM_INTERNAL, "bad request: %s lies outside of it", name);
	return true;
}

static bool
check_text(const glm_request *req, glm_span span, const char *name, glm_error *err)
{
	const char *text = glm_request_text(req, span);
	ptrdiff_t	bad;

	if (!check_span(req, span, name, err))
		return false;
	if (text == NULL)
		return true;
	if (!glm_utf8_check_long(text, span.length, &bad, err))
		return false;
	if (bad >= 0)
		return glm_fail(err, GLM_BAD_TEXT, "argument \"%s\" is not valid UTF-8 at byte %td", name,
						bad);
	if (strlen(text) != span.length)
		return glm_fail(err, GLM_BAD_TEXT, "argument \"%s\" holds a NUL at byte %zu", name,
						strlen(text));
	return true;
}

static bool
check_stop(const glm_request *req, glm_error *err)
{
	const char *stop = glm_request_text(req, req->stop);
	uint32_t	length = req->stop.length;
	int			count = 0;

	if (!check_span(req, req->stop, "stop", err))
		return false;
	if (length > 0 && stop[length - 1] != '\0')
		return glm_fail(err, GLM_INTERNAL, "bad request: a stop string has no end");
	for (uint32_t at = 0; at < length; count++)
	{
		size_t n = strlen(stop + at);

		if (n == 0 || n > STOP_LENGTH_MAX || count == STOP_STRINGS_MAX)
			return glm_fail(err, GLM_BAD_ARGUMENT,
							"argument \"stop\" must be at most %d strings of 1 to %d bytes",
							STOP_STRINGS_MAX, STOP_LENGTH_MAX);
		if (glm_utf8_check(stop + at, n) >= 0)
			return glm_fail(err, GLM_BAD_TEXT, "argument \"stop\" is not valid UTF-8");
		at += n + 1;
	}
	return true;
}

static bool
check_tokens(const glm_request *req, glm_error *err)
{
	if (!check_span(req, req->tokens, "tokens", err))
		return false;
	if (req->tokens.offset % alignof(int32_t) != 0 || req->tokens.length % sizeof(int32_t) != 0)
		return glm_fail(err, GLM_INTERNAL, "bad request: tokens are not aligned");
	return true;
}

static bool
check_bias(const glm_request *req, glm_error *err)
{
	const glm_bias *bias;
	size_t			n;

	if (!check_span(req, req->bias, "logit_bias", err))
		return false;
	if (req->bias.offset % alignof(glm_bias) != 0 || req->bias.length % sizeof(glm_bias) != 0)
		return glm_fail(err, GLM_INTERNAL, "bad request: biases are not aligned");
	bias = glm_request_bias(req, &n);
	if (n > GLM_BIAS_MAX)
		return glm_fail(err, GLM_BAD_ARGUMENT,
						"argument \"logit_bias\" must have at most %d tokens", GLM_BIAS_MAX);
	for (size_t i = 0; i < n; i++)
		if (!(bias[i].bias >= GLM_BIAS_BAN && bias[i].bias <= -GLM_BIAS_BAN))
			return glm_fail(err, GLM_BAD_ARGUMENT,
							"argument \"logit_bias\" must have numbers from %d to %d", GLM_BIAS_BAN,
							-GLM_BIAS_BAN);
	return true;
}

/* ---- What each kind needs ---------------------------------------------- */

/* Of the fields of a request: what must be there, and which of its numbers are looked at. */
typedef struct glm_fields
{
	bool path;
	bool target;
	bool text;
	bool tokens; /* at least one */
	bool continuation;
	bool sampling;
	bool passages;
} glm_fields;

static const glm_fields needed[GLM_N_KIND] = {
	[GLM_GENERATE] = {.path = true, .text = true, .sampling = true},
	[GLM_LOGITS] = {.path = true, .tokens = true},
	[GLM_SCORE] = {.path = true, .text = true, .continuation = true},
	[GLM_LOGPROBS] = {.path = true, .text = true, .continuation = true},
	[GLM_TOKENIZE] = {.path = true, .text = true},
	[GLM_DETOKENIZE] = {.path = true},
	[GLM_COUNT_TOKENS] = {.path = true, .text = true},
	[GLM_CHAT_TOKENS] = {.path = true, .text = true},
	[GLM_LOAD] = {.path = true},
	[GLM_UNLOAD] = {0},
	[GLM_QUANTIZE] = {.path = true, .target = true},
	[GLM_EMBED] = {.path = true, .text = true},
	[GLM_PASSAGES] = {.path = true, .text = true, .passages = true},
};

static bool
check_needed(const glm_request *req, glm_error *err)
{
	const glm_fields *need = &needed[req->kind];

	if (req->model.length == 0)
		return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"model\" is missing");
	if (req->path.length == 0 && need->path)
		return glm_fail(err, GLM_BAD_ARGUMENT, "model \"%s\" has no path",
						glm_request_text(req, req->model));
	if (req->target.length == 0 && need->target)
		return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"target\" is missing");
	if (req->text.offset == 0 && need->text)
		return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"text\" is missing");
	if (req->continuation.offset == 0 && need->continuation)
		return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"continuation\" is missing");
	if (req->tokens.length == 0 && need->tokens)
		return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"tokens\" must not be empty");
	return true;
}

static bool
out_of_range(const char *name, const char *range, glm_error *err)
{
	return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"%s\" must be %s", name, range);
}

static bool
check_penalty(double penalty, const char *name, glm_error *err)
{
	return (penalty >= -GLM_PENALTY_MAX && penalty <= GLM_PENALTY_MAX) ||
		   out_of_range(name, "at least -2 and at most 2", err);
}

/* Written so that a NaN is out of every range. */
static bool
check_sampling(const glm_request *req, glm_error *err)
{
	if (req->max_tokens < 1)
		return out_of_range("max_tokens", "at least 1", err);
	if (req->top_k < 0)
		return out_of_range("top_k", "0 (off) or more", err);
	if (!(req->temperature >= 0) || !isfinite(req->temperature))
		return out_of_range("temperature", "a finite number not below 0", err);
	if (!(req->top_p > 0 && req->top_p <= 1))
		return out_of_range("top_p", "above 0 and at most 1", err);
	if (!(req->min_p >= 0 && req->min_p <= 1))
		return out_of_range("min_p", "at least 0 and at most 1", err);
	if (!(req->repetition_penalty > 0) || !isfinite(req->repetition_penalty))
		return out_of_range("repetition_penalty", "a finite number above 0", err);
	return check_penalty(req->frequency_penalty, "frequency_penalty", err) &&
		   check_penalty(req->presence_penalty, "presence_penalty", err);
}

static bool
check_passages(const glm_request *req, glm_error *err)
{
	if (req->max_tokens < 1)
		return out_of_range("tokens", "at least 1", err);
	if (req->overlap < 0 || req->overlap >= req->max_tokens)
		return out_of_range("overlap", "0 or more, and less than tokens", err);
	return true;
}

/* Of what an answer has to be: all but the bytes of its text. */
static bool
check_constraint(const glm_request *req, glm_error *err)
{
	if (!check_span(req, req->constraint, "constraint", err))
		return false;
	if (req->constrained == GLM_UNCONSTRAINED)
		return true;
	if (req->kind != GLM_GENERATE)
		return glm_fail(err, GLM_INTERNAL, "bad request: only what is generated is constrained");
	if (req->constraint.offset == 0 && req->constrained != GLM_JSON_OBJECT)
		return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"constraint\" is missing");
	/* it would cut a value in two */
	if (req->stop.length > 0)
		return glm_fail(err, GLM_BAD_ARGUMENT,
						"argument \"stop\" cannot be combined with a constrained answer");
	return true;
}

/* ---- Entry ------------------------------------------------------------- */

static bool
check_header(const glm_request *req, size_t size, glm_error *err)
{
	if (req->size != size)
		return glm_fail(err, GLM_INTERNAL, "bad request: %zu bytes say they are %u", size,
						req->size);
	if (req->kind < GLM_GENERATE || req->kind >= GLM_N_KIND)
		return glm_fail(err, GLM_INTERNAL, "bad request: unknown kind %d", req->kind);
	if (req->form > GLM_MESSAGES)
		return glm_fail(err, GLM_INTERNAL, "bad request: unknown form %d", req->form);
	if (req->stream > 1 || req->add_special > 1 || req->batch > 1 || req->turns > 1 ||
		req->normalize > 1)
		return glm_fail(err, GLM_INTERNAL, "bad request: a flag is neither 0 nor 1");
	if (req->constrained >= GLM_N_CONSTRAINTS || req->property_order > GLM_ORDER_ANY ||
		req->json_space > GLM_SPACE_ANY)
		return glm_fail(err, GLM_INTERNAL, "bad request: unknown constraint %d, %d, %d",
						req->constrained, req->property_order, req->json_space);
	if (req->logprobs > 1 + GLM_LOGPROBS_MAX)
		return glm_fail(err, GLM_INTERNAL, "bad request: %d likeliest tokens", req->logprobs - 1);
	if (req->truncate > GLM_TRUNCATE_MIDDLE)
		return glm_fail(err, GLM_INTERNAL, "bad request: unknown truncation %d", req->truncate);
	if (req->pooling > GLM_POOL_LAST)
		return glm_fail(err, GLM_INTERNAL, "bad request: unknown pooling %d", req->pooling);
	if (req->timeout_ms < 0)
		return out_of_range("timeout_ms", "0 (none) or more", err);
	if (req->top_logprobs > GLM_TOP_LOGPROBS)
		return out_of_range("top_logprobs", "between 0 and 20", err);
	return true;
}

bool
glm_request_check_frame(const void *block, size_t size, glm_error *err)
{
	const glm_request *req = block;

	if (block == NULL || (uintptr_t) block % alignof(glm_request) != 0)
		return glm_fail(err, GLM_INTERNAL, "bad request: block is not aligned");
	if (size < sizeof(glm_request) || size > GLM_REQUEST_MAX)
		return glm_fail(err, GLM_INTERNAL, "bad request: %zu bytes", size);
	return check_header(req, size, err) && check_text(req, req->model, "model", err) &&
		   check_text(req, req->path, "path", err) &&
		   check_text(req, req->options, "model_options", err) &&
		   check_text(req, req->target, "target", err) &&
		   check_text(req, req->identity, "identity", err) &&
		   check_text(req, req->label, "label", err) && check_span(req, req->text, "text", err) &&
		   check_span(req, req->system, "system", err) &&
		   check_span(req, req->tools, "tools", err) &&
		   check_span(req, req->continuation, "continuation", err) && check_stop(req, err) &&
		   check_tokens(req, err) && check_bias(req, err) && check_needed(req, err) &&
		   check_constraint(req, err) &&
		   (!needed[req->kind].passages || check_passages(req, err)) &&
		   (!needed[req->kind].sampling || check_sampling(req, err));
}

bool
glm_request_check_texts(const glm_request *req, glm_error *err)
{
	return check_text(req, req->text, "text", err) && check_text(req, req->system, "system", err) &&
		   check_text(req, req->tools, "tools", err) &&
		   check_text(req, req->constraint, "constraint", err) &&
		   check_text(req, req->continuation, "continuation", err);
}

bool
glm_request_check(const void *block, size_t size, glm_error *err)
{
	return glm_request_check_frame(block, size, err) && glm_request_check_texts(block, err);
}
