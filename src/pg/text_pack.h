/*
 * text_pack.h - texts packed into pieces that fit a prompt.
 */
#ifndef CHATGLM_TEXT_PACK_H
#define CHATGLM_TEXT_PACK_H

#include "call.h"
#include "text_store.h"

#include "lib/stringinfo.h"

typedef struct ChatglmPacker ChatglmPacker;

/*
 * In the current context.  A pack has at most so many tokens of this model, but always so
 * many texts; one text that has more by itself is cut into several where a pack may be of
 * one.
 */
extern ChatglmPacker *chatglm_pack_begin(const ChatglmCall *call, ChatglmTexts *texts, int tokens,
										 int at_least);

/* The next pack, blank lines between its texts; false: there is none. */
extern bool chatglm_pack_next(ChatglmPacker *packer, StringInfo pack, int *n);

/* Tokens of a text of this model; *context: how many a prompt and its answer may have. */
extern int chatglm_tokens_of(const ChatglmCall *call, const char *content, int *context);

#endif /* CHATGLM_TEXT_PACK_H */
