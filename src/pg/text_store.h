/*
 * text_store.h - texts one behind the other, however many.
 */
#ifndef CHATGLM_TEXT_STORE_H
#define CHATGLM_TEXT_STORE_H

#include "chatglm.h"

typedef struct ChatglmTexts ChatglmTexts;

/* In the current context; up to work_mem in memory, the rest in a temporary file. */
extern ChatglmTexts *chatglm_texts_begin(void);

extern void chatglm_texts_add(ChatglmTexts *texts, const text *value);

extern int64 chatglm_texts_count(const ChatglmTexts *texts);

/* The next one, in the current context, from the first one on; NULL behind the last. */
extern char *chatglm_texts_next(ChatglmTexts *texts);

extern void chatglm_texts_end(ChatglmTexts *texts);

#endif /* CHATGLM_TEXT_STORE_H */
