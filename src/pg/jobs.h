/*
 * jobs.h - batch jobs: what a job is, and the chunks that it is worked off in.
 *
 * A job asks an expression of every row of a table and writes what it gives into
 * columns of the same row.  It lies in chatglm.job (definition and state),
 * chatglm.job_change (keys of rows that were written), chatglm.job_queue (keys that wait or
 * are being computed) and chatglm.job_error; chatglm.job_done remembers of what inputs an
 * answer was.
 *
 * These tables are written with the rights of their owner (job_table.c), all that
 * touches the job's own table with the rights of the job's owner (job_query.c).
 */
#ifndef CHATGLM_JOBS_H
#define CHATGLM_JOBS_H

#include "chatglm.h"

#include "utils/rel.h"
#include "utils/timestamp.h"

#define CHATGLM_JOB_ALIAS "t"	   /* what expressions call a row of the source */
#define CHATGLM_JOB_HASH 32		   /* bytes: SHA-256 */
#define CHATGLM_JOB_MESSAGE 200	   /* bytes of an error that are kept */
#define CHATGLM_JOB_WAIT_MAX 60000 /* ms between tries after faults */

typedef struct ChatglmJobOptions
{
	char	   *where; /* NULL: all rows */
	bool		continuous;
	bool		replicated;
	int			chunk; /* rows */
	double		chunk_seconds;
	int			attempts;
	double		backoff;		   /* seconds */
	TimestampTz deadline;		   /* DT_NOEND: none */
	int			tokens_per_minute; /* 0: no limit */
	int			rows_per_minute;   /* 0: no limit */
	int			priority;
} ChatglmJobOptions;

typedef struct ChatglmJob
{
	char			 *name;
	Oid				  owner;
	Oid				  source;
	int				  n_keys;
	char			**keys; /* columns */
	int				  n_targets;
	char			**targets;	 /* columns */
	char			 *call;		 /* names qualified */
	char			 *condition; /* the same; NULL: none */
	ChatglmJobOptions options;
	char			 *state;  /* created, running, paused, done, cancelled */
	char			 *reason; /* of a pause; NULL: somebody asked for it */
	bool			  background;
	bool			  at_home; /* was it started in this database? */
	char			 *cursor;  /* key up to which the walk has come; NULL: at the beginning */
	bool			  walked;
	bool			  syncing;
	TimestampTz		  not_before; /* DT_NOBEGIN: at once */
	int				  faults;	  /* in a row */
	int64			  done;
	int64			  failed;
	int64			  total; /* -1: not known */
	text			 *basis; /* of its answers, besides inputs; NULL: not found out yet */
} ChatglmJob;

/* ---- job_table.c: the tables of jobs --------------------------------------------- */

/* Parameters of a statement. */
typedef struct ChatglmJobArgs
{
	int	  n;
	Oid	  types[12];
	Datum values[12];
	char  nulls[13];
} ChatglmJobArgs;

extern void chatglm_job_arg(ChatglmJobArgs *args, Oid type, Datum value, bool isnull);
extern void chatglm_job_arg_text(ChatglmJobArgs *args, const char *text); /* NULL: null */
extern void chatglm_job_arg_texts(ChatglmJobArgs *args, char **texts, int n);

/* Are the tables of jobs here, as the extension made them? */
extern bool chatglm_job_tables_exist(void);

/* Names without a schema are pg_catalog's until the current level of settings ends. */
extern void chatglm_job_set_path(void);

/* Runs a statement on them; returns SPI_processed.  Needs SPI_connect(). */
extern uint64 chatglm_job_sql(const char *sql, const ChatglmJobArgs *args);

/* A column of a row that it gave; NULL for null.  Strings in the current context. */
extern char	 *chatglm_job_column(uint64 row, int column);
extern Datum  chatglm_job_datum(uint64 row, int column, bool *isnull);
extern char **chatglm_job_column_texts(uint64 row, int column, int *n);

/* The job of this name, in the current context; NULL: there is none. */
extern ChatglmJob *chatglm_job_find(const char *name, bool lock);

/* The same for who may change it: ERROR 42704, or 42501 for another's. */
extern ChatglmJob *chatglm_job_own(const char *name, bool lock);

/* Where we are: a job that was started elsewhere, and came here in a dump, waits. */
extern char *chatglm_job_home(void);

/* ---- job_xact.c ------------------------------------------------------------------ */

typedef struct ChatglmJobUser
{
	Oid user;
	int security;
} ChatglmJobUser;

/*
 * From here on with the rights of a job's owner (InvalidOid: nothing changes), whose code
 * leaves nothing in the session.  An error takes it back, too.
 */
extern void chatglm_job_become(Oid owner, ChatglmJobUser *before);
extern void chatglm_job_return(const ChatglmJobUser *before);

/* ---- job_options.c --------------------------------------------------------------- */

/* Reads argument "options" (NULL: none); ERROR 22023. */
extern void chatglm_job_read_options(Jsonb *options, ChatglmJobOptions *result);

/* ---- job_expression.c ------------------------------------------------------------ */

/*
 * Analyses the text of one expression over a row of the source.  `what` it is: "call", or
 * "where", a condition.  kept: names are qualified, and the row is called t.
 */
extern Node *chatglm_job_analyse(Relation source, const char *text, const char *what, bool kept);

