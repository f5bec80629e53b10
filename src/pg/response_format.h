/*
 * response_format.h - arguments that say what an answer has to be.
 */
#ifndef CHATGLM_RESPONSE_FORMAT_H
#define CHATGLM_RESPONSE_FORMAT_H

#include "call.h"

/*
 * The answer has to be of this kind, which the text (NULL: none; in the database's
 * encoding) says more of.  ERROR 22023 when another argument says what it has to be, or
 * stop strings could cut it; the tail's must have been read.
 */
extern void chatglm_constrain(ChatglmCall *call, glm_constraint_kind kind, const char *argument,
							  const char *text);

extern void chatglm_read_response_format(ChatglmCall *call, Jsonb *format);

/* Options; the key is theirs. */
extern void chatglm_read_choices(ChatglmCall *call, const char *key, JsonbValue *value);
extern void chatglm_read_regex(ChatglmCall *call, const char *key, JsonbValue *value);

#endif /* CHATGLM_RESPONSE_FORMAT_H */
