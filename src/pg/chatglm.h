/*
 * chatglm.h - what the files of src/pg share with each other.
 *
 * Two kinds of process run this code.  A *backend* checks arguments, submits
 * requests and emits rows (sqlfuncs.c, stream.c over request.c).  The *worker*
 * (worker.c), one per cluster, owns the engine.  Between them lie the main
 * shared memory (ChatglmShared, shmem.c) and one dynamic shared memory segment
 * per backend session with a request queue, a reply queue and a header of
 * words that both sides touch without locks.
 */
#ifndef CHATGLM_H
#define CHATGLM_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "port/atomics.h"
#include "storage/dsm.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/array.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "engine/glm.h"

/* ---- guc.c ----------------------------------------------------------- */

/* postmaster */
extern int	  chatglm_kv_cache_size; /* MB */
extern int	  chatglm_kv_cache_type; /* glm_kv_type */
extern int	  chatglm_memory_limit;	 /* MB, 0 = none */
extern int	  chatglm_max_sequences;
extern int	  chatglm_max_queue;
extern int	  chatglm_queue_memory; /* MB */
extern int	  chatglm_threads;		/* 0 = one a CPU */
extern char	 *chatglm_cpu_affinity; /* "" = all */
extern char	 *chatglm_device;		/* auto, cpu */
extern char	 *chatglm_kernels;		/* auto, scalar, avx2, avx512, neon */
/* sighup */
extern char	 *chatglm_model_dir;		/* empty: share/extension's chatglm/models */
extern int	  chatglm_verify;			/* glm_verify */
extern int	  chatglm_speculation;		/* glm_speculation */
extern int	  chatglm_prefill_budget;	/* tokens a step */
extern int	  chatglm_debug_step_delay; /* ms after every engine step, for tests */
/* superuser */
extern int	  chatglm_prefix_sharing; /* ChatglmSharing */
/* user */
extern char	 *chatglm_model; /* default: tiny-chatglm3 */
extern int	  chatglm_max_tokens;
extern double chatglm_temperature;
extern int	  chatglm_request_timeout; /* ms, 0 = none */
extern int	  chatglm_prefetch;		   /* rows in flight; 1 = one by one */

/* Who finds in the prefix cache what a request left there. */
typedef enum ChatglmSharing
{
	CHATGLM_SHARING_ROLE, /* requests of the same role in the same database */
	CHATGLM_SHARING_ALL,  /* all that are set so */
	CHATGLM_SHARING_OFF	  /* nobody */
} ChatglmSharing;

extern void chatglm_define_gucs(void);

/* Says so, at this level, when chatglm.model_dir is no directory that can be read. */
extern void chatglm_check_directory(int elevel, const char *path);

/* ---- shmem.c --------------------------------------------------------- */

#define CHATGLM_SESSION_REQUESTS 64	   /* requests in flight in one session */
#define CHATGLM_QUEUE_SIZE (32 * 1024) /* bytes of each shm_mq */
#define CHATGLM_PIECE_SIZE 8192		   /* most bytes of a block in one message */
#define CHATGLM_MAX_MODELS 128		   /* loaded models that views know of */

/*
 * One request of a session, as both sides see it without a lock.  The backend
 * fills a free entry and sets its id last; the worker sets the id back to 0
 * when it has nothing more to do for the request.  Only while id is its own
 * may a backend write the other words.
 */
typedef struct ChatglmRequestWords
{
	pg_atomic_uint64 cancel;	/* id of the request to cancel; 0 = none */
	pg_atomic_uint64 id;		/* id of the request living here; 0 = free */
	pg_atomic_uint32 taken;		/* TOKEN events its backend has read */
	Oid				 role;		/* who asks; written before the id, as is the next */
	bool			 in_flight; /* one of several rows that are asked together */
	int				 place;		/* that it has taken, see room.c */
} ChatglmRequestWords;

