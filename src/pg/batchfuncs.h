/*
 * batchfuncs.h - answers for jobs that go on when a row of theirs cannot be answered.
 */
#ifndef CHATGLM_BATCHFUNCS_H
#define CHATGLM_BATCHFUNCS_H

#include "ask.h"

extern const ChatglmFunction chatglm_try_generate_function;

/*
 * A row of glm_result, or of a type like it: what value() makes of the answer, how it
 * came to be, or the error.
 */
extern Datum chatglm_result_value(const ChatglmAnswer *answer, Oid type,
								  Datum (*value)(const ChatglmAnswer *answer, Oid type));

#endif /* CHATGLM_BATCHFUNCS_H */
