/*
 * logprobs.c - tokens with their log probabilities, in the words of OpenAI's API:
 *
 *	{"token": text, "token_id": number, "logprob": number, "bytes": [...] or null,
 *	 "top_logprobs": [{the same without top_logprobs}, ...]}
 *
 * A token need not be whole characters, or ones that the database's encoding has: its text
 * is then shown as well as may be, and its bytes, of UTF-8, say what it is.  One that adds no
 * text has a name, and no bytes.
 */
#include "chatglm.h"

#include "common/shortest_dec.h"

#include "encoding.h"
#include "jsonb_build.h"
#include "logprobs.h"

/* What the worker told, as it is read. */
typedef struct Told
{
	const char *at;
	const char *end;
} Told;

/* Takes the next token; false at the end. */
static bool
next_told(Told *told, glm_told *token, const char **text)
{
	if (glm_told_next(&told->at, told->end, token, text))
		return true;
	if (told->at != told->end)
		elog(ERROR, "malformed log probabilities from the chatglm worker");
	return false;
}

static void
add_bytes(JsonbParseState **json, const glm_told *token, const char *text)
{
	if (token->named)
	{
		chatglm_json_null(json, "bytes");
		return;
	}
	chatglm_json_array(json, "bytes");
	for (int i = 0; i < token->length; i++)
		chatglm_json_count(json, NULL, (unsigned char) text[i]);
	chatglm_json_end_array(json);
}

/* The members of one token. */
static void
add_token(JsonbParseState **json, const glm_told *token, const char *text)
{
	char digits[FLOAT_SHORTEST_DECIMAL_LEN];

	float_to_shortest_decimal_buf(token->logprob, digits);
	chatglm_json_string(json, "token", chatglm_any_to_server_lossy(text, token->length));
	chatglm_json_count(json, "token_id", token->id);
	chatglm_json_number(json, "logprob", pstrdup(digits));
	add_bytes(json, token, text);
}

/* At most n of the tokens that come next, each an element. */
static void
add_likeliest(JsonbParseState **json, Told *told, int n)
{
	glm_told	token;
	const char *text;

	for (int i = 0; i < n && next_told(told, &token, &text); i++)
	{
		chatglm_json_object(json, NULL);
		add_token(json, &token, text);
		chatglm_json_end_object(json);
	}
}

/* All tokens of an answer. */
static void
add_content(JsonbParseState **json, const StringInfoData *bytes)
{
	Told		told = {bytes->data, bytes->data + bytes->len};
	glm_told	token;
	const char *text;

	chatglm_json_array(json, "content");
	while (next_told(&told, &token, &text))
	{
		CHECK_FOR_INTERRUPTS();
		chatglm_json_object(json, NULL);
		add_token(json, &token, text);
		chatglm_json_array(json, "top_logprobs");
		add_likeliest(json, &told, token.n_top);
		chatglm_json_end_array(json);
		chatglm_json_end_object(json);
	}
	chatglm_json_end_array(json);
}

void
chatglm_add_logprobs(JsonbParseState **json, const ChatglmAnswer *answer)
{
	if (answer->told.len == 0)
		return;
	if (answer->withheld)
	{
		chatglm_json_null(json, "logprobs");
		return;
	}
	chatglm_json_object(json, "logprobs");
	add_content(json, &answer->told);
	chatglm_json_end_object(json);
}

Jsonb *
chatglm_logprobs(const ChatglmAnswer *answer)
{
	JsonbParseState *json = NULL;

	if (answer->told.len == 0 || answer->withheld)
		return NULL;
	chatglm_json_object(&json, NULL);
	add_content(&json, &answer->told);
	return chatglm_json_finish(&json);
}

Jsonb *
chatglm_likeliest(const char *bytes, Size length)
{
	JsonbParseState *json = NULL;
	Told			 told = {bytes, bytes + length};

	chatglm_json_array(&json, NULL);
	add_likeliest(&json, &told, GLM_LOGPROBS_MAX);
	return chatglm_json_finish_array(&json);
}
