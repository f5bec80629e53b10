/*
 * json_answer.h - glm_json and glm_try_json.
 */
#ifndef CHATGLM_JSON_ANSWER_H
#define CHATGLM_JSON_ANSWER_H

#include "ask.h"

extern const ChatglmFunction chatglm_json_function;
extern const ChatglmFunction chatglm_try_json_function;

/* Reads an argument "schema", which the answer has to fit, and returns its text. */
extern char *chatglm_read_schema(ChatglmCall *call, const NullableDatum *schema);

/* The jsonb of an answer that is constrained; one that was cut is an ERROR. */
extern Datum chatglm_json_answer(const ChatglmAnswer *answer, Oid type);

#endif /* CHATGLM_JSON_ANSWER_H */
