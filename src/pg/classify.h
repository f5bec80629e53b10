/*
 * classify.h - glm_classify and the like, for chatglm.c.
 */
#ifndef CHATGLM_CLASSIFY_H
#define CHATGLM_CLASSIFY_H

#include "ask.h"

extern const ChatglmFunction chatglm_classify_function;
extern const ChatglmFunction chatglm_try_classify_function;
extern const ChatglmFunction chatglm_classify_scores_function;
extern const ChatglmFunction chatglm_try_classify_scores_function;
extern const ChatglmFunction chatglm_sentiment_function;
extern const ChatglmFunction chatglm_try_sentiment_function;

#endif /* CHATGLM_CLASSIFY_H */
