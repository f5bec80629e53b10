/*
 * sqlfuncs.h - the functions over plain texts and token ids.
 */
#ifndef CHATGLM_SQLFUNCS_H
#define CHATGLM_SQLFUNCS_H

#include "ask.h"

extern const ChatglmFunction chatglm_generate_function;
extern const ChatglmFunction chatglm_complete_function;
extern const ChatglmFunction chatglm_tokenize_function;
extern const ChatglmFunction chatglm_detokenize_function;
extern const ChatglmFunction chatglm_count_tokens_function;
extern const ChatglmFunction chatglm_chunk_function;
extern const ChatglmFunction chatglm_try_chunk_function;
extern const ChatglmFunction chatglm_logits_function;

#endif /* CHATGLM_SQLFUNCS_H */
