/*
 * job_chunk.h - a chunk of a job: claimed, computed and stored in transactions of their own.
 *
 *	claim	writes down which keys are being computed, and by which session
 *	compute	reads the rows, lets the snapshot go, computes; writes nothing
 *	store	looks whether the rows still are what they were, and writes them
 *
 * While the model computes there is no row lock, no transaction id and, where the plan
 * allows it, no snapshot.  A claim is alive as long as its session is (job_token.c); one
 * that is not is taken over, and what it had not stored is computed again: answers are
 * stored once, calls of the model may be made more than once.
 */
#ifndef CHATGLM_JOB_CHUNK_H
#define CHATGLM_JOB_CHUNK_H

#include "jobs.h"

typedef enum ChatglmJobRowState
{
	CHATGLM_ROW_WANTED,	  /* to be computed */
	CHATGLM_ROW_GONE,	  /* is not there any more, or not meant any more */
	CHATGLM_ROW_SAME,	  /* was answered already as it is now */
	CHATGLM_ROW_ANSWERED, /* to be stored */
	CHATGLM_ROW_FAILED,	  /* this attempt did, by its own fault */
	CHATGLM_ROW_STALE,	  /* changed while it was computed */
	CHATGLM_ROW_STORED
} ChatglmJobRowState;

typedef struct ChatglmJobRow
{
	char			  *key;
	ChatglmJobRowState state;
	Datum			   row; /* what the call reads, a value of the source's row type */
	uint8			   hash[CHATGLM_JOB_HASH];
	Datum			  *values; /* for the targets */
	bool			  *nulls;
	int				   sqlstate; /* FAILED: why */
	char			  *message;
	bool			   known;	 /* was answered as it is before, and is computed all the same */
	bool			   to_store; /* ANSWERED: found unchanged by this store */
} ChatglmJobRow;

typedef struct ChatglmJobChunk
{
	MemoryContext  context; /* of all below */
	const char	  *name;
	ChatglmJob	  *job;
	int64		   claim;	/* row of chatglm.job_queue */
	int			   tries;	/* of each key so far */
	bool		   changed; /* keys whose rows are skipped when they were answered as they are */
	int			   n;
	ChatglmJobRow *rows;
	TimestampTz	   began;
	uint64		   tokens;	/* taken by its calls */
	ErrorData	  *fault;	/* of the job, not of a row */
	int			   storing; /* row being stored; -1: none */
	bool		   waits;	/* this store waits for rows that others have locked */
	bool		   lost;	/* somebody else has the claim */
	int			   stored;	/* counts, of all stores of the chunk */
	int			   failed;
} ChatglmJobChunk;

typedef enum ChatglmJobClaim
{
	CHATGLM_CLAIM_CHUNK,
	CHATGLM_CLAIM_WAIT,		/* until *until, or until another has stored */
	CHATGLM_CLAIM_FINISHED, /* there is nothing left to do */
	CHATGLM_CLAIM_STOPPED	/* the job is not running, or gone */
} ChatglmJobClaim;

/* ---- job_xact.c: transactions ---------------------------------------------------- */

/* Chunks of this session run as this role, in transactions that it begins itself. */
extern void chatglm_job_in_background(Oid owner, bool switch_user);

/* Chunks of this session run as this role; none: as whoever calls. */
extern void chatglm_job_run_as(Oid owner);

/* Fires what triggers and constraints have deferred, and lets them defer no more. */
extern void chatglm_job_fire_deferred(void);

/*
 * Runs work(arg) in a transaction of its own and ends it.  What it failed of is returned,
 * in this context, and none of it has happened then.
 */
extern ErrorData *chatglm_job_transact(void (*work)(void *arg), void *arg, MemoryContext context);

/* Whose fault is it? */
typedef enum ChatglmJobFault
{
	CHATGLM_FAULT_ROW,	  /* this row's: counts as an attempt */
	CHATGLM_FAULT_RETRY,  /* will pass by itself: the job is tried again */
	CHATGLM_FAULT_PAUSE,  /* the job cannot go on as it is defined */
	CHATGLM_FAULT_CANCEL, /* nobody's: somebody cancelled */
} ChatglmJobFault;

extern ChatglmJobFault chatglm_job_fault(int sqlstate);

/* The beginning of a message, cut at a character. */
extern char *chatglm_job_clip(const char *message);

/* ---- job_token.c: which session has a claim -------------------------------------- */

/* This session's token, held until chatglm_job_token_drop() or its end. */
extern int64 chatglm_job_token(void);
extern void	 chatglm_job_token_drop(void);

/* Is the session alive that has this one? */
extern bool chatglm_job_token_alive(int64 token);

/* ---- job_claim.c, job_compute.c, job_store.c ------------------------------------- */

/* speed: rows a second so far; 0: not known. */
extern ChatglmJobClaim chatglm_job_claim(ChatglmJobChunk *chunk, double speed, TimestampTz *until);
extern void			   chatglm_job_compute(ChatglmJobChunk *chunk);
extern void			   chatglm_job_store(ChatglmJobChunk *chunk);

/* Writes down what a chunk that has no claim failed of. */
extern void chatglm_job_store_fault(ChatglmJobChunk *chunk);

/* Is this process one that works in the background? */
extern bool chatglm_job_is_background(void);

/* ---- job_hash.c ------------------------------------------------------------------- */

/*
 * Finds out what answers to equal inputs depend on.  It may have to read files of models:
 * no snapshot should be held.
 */
extern void chatglm_job_find_basis(ChatglmJob *job, Node *call);

/* SHA-256 of that and the values the call reads: columns of the slot. */
extern void chatglm_job_hash(const ChatglmJob *job, TupleTableSlot *slot, int first, int end,
							 uint8 *hash);

/* [chunk->n]: was the last answer to the row stored for what it is now, by the same call and model? */
extern bool *chatglm_job_answered(const ChatglmJobChunk *chunk);

/* One array for each key column, of the keys of rows in this state. */
extern ParamListInfo chatglm_job_key_arrays(const ChatglmJobKeys  *keys,
											const ChatglmJobChunk *chunk, ChatglmJobRowState state,
											int **numbers);

/* ---- job_run.c ------------------------------------------------------------------- */

/* One chunk of chunk->name, in chunk->context. */
extern ChatglmJobClaim chatglm_job_run_chunk(ChatglmJobChunk *chunk, TimestampTz *until);

/* ---- job_control.c --------------------------------------------------------------- */

/* Makes a job run, from its beginning or from where it is; a paused one does not. */
extern void chatglm_job_begin(ChatglmJob *job, bool background);

/* A job that is about to be begun: nobody writes to a table whose changes it will follow. */
extern ChatglmJob *chatglm_job_lock_to_begin(const char *name);

/* How many rows the planner believes the job to be about. */
extern double chatglm_job_expected(const ChatglmJob *job);

#endif /* CHATGLM_JOB_CHUNK_H */
