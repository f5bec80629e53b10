/*
 * batch_place.c - where in its table the row is that GlmBatch has given last.
 *
 * UPDATE ... WHERE CURRENT OF looks through the plan of a cursor for the scan of
 * the table, and takes the place of its current row.  It would not look below a
 * GlmBatch, where the scan may be rows ahead; but it takes a custom scan for a
 * scan of the table when that has its ss_currentRelation, and reads the place
 * from its scan slot.  So GlmBatch keeps the place of each row in hand, where its
 * child is or passes on the rows of one table's scan, as PostgreSQL sees it.
 */
#include "chatglm.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "utils/rel.h"

#include "batch_exec.h"

/* The scan whose current row this node's current row is made of, or NULL. */
static ScanState *
find_scan(PlanState *node)
{
	switch (nodeTag(node))
	{
		case T_ResultState:
		case T_LimitState:
			return outerPlanState(node) != NULL ? find_scan(outerPlanState(node)) : NULL;
		case T_SubqueryScanState:
			return find_scan(((SubqueryScanState *) node)->subplan);
		case T_SeqScanState:
		case T_SampleScanState:
		case T_IndexScanState:
		case T_IndexOnlyScanState:
		case T_BitmapHeapScanState:
		case T_TidScanState:
		case T_ForeignScanState:
		case T_CustomScanState:
			return ((ScanState *) node)->ss_currentRelation != NULL ? (ScanState *) node : NULL;
		default:
			return chatglm_is_tid_range_state(node) ? (ScanState *) node : NULL;
	}
}

void
chatglm_place_begin(BatchState *state)
{
	state->scan = find_scan(outerPlanState(&state->css));
	if (state->scan != NULL)
		state->css.ss.ss_currentRelation = state->scan->ss_currentRelation;
}

void
chatglm_place_keep(BatchState *state, int index)
{
	IndexScanDesc indexscan = NULL;

	if (state->scan == NULL)
		return;
	/* the slot of this scan need not have the place */
	if (IsA(state->scan, IndexOnlyScanState))
		indexscan = ((IndexOnlyScanState *) state->scan)->ioss_ScanDesc;
	state->places[index] =
		indexscan != NULL ? indexscan->xs_heaptid : state->scan->ss_ScanTupleSlot->tts_tid;
}

void
chatglm_place_show(BatchState *state, int index, TupleTableSlot *slot)
{
	if (state->scan == NULL)
		return;
	slot->tts_tid = state->places[index];
	slot->tts_tableOid = RelationGetRelid(state->scan->ss_currentRelation);
}
