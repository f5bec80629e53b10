/*
 * filter.h - glm_filter, glm_score and what is made of them, for chatglm.c.
 */
#ifndef CHATGLM_FILTER_H
#define CHATGLM_FILTER_H

#include "ask.h"

extern const ChatglmFunction chatglm_filter_function;
extern const ChatglmFunction chatglm_try_filter_function;
extern const ChatglmFunction chatglm_filter_prob_function;
extern const ChatglmFunction chatglm_try_filter_prob_function;
extern const ChatglmFunction chatglm_score_function;
extern const ChatglmFunction chatglm_try_score_function;
extern const ChatglmFunction chatglm_has_label_function;
extern const ChatglmFunction chatglm_try_has_label_function;

#endif /* CHATGLM_FILTER_H */
