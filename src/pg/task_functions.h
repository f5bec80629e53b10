/*
 * task_functions.h - glm_extract, glm_translate and glm_summarize.
 */
#ifndef CHATGLM_TASK_FUNCTIONS_H
#define CHATGLM_TASK_FUNCTIONS_H

#include "ask.h"

extern const ChatglmFunction chatglm_extract_function;
extern const ChatglmFunction chatglm_try_extract_function;
extern const ChatglmFunction chatglm_translate_function;
extern const ChatglmFunction chatglm_try_translate_function;
extern const ChatglmFunction chatglm_summarize_function;
extern const ChatglmFunction chatglm_try_summarize_function;

#endif /* CHATGLM_TASK_FUNCTIONS_H */
