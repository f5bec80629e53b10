/*
 * job_hash.c - what an answer of a job depends on, as one hash.
 *
 * The values that the call reads, the call, and the models that it asks: not their names
 * but what they are (glm_model_hash), so a model that is renamed or restored is the same
 * and one whose files were replaced is another.  These are chatglm.model and those that
 * stand in the call as constants; of a route, all of its models with their shares.  One
 * that is not there counts as nothing.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "function.h"
#include "job_chunk.h"
#include "model_hashes.h"
#include "route.h"
#include "settings.h"

/* ---- Models ---------------------------------------------------------------------- */

/* Reads a model's files where nobody has yet, which may take seconds. */
static void
add_model(StringInfo basis, const char *name)
{
	ChatglmModelRef	 ref = {0};
	ChatglmModelHash found;
	glm_error		 err = {0};
	bool			 known =
		chatglm_model_exists(name) && chatglm_look_up_model(name, &ref) && ref.path != NULL;

	InvalidateCatalogSnapshotConditionally();
	if (known && chatglm_compute_hash(&ref, &found, &err))
		appendStringInfo(basis, "%s:%d", found.hash, GLM_ARITHMETIC);
	appendStringInfoChar(basis, '\0');
}

static void
add_name(StringInfo basis, const char *name)
{
	ChatglmRoute *route = chatglm_find_route(name);

	if (route == NULL)
		add_model(basis, name);
	for (int i = 0; route != NULL && i < route->n_shares; i++)
	{
		appendStringInfo(basis, "%.17g", route->share[i].weight);
		add_model(basis, route->share[i].model);
	}
}

/* Names of a function's arguments; NULL: it has none. */
static char **
argument_names(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid		 *types;
	char	**names;
	char	 *modes;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	(void) get_func_arg_info(tuple, &types, &names, &modes);
	ReleaseSysCache(tuple);
	return names;
}

/* Adds the model of a call of ours, if it is a constant. */
static void
add_model_of_call(StringInfo basis, const FuncExpr *call)
{
	char	**names = argument_names(call->funcid);
	ListCell *cell;

	foreach(cell, call->args)
	{
		Node	   *arg = lfirst(cell);
		const char *name = names != NULL ? names[foreach_current_index(cell)] : "";

		if (IsA(arg, NamedArgExpr))
		{
			name = ((NamedArgExpr *) arg)->name;
			arg = (Node *) ((NamedArgExpr *) arg)->arg;
		}
		if (strcmp(name, "model") == 0 && IsA(arg, Const) && !((Const *) arg)->constisnull &&
			((Const *) arg)->consttype == TEXTOID)
			add_name(basis, TextDatumGetCString(((Const *) arg)->constvalue));
	}
}

static bool
add_models(Node *node, void *basis)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && chatglm_is_own_function(((FuncExpr *) node)->funcid))
		add_model_of_call(basis, (FuncExpr *) node);
	return expression_tree_walker(node, add_models, basis);
}

void
chatglm_job_find_basis(ChatglmJob *job, Node *call)
{
	StringInfoData basis;

	initStringInfo(&basis);
	appendStringInfo(&basis, "%s%c", job->call, 0);
	add_name(&basis, chatglm_model);
	(void) add_models(call, &basis);
	job->basis = cstring_to_text_with_len(basis.data, basis.len);
	pfree(basis.data);
}

/* ---- Values ---------------------------------------------------------------------- */

/* What the columns' values are, as text that depends on no setting. */
static void
add_values(StringInfo text, TupleTableSlot *slot, int first, int end)
{
	for (int i = first; i < end; i++)
	{
		Oid	  output;
		bool  varlena;
		char *value;

		if (slot->tts_isnull[i])
		{
			appendStringInfoChar(text, 'N');
			continue;
		}
		getTypeOutputInfo(TupleDescAttr(slot->tts_tupleDescriptor, i)->atttypid, &output, &varlena);
		value = OidOutputFunctionCall(output, slot->tts_values[i]);
		appendStringInfo(text, "V%zu:%s", strlen(value), value);
		pfree(value);
	}
}

void
chatglm_job_hash(const ChatglmJob *job, TupleTableSlot *slot, int first, int end, uint8 *hash)
{
	StringInfoData text;
	bytea		  *bytes;
	bytea		  *sum;

	initStringInfo(&text);
	appendBinaryStringInfo(&text, VARDATA(job->basis), VARSIZE(job->basis) - VARHDRSZ);
	slot_getallattrs(slot);
	add_values(&text, slot, first, end);
	bytes = cstring_to_text_with_len(text.data, text.len);
	sum = DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(bytes)));
	memcpy(hash, VARDATA_ANY(sum), CHATGLM_JOB_HASH);
	pfree(text.data);
	pfree(bytes);
	pfree(sum);
}
