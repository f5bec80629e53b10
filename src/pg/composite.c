/*
 * composite.c - the fields of a composite where no GlmBatch makes the call.
 *
 * In RETURNING, under CASE, beside set-returning functions and in expressions of
 * PL/pgSQL each field of (glm_try_generate(body)).* calls the function.  The first
 * of these calls asks, and its answer is kept for the others: those with the same
 * mark (batch_same.c) and the same arguments.  A place in the expressions that has
 * had the answer is at the next row when it calls again, and so asks anew.  That tells
 * rows apart unless another place comes first in the next row and its text is the same:
 * then two rows have one answer.
 *
 * Marks are unique in the session, and what is kept belongs to the memory of the
 * query that the places are in.
 */
#include "chatglm.h"

#include "fmgr.h"
#include "nodes/primnodes.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

#include "ask.h"
#include "batch_same.h"
#include "composite.h"

typedef struct Kept
{
	struct Kept	 *next;
	int			  mark;
	MemoryContext query;  /* of the places */
	MemoryContext memory; /* of the following */
	List		 *served; /* FmgrInfo *: places that have had the answer */
	NullableDatum args[CHATGLM_MAX_ARGS];
	NullableDatum value;
} Kept;

static Kept *all_kept;

static Kept **
find_kept(MemoryContext query, int mark)
{
	Kept **kept = &all_kept;

	while (*kept != NULL && ((*kept)->query != query || (*kept)->mark != mark))
		kept = &(*kept)->next;
	return kept;
}

/* The memory of the query goes. */
static void
forget_kept(void *arg)
{
	Kept  *gone = arg;
	Kept **kept = find_kept(gone->query, gone->mark);

	*kept = gone->next;
}

static Kept *
begin_keeping(MemoryContext query, int mark)
{
	Kept				  *kept = MemoryContextAllocZero(query, sizeof(*kept));
	MemoryContextCallback *callback = MemoryContextAlloc(query, sizeof(*callback));

	kept->mark = mark;
	kept->query = query;
	kept->memory = AllocSetContextCreate(query, "chatglm composite", ALLOCSET_SMALL_SIZES);
	kept->next = all_kept;
	all_kept = kept;
	callback->func = forget_kept;
	callback->arg = kept;
	MemoryContextRegisterResetCallback(query, callback);
	return kept;
}

static bool
same_value(NullableDatum a, NullableDatum b, Oid type)
{
	int16 length;
	bool  by_value;

	if (a.isnull || b.isnull)
		return a.isnull && b.isnull;
	get_typlenbyval(type, &length, &by_value);
	return datum_image_eq(a.value, b.value, by_value, length);
}

static NullableDatum
copy_value(NullableDatum datum, Oid type)
{
	int16 length;
	bool  by_value;

	if (datum.isnull)
		return datum;
	get_typlenbyval(type, &length, &by_value);
	datum.value = datumCopy(datum.value, by_value, length);
	return datum;
}

int
chatglm_composite_mark(FunctionCallInfo fcinfo)
{
	Node *call = fcinfo->flinfo->fn_expr;

	return call != NULL && IsA(call, FuncExpr) ? chatglm_mark_of((FuncExpr *) call) : 0;
}

bool
chatglm_composite_kept(FunctionCallInfo fcinfo, int mark, Oid type, NullableDatum *value)
{
	Kept		 *kept = *find_kept(fcinfo->flinfo->fn_mcxt, mark);
	MemoryContext old;

	if (kept == NULL || list_member_ptr(kept->served, fcinfo->flinfo))
		return false;
	for (int i = 0; i < fcinfo->nargs; i++)
		if (!same_value(kept->args[i], fcinfo->args[i], get_fn_expr_argtype(fcinfo->flinfo, i)))
			return false;
	old = MemoryContextSwitchTo(kept->memory);
	kept->served = lappend(kept->served, fcinfo->flinfo);
	MemoryContextSwitchTo(old);
	*value = copy_value(kept->value, type);
	return true;
}

void
chatglm_composite_keep(FunctionCallInfo fcinfo, int mark, Oid type, NullableDatum value)
{
	Kept		 *kept = *find_kept(fcinfo->flinfo->fn_mcxt, mark);
	MemoryContext old;

	if (kept == NULL)
		kept = begin_keeping(fcinfo->flinfo->fn_mcxt, mark);
	kept->served = NIL;
	MemoryContextReset(kept->memory);
	old = MemoryContextSwitchTo(kept->memory);
	for (int i = 0; i < fcinfo->nargs; i++)
		kept->args[i] = copy_value(fcinfo->args[i], get_fn_expr_argtype(fcinfo->flinfo, i));
	kept->value = copy_value(value, type);
	kept->served = list_make1(fcinfo->flinfo);
	MemoryContextSwitchTo(old);
}
