/*
 * args.h - SQL arguments that many functions have in common.
 */
#ifndef CHATGLM_ARGS_H
#define CHATGLM_ARGS_H

#include "call.h"

/*
 * Reads the ten arguments model, system, max_tokens, temperature, top_p,
 * top_k, seed, stop, response_format, options that start at values[0] into
 * *call (resolving the model), checking every range.
 */
#define CHATGLM_N_TAIL 10
extern void chatglm_read_tail(ChatglmCall *call, const NullableDatum *values);

/* Reads argument "options" of a function that has only these keys of it, which end with NULL. */
extern void chatglm_read_some_options(ChatglmCall *call, Jsonb *options, const char *const *keys);
/*
 * Reads one of the options of any request: cache, priority, route_key, timeout_ms, truncate.
 * false: it is none of these.
 */
extern bool chatglm_read_serving_option(ChatglmCall *call, const char *key, JsonbValue *value);

/* Resolves the model argument (NULL: chatglm.model) into *call, or finds the route it is. */
extern void chatglm_read_model(ChatglmCall *call, const NullableDatum *model);

/*
 * Reads (prompt text, ...G), of a function that asks in the chat template, or of one that
 * continues the text as it is.  false: the prompt is NULL, and so is the answer.
 */
extern bool chatglm_read_prompt(ChatglmCall *call, const NullableDatum *args);
extern bool chatglm_read_raw_prompt(ChatglmCall *call, const NullableDatum *args);

#endif /* CHATGLM_ARGS_H */
