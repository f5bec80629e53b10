/*
 * function.h - the SQL functions of this library, as the planner meets them.
 */
#ifndef CHATGLM_FUNCTION_H
#define CHATGLM_FUNCTION_H

#include "ask.h"

#include "pgstat.h"

/* The functions there are, before any is looked for. */
extern void chatglm_functions_init(const ChatglmFunction *const *all, int n);

/*
 * For track_functions: goes before pgstat_end_function_usage() where a function
 * is not called but taken to pieces.
 */
extern void chatglm_usage_begin(FmgrInfo *function, PgStat_FunctionCallUsage *usage);

/* Which one is it?  NULL: none of ours that answers once, or one that must run as it is. */
extern const ChatglmFunction *chatglm_function_by_oid(Oid function);

/* The same of those that stream. */
extern const ChatglmFunction *chatglm_stream_by_oid(Oid function);

/* Is the C function behind it one of this library, whatever must be done to call it? */
extern bool chatglm_is_own_function(Oid function);

/* What pg_proc has in this column (prosrc, probin) of a function in C; NULL: it is none. */
extern char *chatglm_c_function(Oid function, int column);

#endif /* CHATGLM_FUNCTION_H */
