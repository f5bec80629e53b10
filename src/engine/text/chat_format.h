/*
 * chat_format.h - how the models of one kind talk.
 *
 * A glm_chat says all that is particular to a format: which special tokens begin prompts
 * and turns and end answers, how a conversation becomes a prompt, how tools and calls are
 * written, how an answer is shown and taken apart.  Everything else asks it.  Tokens go by
 * their names, as each tokenizer gives them ids of its own.
 *
 * Values are immutable; their functions are pure.
 */
#ifndef GLM_CHAT_FORMAT_H
#define GLM_CHAT_FORMAT_H

#include "engine/text/messages.h"
#include "engine/text/tokenizer.h"

/* A prompt being built; a template puts pieces into it by the functions of prompt.h. */
typedef struct glm_prompt glm_prompt;

struct json_t;

typedef struct glm_chat
{
	glm_chat_format number;

	/* names of special tokens, each list ended by a NULL */
	const char *const *tokens; /* all that the format needs */
	const char *const *prefix; /* before every prompt, a raw continuation's too */
	const char *const *stops;  /* end an answer, beside those that a model's config names */

	/* the template: a turn, and what asks for an answer behind the last one */
	bool (*add_turn)(glm_prompt *prompt, const glm_turn *turn, glm_error *err);
	bool (*add_question)(glm_prompt *prompt, glm_error *err);
	/* said[n]: is ids[i] of a conversation something that a model is asked to say? */
	void (*find_said)(const glm_tokenizer *tok, const int32_t *ids, size_t n, bool *said);

	/* the system turn of a conversation that has tools but no system message */
	const char *system;
	/* Appends tools, an array, to a system turn; false as glm_literal_write. */
	bool (*write_tools)(glm_buf *content, struct json_t *tools);
	/* Fills an assistant's turn with a call; false as glm_literal_write. */
	bool (*write_call)(glm_buf *metadata, glm_buf *content, const char *name,
					   struct json_t *arguments);

	/* answers: is the first line metadata, and which token begins another turn (or NULL)? */
	bool		metadata_line;
	const char *next_turn;
	/* glm_answer_parse_turns() where turns are marked, else glm_answer_parse() */
	char *(*parse)(const char *raw, size_t length, bool marked);
} glm_chat;

/* The format whose tokens a tokenizer has; NULL and *err when there is none. */
extern const glm_chat *glm_chat_choose(const glm_tokenizer *tok, glm_error *err);

/* How many of the last ids of a prompt of this format are an answer that goes on? */
extern size_t glm_chat_begun(const glm_chat *chat, const glm_tokenizer *tok, const int32_t *ids,
							 size_t n);

/* Does this id end an answer? */
extern bool glm_chat_stops(const glm_chat *chat, const glm_tokenizer *tok, int32_t id);

#endif /* GLM_CHAT_FORMAT_H */
