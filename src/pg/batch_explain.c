/*
 * batch_explain.c - what EXPLAIN says of a GlmBatch.
 */
#include "chatglm.h"

#include "utils/lsyscache.h"

#include "batch_exec.h"
#include "model_explain.h"

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

static const char *
common_model(const BatchState *state)
{
	const char *model = NULL;

	for (int i = 0; i < state->n_calls; i++)
	{
		const char *other = chatglm_model_of_call(state->calls[i].function, state->calls[i].expr);

		if (other == NULL || (model != NULL && strcmp(model, other) != 0))
			return NULL;
		model = other;
	}
	return model;
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
	ExplainPropertyInteger("Accepted Tokens", NULL, state->accepted_tokens, es);
	ExplainPropertyFloat("Mean in Flight", NULL,
						 state->requests > 0 ? (double) state->in_flight / state->requests : 0, 1,
						 es);
	chatglm_explain_models(state->models, es);
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
		chatglm_explain_model(model, es);
	if (es->analyze)
		explain_requests(state, es);
}
