/*
 * prompt.h - the ids of a request's prompt.
 */
#ifndef GLM_PROMPT_H
#define GLM_PROMPT_H

#include "engine/text/tokenizer.h"

/* The ids of a request's prompt, by its form (see GLM.md for the template). */
extern bool glm_prompt_build(const glm_tokenizer *tok, const glm_request *req, glm_ids *out,
							 glm_error *err);
/*
 * The same for a request that is to be computed: cut as it says where it does not fit the
 * context (truncate.h), or given up with GLM_TOO_LONG once it has more than `most` ids,
 * which is soon told of a text of megabytes.
 */
extern bool glm_prompt_fit(const glm_tokenizer *tok, const glm_request *req, int context,
						   size_t most, glm_ids *out, glm_error *err);

#endif /* GLM_PROMPT_H */
