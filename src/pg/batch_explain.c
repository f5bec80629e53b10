/*
 * batch_explain.c - what EXPLAIN says of a GlmBatch.
 */
#include "chatglm.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "batch_exec.h"
#include "encoding.h"
#include "route.h"
#include "settings.h"

char *
chatglm_batch_functions(const BatchState *state)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < state->n_calls; i++)
	{
		char *name;
		bool  known = false;

		for (int j = 0; j < i; j++)
			known |= state->calls[j].oid == state->calls[i].oid;
		name = known ? NULL : get_func_name(state->calls[i].oid);
		if (name != NULL)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", name);
	}
	return names.data;
}

/* The model that a call is sure to use; NULL when that cannot be told. */
static const char *
model_of(const BatchCall *call)
{
	const Const *argument;

	if (call->function->model < 0)
		return NULL;
	argument = list_nth(call->expr->args, call->function->model);

	if (!IsA(argument, Const))
		return NULL;
	return argument->constisnull ? chatglm_model : TextDatumGetCString(argument->constvalue);
}

static const char *
common_model(const BatchState *state)
{
	const char *model = NULL;

	for (int i = 0; i < state->n_calls; i++)
	{
		const char *other = model_of(&state->calls[i]);

		if (other == NULL || (model != NULL && strcmp(model, other) != 0))
			return NULL;
		model = other;
	}
	return model;
}

/* ---- Routes ------------------------------------------------------------------- */

void
chatglm_batch_count_model(BatchState *state, const char *model)
{
	BatchModel	 *entry;
	MemoryContext old;
	ListCell	 *cell;

	foreach(cell, state->models)
	{
		entry = lfirst(cell);
		if (strcmp(entry->name, model) == 0)
		{
			entry->requests++;
			return;
		}
	}
	old = MemoryContextSwitchTo(state->context);
	entry = palloc(sizeof(*entry));
	entry->name = pstrdup(model);
	entry->requests = 1;
	state->models = lappend(state->models, entry);
	MemoryContextSwitchTo(old);
}

static int
compare_models(const ListCell *a, const ListCell *b)
{
	return strcmp(((const BatchModel *) lfirst(a))->name, ((const BatchModel *) lfirst(b))->name);
}

/* How many requests routes have led to which model. */
static void
explain_routed(const BatchState *state, ExplainState *es)
{
	List	 *models = list_copy(state->models);
	List	 *shown = NIL;
	ListCell *cell;

	if (models == NIL)
		return;
	list_sort(models, compare_models);
	foreach(cell, models)
	{
		const BatchModel *entry = lfirst(cell);

		shown = lappend(shown, psprintf("%s: " INT64_FORMAT,
										chatglm_cstring_from_utf8(entry->name, strlen(entry->name)),
										entry->requests));
	}
	ExplainPropertyList("Requests by Model", shown, es);
}

static void
explain_model(const char *name, ExplainState *es)
{
	const ChatglmRoute *route = chatglm_find_route(name);

	if (route != NULL)
		ExplainPropertyText("Route", chatglm_show_route(route), es);
	else
		ExplainPropertyText("Model", name, es);
}

/* ---- All of it ------------------------------------------------------------------ */

/*
 * The mean is taken over requests, each when it was sent, itself included.  Answers
 * that are there before anybody waits count as well.
 */
static void
explain_requests(const BatchState *state, ExplainState *es)
{
	ExplainPropertyInteger("Requests", NULL, state->requests, es);
	if (state->failed > 0)
		ExplainPropertyInteger("Failed Requests", NULL, state->failed, es);
	ExplainPropertyInteger("Prompt Tokens", NULL, state->prompt_tokens, es);
	ExplainPropertyInteger("Cached Tokens", NULL, state->cached_tokens, es);
	ExplainPropertyInteger("Generated Tokens", NULL, state->completion_tokens, es);
	ExplainPropertyFloat("Mean in Flight", NULL,
						 state->requests > 0 ? (double) state->in_flight / state->requests : 0, 1,
						 es);
	explain_routed(state, es);
	if (es->timing)
		ExplainPropertyFloat("Time Waiting", "ms", INSTR_TIME_GET_MILLISEC(state->waited), 3, es);
}

void
chatglm_batch_explain(CustomScanState *node, List *ancestors, ExplainState *es)
{
	BatchState *state = (BatchState *) node;
	const char *model = common_model(state);
	List	   *names = NIL;

	for (int i = 0; i < state->n_calls; i++)
		names = lappend(names, get_func_name(state->calls[i].oid));
	ExplainPropertyList("Function", names, es);
	if (model != NULL)
		explain_model(model, es);
	if (es->analyze)
		explain_requests(state, es);
}
