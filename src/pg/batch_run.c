/*
 * batch_run.c - how many rows a run of the plan wants, and other bounds that are known
 * only then.
 *
 * A plan may be run for some rows now and the rest later or never: by FETCH n,
 * by SELECT INTO, by an SQL function that gives one value, by a loop in plpgsql.
 * The executor is told the number, but does not pass it on, so a hook keeps it
 * while the run lasts.  Runs nest (a function that a query calls runs queries of
 * its own) and are told apart by their executor states.
 *
 * No more rows are in hand than the run still wants, so none are when it ends
 * (but in a loop over a query, which nobody can interfere with).  What a session
 * does between two runs (settings, savepoints, updates) is thus seen by all rows of
 * the second, and the next run may go backward.  There GlmBatch reads one row at a
 * time, and its child has to be able to.
 *
 * A hash join with an empty inner side reads one outer row at most, and a merge
 * join ends with the shorter side.  A side of such a join has no more rows in
 * hand than it has given, or thrown away, before.
 *
 * The other way round, limits that are known only here go down to a Sort, as the
 * Limit would have told it, had it not found a GlmBatch on the way.
 */
#include "chatglm.h"

#include "tcop/pquery.h"
#include "utils/portal.h"

#include "batch.h"
#include "batch_exec.h"

typedef struct Run
{
	const EState *estate;
	int64		  rows;	  /* wanted, more than 0 */
	uint64		  number; /* no other run of this process has it */
	struct Run	 *outer;
} Run;

static ExecutorRun_hook_type prev_run_hook;
static Run					*runs; /* the innermost; only those that want a number of rows */

/* ---- The hook ----------------------------------------------------------------- */

static void
run_plan(CHATGLM_RUN_PARAMETERS)
{
	if (prev_run_hook != NULL)
		prev_run_hook(CHATGLM_RUN_ARGUMENTS);
	else
		standard_ExecutorRun(CHATGLM_RUN_ARGUMENTS);
}

/*
 * A loop over a query takes its first ten rows at once and then fifty at a time;
 * but where it could commit, PL/pgSQL dares not hold rows, and takes one at a time.
 * It goes on none the less, so there we look ahead as far as it would.  A
 * loop over a cursor is different: what it does may depend on where that is.
 */
static int64
rows_wanted(QueryDesc *query, uint64 count)
{
	Portal portal = ActivePortal;

	if (count == 1 && portal != NULL && portal->queryDesc == query && portal->portalPinned &&
		(portal->cursorOptions & CURSOR_OPT_FAST_PLAN) == 0)
		return portal->portalPos < 10 ? 10 : 50;
	return Min(count, PG_INT64_MAX / 4);
}

static void
count_rows(CHATGLM_RUN_PARAMETERS)
{
	static uint64 last_number = 0;
	Run			  run = {query->estate, rows_wanted(query, count), ++last_number, runs};

	if (count == 0) /* all of them */
	{
		run_plan(CHATGLM_RUN_ARGUMENTS);
		return;
	}
	runs = &run;
	PG_TRY();
	{
		run_plan(CHATGLM_RUN_ARGUMENTS);
	}
	PG_FINALLY();
	{
		runs = run.outer;
	}
	PG_END_TRY();
}

void
chatglm_run_init(void)
{
	prev_run_hook = ExecutorRun_hook;
	ExecutorRun_hook = count_rows;
}

/* ---- For a node ------------------------------------------------------------------ */

static const Run *
find_run(const BatchState *state)
{
	for (const Run *run = runs; run != NULL; run = run->outer)
		if (run->estate == state->css.ss.ps.state)
			return run;
	return NULL;
}

void
chatglm_run_enter(BatchState *state)
{
	const Run	 *run = find_run(state);
	ScanDirection direction = state->css.ss.ps.state->es_direction;

	if (run != NULL && run->number != state->run)
	{
		state->run = run->number;
		state->emitted_before = state->emitted;
	}
	if (direction != state->direction)
	{
		if (state->n_rows > 0)
			elog(ERROR, "cannot turn round with rows in flight");
		state->direction = direction;
		state->child_ended = false;
	}
	if (state->bound < 0)
	{
		chatglm_limits_evaluate(state);
		chatglm_hand_on_bound(state);
	}
}

int64
chatglm_run_wanted(const BatchState *state)
{
	const Run *run = find_run(state);
	int64	   used = state->added - state->n_rows;
	int64	   most = state->careful ? Max(1, used) : PG_INT64_MAX;

	if (ScanDirectionIsBackward(state->direction))
		return 1 - state->n_rows;
	if (run == NULL || state->run_demand == CHATGLM_DEMAND_ALL)
		return most - state->n_rows;
	if (state->run_demand == CHATGLM_DEMAND_ONE)
		return 1 - state->n_rows;
	/* what an OFFSET still throws away comes on top */
	return Min(most - state->n_rows,
			   chatglm_limits_left(
				   state, run->rows + Max(0, state->skipped - state->emitted_before), true));
}

/* ---- For the nodes below ------------------------------------------------------------ */

static void
hand_on(BatchState *state, int64 bound)
{
	if (state->css.ss.ps.qual != NULL)
		return; /* more rows go in than come out */
	if (state->below != NULL)
		hand_on(state->below, bound);
	else
		ExecSetTupleBound(bound, outerPlanState(&state->css));
}

void
chatglm_hand_on_bound(BatchState *state)
{
	if (state->exact == 0)
		return;
	chatglm_limits_evaluate(state);
	hand_on(state, state->bound_below == PG_INT64_MAX ? -1 : state->bound_below);
}