/*
 * A message of the request queue: so many bytes of a request's block, in order, from
 * the first one on.  A block goes in pieces so that neither side needs a buffer for a whole
 * one, and that the rest of one which nobody wants any more need not be sent.
 */
typedef struct ChatglmPiece
{
	uint64 id;	   /* of the request */
	uint32 size;   /* of its block */
	uint32 offset; /* of this piece in it */
	char   bytes[FLEXIBLE_ARRAY_MEMBER];
} ChatglmPiece;

#define CHATGLM_PIECE_HEADER offsetof(ChatglmPiece, bytes)

/* Start of a session's segment; the request and the reply queue follow. */
typedef struct ChatglmSessionHeader
{
	pg_atomic_uint32	doorbell; /* set by the backend: look at the words below */
	Oid					database; /* of the session */
	ChatglmRequestWords words[CHATGLM_SESSION_REQUESTS];
} ChatglmSessionHeader;

#define CHATGLM_SEGMENT_SIZE (MAXALIGN(sizeof(ChatglmSessionHeader)) + 2 * CHATGLM_QUEUE_SIZE)

/* Where the two queues of a segment lie. */
static inline void *
chatglm_request_queue(ChatglmSessionHeader *header)
{
	return (char *) header + MAXALIGN(sizeof(ChatglmSessionHeader));
}

static inline void *
chatglm_reply_queue(ChatglmSessionHeader *header)
{
	return (char *) chatglm_request_queue(header) + CHATGLM_QUEUE_SIZE;
}

typedef enum ChatglmSlotState
{
	CHATGLM_SLOT_FREE = 0,
	CHATGLM_SLOT_NEW, /* backend made the segment, worker has not seen it */
	CHATGLM_SLOT_ATTACHED
} ChatglmSlotState;

/* A session's place; its index is the process number of the backend. */
typedef struct ChatglmSlot
{
	ChatglmSlotState state;
	pid_t			 pid; /* of the backend */
	dsm_handle		 handle;
} ChatglmSlot;

/* One request the worker knows, for glm_stat_requests. */
typedef struct ChatglmRequestStat
{
	uint64 id;	/* 0 = entry unused */
	pid_t  pid; /* of the backend */
	Oid	   role;
	Oid	   database;
	uint16 kind; /* glm_kind */
	uint16 form; /* glm_form */
	bool   stream;
	bool   in_flight; /* a row of GlmBatch or glm_generate_batch */
	char   model[NAMEDATALEN];
	int64  started_us; /* TimestampTz */
	int32  tokens;	   /* generated so far */
	bool   cancel;	   /* somebody wants it cancelled */
} ChatglmRequestStat;

typedef struct ChatglmShared
{
	LWLock			*lock;				  /* everything but the atomics */
	pid_t			 worker_pid;		  /* 0: no worker */
	Latch			*worker_latch;		  /* NULL: no worker */
	bool			 worker_cannot_start; /* worker_error says why */
	TimestampTz		 worker_started;
	char			 worker_error[256]; /* why the last worker ended, or empty */
	pg_atomic_uint32 generation;		/* changes when a worker comes or goes */
	pg_atomic_uint64 next_id;			/* of requests, cluster-wide */
	pg_atomic_uint32 news;				/* set: a slot is NEW or a stat says cancel */

	glm_stats	   stats;	 /* copied here by the worker */
	glm_progress   progress; /* of the quantize job; id 0: none */
	int			   n_models;
	glm_model_info model[CHATGLM_MAX_MODELS];
	int			   n_requests; /* entries of the array below */
	int			   n_slots;
	/* ChatglmSlot[n_slots] and ChatglmRequestStat[n_requests] follow */
} ChatglmShared;

extern ChatglmShared *chatglm_shared; /* NULL: not in shared_preload_libraries */

extern void				   chatglm_shmem_init(void); /* installs the hooks */
extern ChatglmSlot		  *chatglm_slots(void);
extern ChatglmRequestStat *chatglm_request_stats(void);

