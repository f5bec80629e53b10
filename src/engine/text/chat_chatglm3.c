/*
 * chat_chatglm3.c - ChatGLM3's chat format: tokens, template, tools and calls.
 *
 *     [gMASK] sop
 *     <|role|> encode(metadata "\n") encode(content)     for each turn
 *     <|assistant|>
 *
 * The two texts of a turn are encoded each on its own, and the role is an id that no
 * text can encode to.
 *
 * Tools stand in the system turn behind its content, as json.dumps() writes them.  A call
 * is an assistant's turn: the function's name as metadata, and as content a fenced piece
 * of Python, tool_call(city="北京"), or for `interpreter` its code.  How an answer of
 * that form is read is answer_chatglm3.c's affair.
 *
 * No locks: pure functions.
 */
#include "engine/text/chat_chatglm3.h"

#include <string.h>

#include "engine/text/literal.h"
#include "engine/text/prompt.h"

#define SYSTEM "<|system|>"
#define USER "<|user|>"
#define ASSISTANT "<|assistant|>"
#define OBSERVATION "<|observation|>"

static const char *const roles[GLM_N_ROLES] = {[GLM_ROLE_SYSTEM] = SYSTEM,
											   [GLM_ROLE_USER] = USER,
											   [GLM_ROLE_ASSISTANT] = ASSISTANT,
											   [GLM_ROLE_OBSERVATION] = OBSERVATION};

/* ---- The template -------------------------------------------------------- */

static bool
add_turn(glm_prompt *p, const glm_turn *turn, glm_error *err)
{
	bool	said = turn->role == GLM_ROLE_USER || turn->role == GLM_ROLE_OBSERVATION;
	glm_buf head = {0};
	bool	ok;

	glm_buf_add(&head, turn->metadata->data, turn->metadata->length);
	glm_buf_add(&head, "\n", 1);
	ok = head.failed ? glm_no_memory(err)
					 : glm_prompt_add_token(p, roles[turn->role], err) &&
						   glm_prompt_add_text(p, head.data, head.length, err) &&
						   (said ? glm_prompt_add_user_text : glm_prompt_add_text)(
							   p, turn->content->data, turn->content->length, err);
	glm_buf_free(&head);
	return ok;
}

static bool
add_question(glm_prompt *p, glm_error *err)
{
	return glm_prompt_add_token(p, ASSISTANT, err);
}

/* What follows <|assistant|>, up to and including the next role, which ends the turn. */
static void
find_said(const glm_tokenizer *tok, const int32_t *ids, size_t n, bool *said)
{
	bool answer = false;

	for (size_t i = 0; i < n; i++)
	{
		const char *name = glm_tokenizer_name(tok, ids[i]);

		said[i] = answer;
		for (int role = 0; name != NULL && role < GLM_N_ROLES; role++)
			if (strcmp(name, roles[role]) == 0)
				answer = role == GLM_ROLE_ASSISTANT;
	}
}

/* ---- Tools and calls ------------------------------------------------------- */

static bool
write_tools(glm_buf *content, json_t *tools)
{
	glm_buf_add(content, "\n", 1);
	return glm_literal_write(content, tools, GLM_STYLE_INDENT);
}

/* tool_call(city="北京"); what is no keyword goes the long way round. */
static bool
write_arguments(glm_buf *out, json_t *arguments)
{
	bool		keywords = true;
	bool		ok = true;
	const char *key;
	json_t	   *value;
	size_t		i = 0;

	json_object_foreach(arguments, key, value)
		keywords = keywords && glm_literal_is_keyword(key, strlen(key));
	glm_buf_puts(out, keywords ? "tool_call(" : "tool_call(**");
	if (!keywords)
		ok = glm_literal_write(out, arguments, GLM_STYLE_PYTHON);
	else
		json_object_foreach(arguments, key, value)
		{
			glm_buf_puts(out, i++ > 0 ? ", " : "");
			glm_buf_puts(out, key);
			glm_buf_puts(out, "=");
			ok = ok && glm_literal_write(out, value, GLM_STYLE_PYTHON);
		}
	glm_buf_puts(out, ")");
	return ok;
}

static bool
write_call(glm_buf *metadata, glm_buf *content, const char *name, json_t *arguments)
{
	const char *code = glm_json_text(json_object_get(arguments, "code"));
	bool		ok = true;

	glm_buf_puts(metadata, name);
	glm_buf_puts(content, "```python\n");
	if (strcmp(name, GLM_INTERPRETER) == 0 && code != NULL && json_object_size(arguments) == 1)
		glm_buf_puts(content, code);
	else
		ok = write_arguments(content, arguments);
	glm_buf_puts(content, "\n```");
	return ok;
}

/* ---- The format -------------------------------------------------------------- */

static const char *const tokens[] = {"[gMASK]", "sop", SYSTEM, USER, ASSISTANT, OBSERVATION, NULL};
static const char *const prefix[] = {"[gMASK]", "sop", NULL};
static const char *const stops[] = {USER, OBSERVATION, NULL};

const glm_chat glm_chat_chatglm3 = {
	.number = GLM_CHAT_CHATGLM3,
	.tokens = tokens,
	.prefix = prefix,
	.stops = stops,
	.add_turn = add_turn,
	.add_question = add_question,
	.find_said = find_said,
	.system = "Answer the following questions as best as you can. You have access to the "
			  "following tools:",
	.write_tools = write_tools,
	.write_call = write_call,
	.metadata_line = true,
	.next_turn = ASSISTANT,
	.parse = glm_chatglm3_parse,
};
