/*
 * batch_same.h - calls of which several are one.
 */
#ifndef CHATGLM_BATCH_SAME_H
#define CHATGLM_BATCH_SAME_H

#include "chatglm.h"

#include "nodes/parsenodes.h"

/* The mark of a call (a FuncExpr), or 0.  Calls of one mark are one call a row. */
extern int chatglm_mark_of(const FuncExpr *call);

/* Marks the equal calls that fields are taken of, in all of the query. */
extern void chatglm_mark_composites(Query *query);

/* The same in the expressions of one plan node, for calls without a mark. */
extern void chatglm_mark_in_plan(List *exprs);

/* The call of ours that a field is taken of; NULL: it is no such node. */
extern FuncExpr *chatglm_call_of_field(Node *node);

#endif /* CHATGLM_BATCH_SAME_H */
