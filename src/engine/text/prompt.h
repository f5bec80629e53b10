/*
 * prompt.h - the ids of a request's prompt.
 */
#ifndef GLM_PROMPT_H
#define GLM_PROMPT_H

#include "engine/text/chat_format.h"

/* The ids of a request's prompt, by its form and the model's chat format. */
extern bool glm_prompt_build(const glm_chat *chat, const glm_tokenizer *tok, const glm_request *req,
							 glm_ids *out, glm_error *err);
/* The same but for what asks for an answer: a conversation that is over. */
extern bool glm_prompt_build_over(const glm_chat *chat, const glm_tokenizer *tok,
								  const glm_request *req, glm_ids *out, glm_error *err);
/*
 * The same as glm_prompt_build for a request that is to be computed: cut as it says where
 * it does not fit the context (truncate.h), or given up with GLM_TOO_LONG once it has more
 * than `most` ids, which is soon told of a text of megabytes.
 */
extern bool glm_prompt_fit(const glm_chat *chat, const glm_tokenizer *tok, const glm_request *req,
						   int context, size_t most, glm_ids *out, glm_error *err);

/* Appends what stands between a prompt and the content of its answer. */
extern bool glm_prompt_answer(const glm_chat *chat, const glm_tokenizer *tok,
							  const glm_request *req, glm_ids *out, glm_error *err);
/*
 * Appends the ids of a prompt's continuation: of a conversation those of the text alone; of
 * a raw prompt those of prompt and text encoded together, as pieces may span both.
 */
extern bool glm_prompt_continuation(const glm_chat *chat, const glm_tokenizer *tok,
									const glm_request *req, const char *text, size_t n, size_t most,
									glm_ids *out, glm_error *err);

/* Appends what every prompt begins with, and says how many ids that are. */
extern bool	  glm_prompt_prefix(const glm_chat *chat, const glm_tokenizer *tok, glm_ids *out,
								glm_error *err);
extern size_t glm_prompt_prefix_length(const glm_chat *chat);

/* ---- What a template puts into a prompt ----------------------------------- */

extern bool glm_prompt_add_token(glm_prompt *p, const char *name, glm_error *err);
extern bool glm_prompt_add_text(glm_prompt *p, const char *text, size_t n, glm_error *err);
/* A text that may be cut where the prompt does not fit. */
extern bool glm_prompt_add_user_text(glm_prompt *p, const char *text, size_t n, glm_error *err);

#endif /* GLM_PROMPT_H */
