/*
 * batch_exec.h - the executor's state of GlmBatch, for batch.c (the node) and
 * batch_ring.c (its rows in hand).
 */
#ifndef CHATGLM_BATCH_EXEC_H
#define CHATGLM_BATCH_EXEC_H

#include "batch.h"

#include "executor/executor.h"
#include "lib/ilist.h"
#include "portability/instr_time.h"

typedef struct BatchCall
{
	const ChatglmFunction *function;
	Oid			oid;
	Oid			type;			/* of the result */
	List	   *arguments;		/* ExprState */
} BatchCall;

typedef struct BatchState
{
	CustomScanState css;
	int			n_columns;		/* of the child */
	int			n_calls;
	BatchCall  *calls;

	/* the ring */
	int			capacity;
	int			head;			/* the oldest row */
	int			n_rows;
	MinimalTuple *tuples;
	ChatglmAnswer *answers;		/* [capacity][n_calls] */
	MinimalTuple given;			/* of the row that went out last */
	TupleTableSlot *columns;	/* to look into a tuple */
	MemoryContext context;		/* tuples, caught errors */
	bool		child_ended;

	/* how far ahead it may read */
	ChatglmDemand demand;
	int			group;
	List	   *limits;			/* ExprState: counts and offsets */
	int64		bound;			/* what the limits come to; -1 = not evaluated */
	int64		emitted;
	int64		told;			/* rows that a GlmBatch right above wants */
	dlist_node	link;			/* in the list of all states */

	/* for EXPLAIN, over all rescans */
	int64		requests;
	int64		prompt_tokens;
	int64		cached_tokens;
	int64		completion_tokens;
	int64		waits;
	int64		in_flight;		/* requests running, summed over waits */
	instr_time	waited;
} BatchState;

/* ---- batch_ring.c ------------------------------------------------------- */

/* Prepares an empty ring for rows of this shape; needs the calls to be known. */
extern void chatglm_ring_begin(BatchState *state, TupleDesc desc, EState *estate);

/* Ends what is in flight and forgets all rows. */
extern void chatglm_ring_clear(BatchState *state);

/* Index of the row that so many came in before; its answers. */
extern int	chatglm_ring_index(const BatchState *state, int row);
extern ChatglmAnswer *chatglm_ring_answers(const BatchState *state, int index);

/*
 * Puts a row's columns into the scan's slot, the calls' columns NULL.  They point
 * into the tuple.
 */
extern TupleTableSlot *chatglm_ring_load(BatchState *state, int index);

/* Copies a row into the ring and sends its questions. */
extern void chatglm_ring_add(BatchState *state, TupleTableSlot *slot);

/* Sends them again when a rollback has cancelled one; was that so? */
extern bool chatglm_ring_ask_again(BatchState *state, int index);

/* Requests of this node that the worker has not finished. */
extern int	chatglm_ring_running(const BatchState *state);

/* How many more rows may be read without asking for one that nobody wants. */
extern int64 chatglm_ring_wanted(BatchState *state);

/* May another row be read now? */
extern bool chatglm_ring_may_read(BatchState *state);

#endif							/* CHATGLM_BATCH_EXEC_H */
