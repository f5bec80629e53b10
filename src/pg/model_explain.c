/*
 * model_explain.c - what EXPLAIN says of models and routes: for GlmBatch and GlmStream.
 */
#include "chatglm.h"

#include "utils/builtins.h"

#include "encoding.h"
#include "model_explain.h"
#include "route.h"
#include "settings.h"

/* A model and its requests. */
typedef struct ModelCount
{
	char *name; /* UTF-8 */
	int64 requests;
} ModelCount;

const char *
chatglm_model_of_call(const ChatglmFunction *function, const FuncExpr *call)
{
	const Const *argument;

	if (function->model < 0)
		return NULL;
	argument = list_nth(call->args, function->model);
	if (!IsA(argument, Const))
		return NULL;
	return argument->constisnull ? chatglm_model : TextDatumGetCString(argument->constvalue);
}

void
chatglm_explain_model(const char *name, ExplainState *es)
{
	const ChatglmRoute *route = chatglm_find_route(name);

	if (route != NULL)
		ExplainPropertyText("Route", chatglm_show_route(route), es);
	else
		ExplainPropertyText("Model", name, es);
}

/* ---- Where routes led -------------------------------------------------------------- */

void
chatglm_count_model(List **models, MemoryContext context, const char *model)
{
	ModelCount	 *entry;
	MemoryContext old;
	ListCell	 *cell;

	foreach(cell, *models)
	{
		entry = lfirst(cell);
		if (strcmp(entry->name, model) == 0)
		{
			entry->requests++;
			return;
		}
	}
	old = MemoryContextSwitchTo(context);
	entry = palloc(sizeof(*entry));
	entry->name = pstrdup(model);
	entry->requests = 1;
	*models = lappend(*models, entry);
	MemoryContextSwitchTo(old);
}

static int
compare_models(const ListCell *a, const ListCell *b)
{
	return strcmp(((const ModelCount *) lfirst(a))->name, ((const ModelCount *) lfirst(b))->name);
}

void
chatglm_explain_models(const List *models, ExplainState *es)
{
	List	 *sorted = list_copy(models);
	List	 *shown = NIL;
	ListCell *cell;

	if (models == NIL)
		return;
	list_sort(sorted, compare_models);
	foreach(cell, sorted)
	{
		const ModelCount *entry = lfirst(cell);

		shown = lappend(shown, psprintf("%s: " INT64_FORMAT,
										chatglm_cstring_from_utf8(entry->name, strlen(entry->name)),
										entry->requests));
	}
	ExplainPropertyList("Requests by Model", shown, es);
}
