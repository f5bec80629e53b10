/*
 * outcome.h - an answer, or the error that took its place, as a row.
 */
#ifndef CHATGLM_OUTCOME_H
#define CHATGLM_OUTCOME_H

#include "ask.h"

/* Columns of glm_result and of types like it, which differ in what the first one holds. */
enum
{
	OUTCOME_VALUE,
	OUTCOME_PROMPT_TOKENS,
	OUTCOME_COMPLETION_TOKENS,
	OUTCOME_FINISH_REASON,
	OUTCOME_ERROR,
	OUTCOME_SQLSTATE,
	OUTCOME_MODEL,
	OUTCOME_COLUMNS
};

/* Makes the first column, of this type, of an answer that there is. */
typedef Datum (*ChatglmMakeValue)(const ChatglmAnswer *answer, Oid type);

/* The columns, in the current context. */
extern void chatglm_outcome_columns(const ChatglmAnswer *answer, Oid value_type,
									ChatglmMakeValue value, Datum *values, bool *nulls);

/* A row of such a type. */
extern Datum chatglm_outcome_row(const ChatglmAnswer *answer, Oid type, ChatglmMakeValue value);

#endif /* CHATGLM_OUTCOME_H */
