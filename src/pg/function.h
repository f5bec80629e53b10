/*
 * function.h - the SQL functions of this library, as the planner meets them.
 */
#ifndef CHATGLM_FUNCTION_H
#define CHATGLM_FUNCTION_H

#include "ask.h"

#include "pgstat.h"

/*
 * For track_functions: goes before pgstat_end_function_usage() where a function
 * is not called but taken to pieces.
 */
extern void chatglm_usage_begin(FmgrInfo *function, PgStat_FunctionCallUsage *usage);

/* Which one is it?  NULL: none of ours, or one that must run as it is. */
extern const ChatglmFunction *chatglm_function_by_oid(Oid function);

/* Is it of this library at all? */
extern bool chatglm_is_own_function(Oid function);

#endif /* CHATGLM_FUNCTION_H */