/* Makes the worker, if there is one, look around.  Never fails. */
extern void chatglm_wake_worker(void);

/* ERROR with the HINT that says how, unless chatglm was preloaded. */
extern void chatglm_require_preload(void);

/* ---- request.c: a backend's requests ---------------------------------- */

/* Whose turn comes first in the worker. */
typedef enum ChatglmPriority
{
	CHATGLM_PRIORITY_UNSAID = 0, /* batch for rows of GlmBatch, else interactive */
	CHATGLM_PRIORITY_INTERACTIVE,
	CHATGLM_PRIORITY_BATCH
} ChatglmPriority;

/* What becomes of an answer that max_tokens or the context cut. */
typedef enum ChatglmOnLength
{
	CHATGLM_ON_LENGTH_KEEP = 0,
	CHATGLM_ON_LENGTH_NULL,
	CHATGLM_ON_LENGTH_ERROR
} ChatglmOnLength;

/*
 * What a call wants, before it becomes a glm_request.  NULL strings are
 * absent; zero-initialize and use chatglm_call_defaults().
 */
typedef struct ChatglmCall
{
	glm_kind		kind;
	glm_form		form;
	const char	   *model;		   /* resolved name */
	const char	   *path;		   /* resolved directory */
	const char	   *model_options; /* JSON text; GLM_QUANTIZE: its own options */
	const char	   *target;		   /* GLM_QUANTIZE: directory to write */
	const char	   *text;
	Size			text_length;
	const char	   *system;
	const char	   *tools; /* JSON text */
	StringInfo		stop;  /* strings, each with its NUL; NULL = none */
	const int32	   *tokens;
	int				n_tokens;
	int				max_tokens;
	int				top_k;
	double			temperature;
	double			top_p;
	double			min_p;
	double			repetition_penalty;
	uint64			seed;
	int				timeout_ms;
	bool			stream;
	bool			add_special;
	ChatglmPriority priority;
	bool			in_flight;	   /* one of several rows that are asked for at a time */
	bool			unshared;	   /* options.cache = false */
	bool			tools_offered; /* the answer may be a call */
	ChatglmOnLength on_length;	   /* of no concern to the worker */
	glm_truncate	truncate;
} ChatglmCall;

typedef struct ChatglmRequest ChatglmRequest;

/* Fills the sampling fields from the GUCs and the documented defaults. */
extern void chatglm_call_defaults(ChatglmCall *call, glm_kind kind);

/* The call as one block of bytes, allocated in this context (call.c). */
extern glm_request *chatglm_call_block(const ChatglmCall *call, uint64 id, MemoryContext context);

/*
 * Sends a request.  It belongs to the current subtransaction and is cancelled
 * when that aborts; otherwise the caller must release it.  Connects the
 * session to the worker first when needed; waits up to three seconds for a
 * worker that is just restarting.  Rows in flight and batch calls wait for room in
 * the queue and in the session.  ERRORs: no preload, no worker; no room.
 */
extern ChatglmRequest *chatglm_submit(const ChatglmCall *call);

/*
 * The next event of a request: TOKEN, RESULT or DONE; waits with interrupts.
 * The event is good until the next call for the same request.  An ERROR event
 * is thrown as a PostgreSQL ERROR, and so is the loss of the worker.  After
 * DONE it must not be called again.
 */
extern const glm_event *chatglm_next_event(ChatglmRequest *request);

/* The same without waiting: NULL when nothing is there yet. */
extern const glm_event *chatglm_try_event(ChatglmRequest *request);

/* Files what has come for any request, without waiting and without throwing it. */
extern void chatglm_look(void);

/* Waits until there may be something to look for; serves interrupts. */
extern void chatglm_wait(void);

/* Is there more to come from the worker than chatglm_look() has filed? */
extern bool chatglm_request_running(const ChatglmRequest *request);

/* Did its subtransaction's abort end it? */
extern bool chatglm_request_rolled_back(const ChatglmRequest *request);

