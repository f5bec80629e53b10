/*
 * sql_values.h - SQL values of what the engine answered.
 */
#ifndef CHATGLM_SQL_VALUES_H
#define CHATGLM_SQL_VALUES_H

#include "ask.h"

/* The elements of an array. */
extern char *chatglm_array_data(ArrayType *array);

/* The int[] of an answer, as the value of a ChatglmFunction. */
extern Datum chatglm_ids_value(const ChatglmAnswer *answer, Oid type);

/* A one-dimensional int[] or real[] from the bytes of an answer. */
extern ArrayType *chatglm_array_of_words(Oid element, const StringInfoData *bytes);

/* "stop", "length", or NULL. */
extern const char *chatglm_finish_name(glm_finish finish);

#endif /* CHATGLM_SQL_VALUES_H */
