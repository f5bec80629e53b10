/*
 * batch_limits.c - how many rows the limits above a GlmBatch leave to it.
 *
 * Nodes below one Append share what is left, and so must find each other: there is a
 * list of all states in this process.
 */
#include "chatglm.h"

#include "batch_exec.h"

static dlist_head all_states = DLIST_STATIC_INIT(all_states);

void
chatglm_limits_begin(BatchState *state)
{
	state->bound = -1;
	dlist_push_tail(&all_states, &state->link);
}

void
chatglm_limits_end(BatchState *state)
{
	dlist_delete(&state->link);
}

/*
 * What limits come to from the first one on: the outermost is on what the inner
 * ones leave, and each needs its offset on top.
 */
static int64
evaluate_limits(BatchState *state, int first, int64 *skipped)
{
	ExprContext *econtext = state->css.ss.ps.ps_ExprContext;
	int64		 bound = PG_INT64_MAX;

	*skipped = 0;
	for (int i = 2 * first; i < list_length(state->limits); i += 2)
	{
		bool  no_count;
		bool  no_offset;
		int64 count = DatumGetInt64(
			ExecEvalExprSwitchContext(list_nth(state->limits, i), econtext, &no_count));
		int64 offset = DatumGetInt64(
			ExecEvalExprSwitchContext(list_nth(state->limits, i + 1), econtext, &no_offset));

		if (!no_count)
			bound = Min(bound, Max(count, 0));
		if (no_offset || offset <= 0)
			continue;
		bound = bound > PG_INT64_MAX - offset ? PG_INT64_MAX : bound + offset;
		*skipped = Min(*skipped, PG_INT64_MAX / 4) + Min(offset, PG_INT64_MAX / 4);
	}
	return bound;
}

void
chatglm_limits_evaluate(BatchState *state)
{
	int	  n_limits = list_length(state->limits) / 2;
	int64 skipped;

	if (state->bound >= 0)
		return;
	state->bound_below = evaluate_limits(state, n_limits - state->exact, &skipped);
	state->bound = evaluate_limits(state, 0, &state->skipped);
}

static int64
rows_of(const BatchState *state, uint64 run)
{
	int64 rows = state->n_rows;

	if (run == 0)
		rows += state->emitted;
	else if (state->run == run)
		rows += state->emitted - state->emitted_before;
	return rows;
}

int64
chatglm_limits_left(const BatchState *state, int64 rows, bool in_run)
{
	uint64	   run = in_run ? state->run : 0;
	int64	   left = rows - rows_of(state, run);
	dlist_iter iter;

	if (state->group == 0)
		return left;
	dlist_foreach(iter, &all_states)
	{
		const BatchState *other = dlist_container(BatchState, link, iter.cur);

		if (other != state && other->group == state->group &&
			other->css.ss.ps.state == state->css.ss.ps.state)
			left -= rows_of(other, run);
	}
	return left;
}
