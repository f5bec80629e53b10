/*
 * batch.h - the plan node GlmBatch.
 *
 * It is a CustomScan without a relation, on top of one child:
 *
 *	custom_scan_tlist	the child's columns, then a column for every call
 *	custom_exprs		the calls (FuncExpr, arguments over the child's columns
 *						as INDEX_VAR; CASE WHEN ... THEN call END when made on a
 *						condition), then the limits: pairs of limitCount
 *						and limitOffset, outermost first; NULLs are Consts
 *	custom_private		integers and lists: see the positions below
 *
 * Behind the calls, custom_scan_tlist may have prints of calls (batch_carry.c).
 *
 * Target list and quals are over custom_scan_tlist.
 */
#ifndef CHATGLM_BATCH_H
#define CHATGLM_BATCH_H

#include "chatglm.h"

#include "nodes/extensible.h"

/* How many of a node's rows will be wanted. */
typedef enum ChatglmDemand
{
	CHATGLM_DEMAND_ALL,	  /* no LIMIT above */
	CHATGLM_DEMAND_LIMIT, /* what the limits, or a run, leave */
	CHATGLM_DEMAND_ONE	  /* cannot be told: one after the other */
} ChatglmDemand;

/* Positions in custom_private. */
enum
{
	CHATGLM_BATCH_CALLS,
	CHATGLM_BATCH_DEMAND,
	CHATGLM_BATCH_GROUP,   /* nodes that share limits or a run; 0: none do */
	CHATGLM_BATCH_RUN,	   /* what a run of so many rows demands (ChatglmDemand) */
	CHATGLM_BATCH_EXACT,   /* of the limits, those below which no node drops rows */
	CHATGLM_BATCH_CAREFUL, /* a join may end before this side of it does */
	CHATGLM_BATCH_ALONE,   /* 1: one row, whose calls stand alone */
	CHATGLM_BATCH_PRINTS,  /* List of int: the prints that are columns */
	CHATGLM_BATCH_CARRIED  /* List of Oid, in threes: a function called further below,
								 * the columns with its value and its print */
};

extern void chatglm_batch_init(void); /* planner hook, custom scan */
extern void chatglm_run_init(void);	  /* executor hook (batch_run.c) */

extern const CustomScanMethods chatglm_batch_scan_methods; /* batch.c */

#endif /* CHATGLM_BATCH_H */
