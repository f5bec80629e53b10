/*
 * likelihood.h - glm_logprobs and glm_perplexity, for chatglm.c.
 */
#ifndef CHATGLM_LIKELIHOOD_H
#define CHATGLM_LIKELIHOOD_H

#include "ask.h"

extern const ChatglmFunction chatglm_judge_tokens_function;
extern const ChatglmFunction chatglm_try_judge_tokens_function;
extern const ChatglmFunction chatglm_perplexity_function;
extern const ChatglmFunction chatglm_try_perplexity_function;

#endif /* CHATGLM_LIKELIHOOD_H */
