/*
 * batch_exec.h - the executor's state of GlmBatch and what is done with it.
 */
#ifndef CHATGLM_BATCH_EXEC_H
#define CHATGLM_BATCH_EXEC_H

#include "ask.h"
#include "batch.h"
#include "batch_stat.h"

#include "executor/executor.h"
#include "lib/ilist.h"
#include "portability/instr_time.h"

typedef struct BatchCall
{
	const ChatglmFunction *function;
	Oid					   oid;
	Oid					   type; /* of the result */
	FuncExpr			  *expr;
	ExprState			  *condition; /* on which it is made; NULL: always */
	List				  *arguments; /* ExprState */
	FmgrInfo			   info;	  /* for track_functions */
	bool				   printed;	  /* others may ask the same */
} BatchCall;

/* What a call asked, and the column of the row with its value. */
typedef struct BatchPrint
{
	Oid	   function; /* 0: none */
	int	   column;
	uint64 hash[2];
} BatchPrint;

typedef struct BatchState
{
	CustomScanState	   css;
	struct BatchState *below;	  /* the child, where it is a GlmBatch too */
	int				   n_columns; /* of the child */
	int				   n_calls;
	BatchCall		  *calls;
	ChatglmPriority	   priority;

	/* what an error would be about; 0: nothing of a row */
	int64  asked_number; /* of the row */
	uint64 asked_id;	 /* of the request */

	/* the ring */
	int				 capacity;
	int				 head; /* the oldest row */
	int				 n_rows;
	MinimalTuple	*tuples;
	ItemPointerData *places;  /* in the table of ss_currentRelation, if that is set */
	ChatglmAnswer	*answers; /* [capacity][n_calls] */
	int64			*numbers; /* of the rows, as the child gave them; from 1 */
	int64			 n_read;
	MinimalTuple	 given;	  /* of the row that went out last */
	TupleTableSlot	*columns; /* to look into a tuple */
	MemoryContext	 context; /* tuples, caught errors */
	bool			 child_ended;
	ScanDirection	 direction; /* in which it was last asked */
	ScanState		*scan;		/* below: its current row is the row read */

	/* equal calls */
	int			n_prints;	  /* of a row: carried up, of the nodes below, ours */
	List	   *carried;	  /* as in the plan */
	List	   *shown;		  /* the prints that are columns behind the calls */
	BatchPrint *prints;		  /* [capacity + 1][n_prints] */
	BatchPrint *given_prints; /* of the row that went out last */
	int		   *sources;	  /* [capacity][n_calls]: column that has the value, plus 1 */

	/* how far ahead it may read */
	ChatglmDemand demand;
	int			  group;
	List		 *limits;	   /* ExprState: counts and offsets */
	int			  exact;	   /* so many of them are a bound for the nodes below, too */
	int64		  bound;	   /* what the limits come to; -1 = not evaluated */
	int64		  bound_below; /* what the exact ones come to */
	int64		  skipped;	   /* what offsets throw away */
	int64		  emitted;
	ChatglmDemand run_demand;
	bool		  careful;		  /* no more ahead than have been used */
	int64		  added;		  /* rows that came in, over all rescans */
	uint64		  run;			  /* number of the run that asked last */
	int64		  emitted_before; /* this run */
	int64		  told;			  /* rows that a GlmBatch right above wants */
	dlist_node	  link;			  /* in the list of all states */

	/* for EXPLAIN, over all rescans */
	int64			  requests;
	int64			  prompt_tokens;
	int64			  cached_tokens;
	int64			  completion_tokens;
	int64			  accepted_tokens;
	int64			  failed;	 /* answered with an error */
	int64			  in_flight; /* requests running as each was sent, summed */
	List			 *models;	 /* those that routes have led to, see model_explain.h */
	instr_time		  waited;
	ChatglmBatchStat *stat; /* what others see of it; NULL: nothing */
} BatchState;

/* ---- batch.c ------------------------------------------------------------ */

/* The call that is being asked for a row. */
typedef struct BatchAsking
{
	BatchState *state;
	int			index; /* of the row */
	int			call;
} BatchAsking;

/* ---- batch_ring.c ------------------------------------------------------- */

/* Prepares an empty ring for rows of this shape; needs the calls to be known. */
extern void chatglm_ring_begin(BatchState *state, TupleDesc desc, EState *estate);

/* Ends what is in flight and forgets all rows. */
extern void chatglm_ring_clear(BatchState *state);

/* Index of the row that so many came in before; its answers. */
extern int			  chatglm_ring_index(const BatchState *state, int row);
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
extern int chatglm_ring_running(const BatchState *state);

/* How many more rows may be read without asking for one that nobody wants. */
extern int64 chatglm_ring_wanted(BatchState *state);

/* May another row be read now? */
extern bool chatglm_ring_may_read(BatchState *state);

/* ---- batch_limits.c ----------------------------------------------------- */

/* The state's limits can be evaluated from here on, and those of its group find it. */
extern void chatglm_limits_begin(BatchState *state);
extern void chatglm_limits_end(BatchState *state);

/* Evaluates the limits where that has not been done: bound, skipped. */
extern void chatglm_limits_evaluate(BatchState *state);

/*
 * What is left of so many rows for the node and those of its group, when rows in
 * hand and rows that went out, in this run or at all, are counted.
 */
extern int64 chatglm_limits_left(const BatchState *state, int64 rows, bool in_run);

/* ---- batch_run.c -------------------------------------------------------- */

/* Notes which run asks for a row, and in which direction. */
extern void chatglm_run_enter(BatchState *state);

/* How many more rows may be read without asking for one that the run does not want. */
extern int64 chatglm_run_wanted(const BatchState *state);

/* Tells the nodes below how many rows the limits let through. */
extern void chatglm_hand_on_bound(BatchState *state);

/* ---- batch_place.c ------------------------------------------------------ */

/* Finds the scan, when the nodes below are there. */
extern void chatglm_place_begin(BatchState *state);

/* Keeps the place of the row just read; gives the slot that of the row that goes out. */
extern void chatglm_place_keep(BatchState *state, int index);
extern void chatglm_place_show(BatchState *state, int index, TupleTableSlot *slot);
/* ---- batch_share.c ------------------------------------------------------ */

/* Prepares for equal calls; needs calls, ring and node below. */
extern void chatglm_share_begin(BatchState *state);

/* A row has been read from the node below; it is about to be asked for; it goes out. */
extern void chatglm_share_read(BatchState *state, int index, TupleTableSlot *slot);
extern void chatglm_share_ask(BatchState *state, int index);
extern void chatglm_share_given(BatchState *state, int index);

/* Puts the prints that are columns into the scan's slot. */
extern void chatglm_share_show(BatchState *state, int index, TupleTableSlot *slot);

/* A ChatglmKnown: has a call before this one asked the same?  arg: BatchAsking. */
extern bool chatglm_share_known(const ChatglmCall *call, void *arg);

/* Where the value of such a call is: column plus 1; 0: it is a call of its own. */
extern int *chatglm_share_source(BatchState *state, int index, int call);

/* ---- batch_explain.c ---------------------------------------------------- */

extern void chatglm_batch_explain(CustomScanState *node, List *ancestors, ExplainState *es);

/* The functions that the node calls, each once, separated by commas. */
extern char *chatglm_batch_functions(const BatchState *state);

#endif /* CHATGLM_BATCH_EXEC_H */
