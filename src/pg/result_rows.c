/*
 * result_rows.c - functions that return all of their rows at once, in a tuplestore.
 */
#include "chatglm.h"

#include "funcapi.h"
#include "miscadmin.h"

#include "result_rows.h"

Tuplestorestate *
chatglm_begin_rows(FunctionCallInfo fcinfo, TupleDesc *desc)
{
	ReturnSetInfo	*info = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext	 old;
	Tuplestorestate *rows;

	if (info == NULL || !IsA(info, ReturnSetInfo) || !(info->allowedModes & SFRM_Materialize))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("set-valued function called in context that cannot accept a set")));
	if (get_call_result_type(fcinfo, NULL, desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	rows =
		tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0, false, work_mem);
	*desc = CreateTupleDescCopy(*desc);
	info->returnMode = SFRM_Materialize;
	info->setResult = rows;
	info->setDesc = *desc;
	MemoryContextSwitchTo(old);
	return rows;
}
