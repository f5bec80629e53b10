/*
 * json_answer.h - glm_json and glm_try_json.
 */
#ifndef CHATGLM_JSON_ANSWER_H
#define CHATGLM_JSON_ANSWER_H

#include "ask.h"

extern const ChatglmFunction chatglm_json_function;
extern const ChatglmFunction chatglm_try_json_function;

#endif /* CHATGLM_JSON_ANSWER_H */
