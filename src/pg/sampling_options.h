/*
 * sampling_options.h - options of a call that are about how tokens are drawn.
 */
#ifndef CHATGLM_SAMPLING_OPTIONS_H
#define CHATGLM_SAMPLING_OPTIONS_H

#include "chatglm.h"

#include "call.h"

/* Each reads the option of this key, with a value that is not null, into *call. */
extern void chatglm_read_number_option(ChatglmCall *call, const char *key, JsonbValue *value);
extern void chatglm_read_logit_bias(ChatglmCall *call, const char *key, JsonbValue *value);
extern void chatglm_read_logprobs(ChatglmCall *call, const char *key, JsonbValue *value);
extern void chatglm_read_n(ChatglmCall *call, const char *key, JsonbValue *value);

#endif /* CHATGLM_SAMPLING_OPTIONS_H */
