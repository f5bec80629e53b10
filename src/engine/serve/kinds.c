/*
 * kinds.c - the table of the kinds of requests.
 */
#include "engine/serve/kinds.h"

static const glm_request_kind *const kinds[GLM_N_KIND] = {
	[GLM_GENERATE] = &glm_kind_generate,
	[GLM_LOGITS] = &glm_kind_logits,
	[GLM_SCORE] = &glm_kind_score,
	[GLM_LOGPROBS] = &glm_kind_logprobs,
	[GLM_TOKENIZE] = &glm_kind_tokenize,
	[GLM_DETOKENIZE] = &glm_kind_detokenize,
	[GLM_COUNT_TOKENS] = &glm_kind_count_tokens,
	[GLM_CHAT_TOKENS] = &glm_kind_chat_tokens,
	[GLM_LOAD] = &glm_kind_load,
	[GLM_UNLOAD] = &glm_kind_unload,
	[GLM_QUANTIZE] = &glm_kind_quantize,
	[GLM_EMBED] = &glm_kind_embed,
	[GLM_PASSAGES] = &glm_kind_passages,
};

const char *
glm_kind_name(glm_kind kind)
{
	return kind >= GLM_GENERATE && kind < GLM_N_KIND ? kinds[kind]->name : "unknown";
}

const glm_request_kind *
glm_request_kind_of(const glm_request *req)
{
	return kinds[req->kind];
}
