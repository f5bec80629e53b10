/*
 * logprobs.h - tokens with their log probabilities, in the words of OpenAI's API.
 */
#ifndef CHATGLM_LOGPROBS_H
#define CHATGLM_LOGPROBS_H

#include "ask.h"

/*
 * Adds what an answer tells of its tokens, if it does: {"content": [...]}, null where the
 * answer is withheld.
 */
extern void	  chatglm_add_logprobs(JsonbParseState **json, const ChatglmAnswer *answer);
/* The same as a value; NULL where it tells nothing. */
extern Jsonb *chatglm_logprobs(const ChatglmAnswer *answer);

/* The likeliest tokens in the place of one of a stream, of what its event tells. */
extern Jsonb *chatglm_likeliest(const char *bytes, Size length);

#endif /* CHATGLM_LOGPROBS_H */
