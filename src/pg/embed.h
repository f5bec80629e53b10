/*
 * embed.h - vectors of texts.
 */
#ifndef CHATGLM_EMBED_H
#define CHATGLM_EMBED_H

#include "ask.h"

extern const ChatglmFunction chatglm_embed_function;
extern const ChatglmFunction chatglm_try_embed_function;

/* Positions of glm_embed's arguments. */
enum
{
	CHATGLM_EMBED_CONTENT,
	CHATGLM_EMBED_MODEL,
	CHATGLM_EMBED_POOLING,
	CHATGLM_EMBED_NORMALIZE,
	CHATGLM_EMBED_OPTIONS,
	CHATGLM_EMBED_N_ARGS
};

#endif /* CHATGLM_EMBED_H */