/* Its text with all names qualified. */
extern char *chatglm_job_deparse(Relation source, Node *expression);

/*
 * The columns whose values it depends on, as attribute numbers; of one that reads whole
 * rows, all but the targets, and *whole is set.
 */
extern List *chatglm_job_inputs(const ChatglmJob *job, Relation source, Node *expression,
								bool *whole);

/* The source; ERROR 42P01 when it is gone. */
extern Relation chatglm_job_open_source(const ChatglmJob *job, LOCKMODE lock);

/* ---- job_query.c: statements with the rights of whoever runs them ---------------- */

/* The names in the text mean what they mean in pg_catalog. */
extern PlannedStmt *chatglm_job_plan(const char *sql, int n, const Oid *types,
									 ParamListInfo params);

/* A row of a result; false: no more of them are wanted. */
typedef bool (*ChatglmJobReader)(TupleTableSlot *row, void *arg);

/* Runs a plan; returns the number of rows.  snapshot may be InvalidSnapshot. */
extern uint64 chatglm_job_execute(PlannedStmt *plan, ParamListInfo params, Snapshot snapshot,
								  ChatglmJobReader read, void *arg);

extern ParamListInfo chatglm_job_params(int n, const Oid *types);

/* Dates and the like as text that every session reads alike, until the level ends. */
extern int chatglm_job_set_output(void);

/* ---- job_keys.c ------------------------------------------------------------------ */

typedef struct ChatglmJobKey
{
	char	  *name; /* quoted */
	AttrNumber attnum;
	Oid		   type;
	int32	   typmod;
	char	  *type_name; /* qualified */
	char	  *equal;	  /* operators, qualified */
	char	  *greater;
	Oid		   output;
	Oid		   input;
	Oid		   ioparam;
} ChatglmJobKey;

typedef struct ChatglmJobKeys
{
	int			   n;
	ChatglmJobKey *key;
} ChatglmJobKeys;

/* What the key columns are now; ERROR 42703 when one is gone. */
extern ChatglmJobKeys *chatglm_job_keys(Relation source, char **names, int n);

/* ERROR unless they are unique and never null. */
extern void chatglm_job_check_keys(Relation source, const ChatglmJobKeys *keys);

/* A key as one text, and back. */
extern char *chatglm_job_key_text(const ChatglmJobKeys *keys, const Datum *values);
extern void	 chatglm_job_key_values(const ChatglmJobKeys *keys, const char *key, Datum *values);

/* Number of a column; ERROR 42703 with a hint when there is none. */
extern AttrNumber chatglm_job_attnum(Relation source, const char *column, const char *what);

/* ---- job_sql.c: the statements on the source ------------------------------------- */

/* Keys of rows behind the place of a walk: parameters are a key's columns, if there is a place. */
extern char *chatglm_job_walk_sql(const ChatglmJob *job, Relation source,
								  const ChatglmJobKeys *keys, int limit);

/*
 * Number of a key and these columns (attribute numbers), of the rows of an array of keys.
 * Parameters are arrays, one for each key column.  lock: "", or a locking clause.
 */
extern char *chatglm_job_read_sql(const ChatglmJob *job, Relation source,
								  const ChatglmJobKeys *keys, const List *columns,
								  const char *lock);

/* Writes the targets of a row: parameters are their values, then the key. */
extern char *chatglm_job_store_sql(const ChatglmJob *job, Relation source,
								   const ChatglmJobKeys *keys);

/* An expression over rows in memory, an array of the source's row type. */
extern char *chatglm_job_compute_sql(const ChatglmJob *job);

/* All rows that the job is about, to be estimated. */
extern char *chatglm_job_count_sql(const ChatglmJob *job, Relation source);

/* The call over some of them. */
extern char *chatglm_job_sample_sql(const ChatglmJob *job, Relation source, int limit);

/* The types of parameters that are arrays of keys, or single keys. */
extern Oid *chatglm_job_key_types(const ChatglmJobKeys *keys, bool arrays);

/* ---- job_result.c: what an expression gives -------------------------------------- */

typedef struct ChatglmJobResult
{
	bool composite;
	int	 n_fields;
	int *field; /* of a composite: numbers of its attributes */
	Oid *types; /* of what goes into the targets */
	int	 error; /* attributes that tell of an error; 0: there are none */
	int	 sqlstate;
} ChatglmJobResult;

/* ERROR unless the targets can take it. */
extern ChatglmJobResult *chatglm_job_result(const ChatglmJob *job, Relation source,
											Node *expression);

/* Copies what goes into the targets; false: it tells of an error. */
extern bool chatglm_job_take_value(const ChatglmJobResult *result, int n_targets, Datum value,
								   bool isnull, Datum *values, bool *nulls, int *sqlstate,
								   char **message);

/* ---- job_flight.c: what the planner makes of an expression ----------------------- */

/* May it run without a snapshot? */
extern bool chatglm_job_needs_no_snapshot(const PlannedStmt *plan);

/* Are all calls of this plan kept in flight, and are there any? */
extern bool chatglm_job_in_flight(const PlannedStmt *plan);

/* Does the expression call the model? */
extern bool chatglm_job_asks(Node *expression);

#endif /* CHATGLM_JOBS_H */