/* How many requests of this session are running: in all, or those in flight, or the others. */
extern int chatglm_requests_running(void);
extern int chatglm_requests_running_as(bool in_flight);

/* Would another row in flight find room, so that it need not wait? */
extern bool chatglm_room_for_row(void);

/* Ends a request; cancels it when it is not done.  Never fails, never blocks. */
extern void chatglm_release(ChatglmRequest *request);

extern uint64 chatglm_request_id(const ChatglmRequest *request);

/* ---- errors.c ---------------------------------------------------------- */

/*
 * The time of one request is up: nobody wants the query to end, so PL/pgSQL's
 * OTHERS shall catch it, as it does not catch ERRCODE_QUERY_CANCELED.
 */
#define CHATGLM_ERRCODE_TIMED_OUT MAKE_SQLSTATE('5', '7', 'T', '0', '1')

/* Ereport for an engine status: SQLSTATE, message, hint (may be NULL or ""). */
extern void chatglm_ereport(int elevel, glm_status status, const char *message, const char *hint);

/*
 * Throws an ERROR event: its payload is message NUL hint NUL, and two more NULs are always
 * behind it.  Of a model's path (may be NULL) only who may see it is told.
 */
extern void chatglm_throw_event(const glm_event *event, const char *model, const char *path)
	pg_attribute_noreturn();

/* ---- encoding.c -------------------------------------------------------- */

/*
 * UTF-8 bytes in the database's encoding, whatever they are: what that cannot hold
 * becomes \uXXXX, what is no UTF-8 a question mark.  For what is shown about others,
 * and for errors; never fails for its contents.
 */
extern char *chatglm_any_to_server_lossy(const char *bytes, Size length);
extern char *chatglm_shown(const char *utf8); /* the same of a string */
/* ERROR: more than GLM_REQUEST_MAX bytes.  In call.c. */
extern void	 chatglm_request_too_large(void) pg_attribute_noreturn();

/* ---- catalog.c: names of models --------------------------------------- */

typedef struct ChatglmModelRef
{
	char *name;
	char *path;
	char *options;	  /* JSON text or NULL */
	bool  registered; /* a row; else a directory */
} ChatglmModelRef;

/*
 * Resolves a model's name (NULL: chatglm.model) to its directory: a row of
 * chatglm.model, else a directory of that name under chatglm.model_dir.
 * ERROR 42704 when there is neither, 22004 for a row without a path, 42602 for a name that is no name
 * (empty, over 63 bytes, slashes, leading dot, control characters).
 */
extern ChatglmModelRef chatglm_resolve_model(const char *name);

/* Would chatglm_resolve_model() find it? */
extern bool chatglm_model_exists(const char *name);

/* Names under chatglm.model_dir that hold a config.json; a List of char *. */
extern List *chatglm_model_dir_names(void);
/* chatglm.model_dir, or its default under the share directory. */
extern char *chatglm_model_dir_path(void);

/* ---- stream.c --------------------------------------------------------- */

extern void chatglm_stream_init(void); /* planner hook, custom scan */

/* ---- batch_plan.c, batch.c --------------------------------------------- */

extern void chatglm_batch_init(void); /* planner hook, custom scan */

/* ---- batch_run.c ------------------------------------------------------- */

extern void chatglm_run_init(void); /* executor hook */

/* ---- args.c: the common tail ...G of the generating functions ------- */

/*
 * Reads the ten arguments model, system, max_tokens, temperature, top_p,
 * top_k, seed, stop, response_format, options that start at values[0] into
 * *call (resolving the model), checking every range.  Used by plain
 * functions, by value-per-call streams and by the custom scan alike.
 */
#define CHATGLM_N_TAIL 10
extern void chatglm_read_tail(ChatglmCall *call, const NullableDatum *values);

/* ---- worker.c --------------------------------------------------------- */

extern PGDLLEXPORT void chatglm_worker_main(Datum arg);
extern void				chatglm_worker_register(void);

#endif /* CHATGLM_H */
