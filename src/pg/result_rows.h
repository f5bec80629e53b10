/*
 * result_rows.h - functions that return all of their rows at once.
 */
#ifndef CHATGLM_RESULT_ROWS_H
#define CHATGLM_RESULT_ROWS_H

#include "chatglm.h"

#include "fmgr.h"
#include "utils/tuplestore.h"

/* Sets a function up to return its rows at once, in a tuplestore. */
extern Tuplestorestate *chatglm_begin_rows(FunctionCallInfo fcinfo, TupleDesc *desc);

#endif /* CHATGLM_RESULT_ROWS_H */
