/*
 * engine.h - the engine as its own threads see it: tickets, models, events.
 *
 * Included by engine.c (the host's door), outbox.c, models.c, tasks.c, turns.c,
 * front.c, loader.c and scheduler.c.  Who may touch what:
 *
 *	- a ticket belongs to the host until it is submitted, to its task in the front
 *	  until the request is answered or becomes a sequence, then to the engine
 *	  thread, and to the host again once its terminal event was polled.  Only
 *	  `cancelled` and `taken` are written by the host in between;
 *	- the model list is under models.lock; a model's weights and tokenizer are
 *	  immutable and live while refs > 0;
 *	- sequences belong to the engine thread from the moment they are handed over.
 *
 * Every lock here guards a few pointer moves, so that the host never waits for
 * computation, and a fault in an engine thread cannot leave one held.
 */
#ifndef GLM_ENGINE_H
#define GLM_ENGINE_H

#include <pthread.h>

#include "engine/serve/draft.h"
#include "engine/internal.h"
#include "engine/serve/job.h"
#include "engine/serve/prefix.h"

typedef struct glm_ticket
{
	glm_request *request;	  /* the engine's copy; NULL while free */
	int64_t		 deadline_ns; /* CLOCK_MONOTONIC; 0 = none */
	atomic_bool	 cancelled;
	atomic_uint	 taken;		/* TOKEN events the reader has */
	atomic_uint	 generated; /* tokens of the answer so far */
} glm_ticket;

/* Something to wait for: a flag that stays raised until it is waited for. */
typedef struct glm_signal
{
	pthread_mutex_t lock;
	pthread_cond_t	raised_cond;
	bool			raised;
} glm_signal;

extern bool glm_signal_init(glm_signal *s);
extern void glm_signal_destroy(glm_signal *s);
extern void glm_signal_raise(glm_signal *s);
/* Waits until raised or until deadline_ns (0: for ever); lowers it. */
extern void glm_signal_wait(glm_signal *s, int64_t deadline_ns);

/* A condition that is waited for until a time of CLOCK_MONOTONIC; 0: for ever. */
extern bool glm_cond_init(pthread_cond_t *cond);
extern void glm_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ns);

/* Starts a thread that nobody joins. */
extern bool glm_thread_start(void *(*thread_main)(void *), void *arg);

/* Of threads that must not take the CPUs from forward passes. */
#define GLM_NICENESS 10

/* Now, in nanoseconds of CLOCK_MONOTONIC. */
extern int64_t glm_now_ns(void);

/* ---- outbox.c: events on their way to the host ------------------------ */

typedef struct glm_outbox
{
	pthread_mutex_t lock;
	pthread_cond_t	room; /* signalled when the host took something */
	uint8_t		   *ring;
	size_t			head;	/* bytes ever taken */
	size_t			tail;	/* bytes ever put */
	int				fd;		/* eventfd, readable while the ring holds events */
	bool			closed; /* the engine is going: drop everything */
} glm_outbox;

extern bool glm_outbox_open(glm_outbox *box, glm_error *err);
extern void glm_outbox_close(glm_outbox *box); /* wakes and refuses writers */
extern void glm_outbox_free(glm_outbox *box);
/* Puts header and payload (header->length bytes); waits for room. */
extern void glm_outbox_put(glm_outbox *box, const glm_event *header, const void *payload);
extern bool glm_outbox_take(glm_outbox *box, glm_event *buf);

/* ---- models.c: which models are open ----------------------------------- */

typedef struct glm_models
{
	pthread_mutex_t	  lock;
	glm_model		 *first;
	uint64_t		  clock;		/* counts uses, for least-recently-used */
	size_t			  memory_limit; /* bytes of weight files; 0 = no limit */
	glm_weight_files *files;		/* those of all models */
	atomic_int		  verify;		/* glm_verify of models whose options do not say */
	glm_kv_type		  kv_type;		/* set before the first is open */
	glm_prefix		 *prefix; /* forgets a model that is closed; set before the first is open */
	void (*closer)(void *arg, glm_model *model); /* closes elsewhere; NULL: at once */
	void	*closer_arg;
	uint64_t generations; /* models ever opened */
} glm_models;

extern bool glm_models_init(glm_models *models, size_t memory_limit, glm_verify verify);
extern void glm_models_free(glm_models *models);
/*
 * The model of a request with one more reference, NULL when it is to be opened, with
 * *options.  False: the request asks for what cannot be.
 */
extern bool glm_models_find(glm_models *models, const glm_request *req, glm_open_options *options,
							glm_model **model, glm_error *err);
/* Opens a model, with one reference; other models may make way. */
extern glm_model *glm_models_load(glm_models *models, const char *name, const char *path,
								  const glm_open_options *options, glm_error *err);
/* One more reference. */
extern void		  glm_models_keep(glm_models *models, glm_model *model);
extern void		  glm_models_release(glm_models *models, glm_model *model);
/*
 * Unloads the model of a request, at once or when the last reference goes.  Without a
 * path: those of its name that no origin but the request's has named.
 */
extern bool		  glm_models_unload(glm_models *models, const glm_request *req, glm_error *err);
/* Closes a model that is in no list and of whose prefix cache nothing is left. */
extern void		  glm_models_close(glm_model *model);
extern int		  glm_models_list(glm_models *models, glm_model_info *out, int max);

/* ---- scheduler.c: sequences --------------------------------------------- */

/* On whose behalf sequences are computed; the engine thread's alone. */
typedef struct glm_tenant
{
	struct glm_tenant	*next;
	uint32_t			 id;			 /* of requests */
	int					 n_sequences;	 /* running and waiting */
	uint64_t			 served;		 /* when one was last admitted */
	int					 ahead_of_batch; /* interactive ones admitted while batch waited */
	/* of the admission or pass that is being planned: */
	int					 n_active;	 /* running and not paused */
	struct glm_sequence *next_of[2]; /* waiting ones: interactive, batch; NULL: none */
	bool				 tried;
	int					 turns;	   /* dealt out to its sequences */
	int					 prefill;  /* tokens of prompts that they lack */
	int					 reserved; /* of the prefill budget */
} glm_tenant;

/* A token as it was sampled. */
typedef struct glm_picked
{
	int32_t token;
	float	logprob; /* of streams */
} glm_picked;

typedef struct glm_sequence
{
	struct glm_sequence *next;
	int					 ticket;
	const glm_request	*request; /* the ticket's */
	glm_model			*model;	  /* one reference */
	glm_tenant			*tenant;
	uint64_t			 arrival;	  /* its number among all; with batch, its rank in the tenant */
	int					 turn;		  /* its number among its tenant's, see rank.c */
	int64_t				 waits_since; /* when it last came to wait */
	int					 entitled;	  /* tokens up to which it is not displaced */
	glm_ids				 tokens;	  /* prompt, then answer; room for `limit` */
	int					 n_prompt;
	int					 limit;		 /* most tokens it may come to */
	int					 n_computed; /* positions whose KV is in place */
	int					 n_cached;	 /* of its prompt, found in the prefix cache */
	int					 n_rows;	 /* rows of its known tokens in the pass being run */
	uint32_t			 pass;		 /* its last one, as its model counts them */
	bool				 chosen;	 /* for the pass that is planned */
	bool				 preempted;	 /* once at least */
	glm_chain			 chain;
	glm_foresight		 foresight;	 /* what may come next; GLM_GENERATE only */
	glm_learnt			*learnt;	 /* by answers of its scope; NULL: by none */
	int					 n_accepted; /* drafts that were right */
	float				*logits;	 /* of the pass just run; NULL: none */
	int					 n_picked;	 /* tokens sampled from them */
	glm_picked			 picked[GLM_DRAFT_MAX + 1];
	glm_error			 pick_error; /* why there are no more */
	glm_sampler			*sampler;	 /* NULL for GLM_LOGITS, as are the next two */
	glm_decoder			*decoder;
	glm_buf				 text; /* text not yet sent */
	uint32_t			 made; /* TOKEN events sent */
} glm_sequence;

/* Hands a sequence over to the engine thread.  Any thread. */
extern void	 glm_scheduler_add(glm_engine *engine, glm_sequence *seq);
extern void *glm_scheduler_main(void *engine); /* the engine thread */
/* Frees a sequence that never reached the scheduler, or has left it. */
extern void	 glm_sequence_free(glm_engine *engine, glm_sequence *seq);

/* ---- tasks.c, turns.c: requests that are being made ready ----------------- */

typedef struct glm_loading glm_loading; /* see loader.c */

typedef enum glm_task_state
{
	GLM_TASK_NONE = 0,
	GLM_TASK_QUEUED, /* not begun, or parked */
	GLM_TASK_FAST,
	GLM_TASK_READY, /* slow, waits for its turn */
	GLM_TASK_SLOW
} glm_task_state;

/* On whose behalf tasks run. */
typedef struct glm_task_tenant
{
	uint32_t id;	  /* of requests */
	int		 n_tasks; /* 0: nobody's entry */
	int		 n_slow;  /* of them, in the slow lane */
	uint64_t turn;	  /* the number of its last */
} glm_task_tenant;

/* A request until it is answered or a sequence; one a ticket. */
typedef struct glm_task
{
	struct glm_task *next; /* in the queue, or of those that are ready */
	glm_engine		*engine;
	int				 ticket;
	glm_task_state	 state;
	uint64_t		 arrival;
	glm_task_tenant *tenant;
	bool			 large;	   /* goes to the slow lane at once */
	int64_t			 slice_ns; /* when its turn began */
	int64_t			 cpu_ns;   /* of its thread then, in the fast lane */
	pthread_cond_t	 turn;	   /* signalled when it may have one, or should look */
	/* how far it is */
	bool			 checked;  /* its texts */
	bool			 verified; /* its model, as GLM_LOAD asks for */
	bool			 held;	   /* its model was brought into memory */
	glm_loading		*loading;  /* it is parked on, or was */
	glm_sequence	*sequence; /* made; its model is not in memory yet */
} glm_task;

typedef struct glm_front
{
	pthread_mutex_t	 lock;
	pthread_cond_t	 work; /* the fast thread waits for tasks */
	pthread_cond_t	 gone; /* a thread has ended */
	int				 n_slots;
	glm_task		*task;		/* [n_slots], by ticket */
	glm_task_tenant *tenant;	/* [n_slots] */
	int				 n_tenants; /* the last one with tasks, and 1 */
	glm_task		*queue;		/* by arrival */
	glm_task		*ready;		/* those that wait longest first */
	glm_task		*slow;		/* whose turn it is in the slow lane */
	atomic_int		 n_ready;
	atomic_int		 n_tasks; /* in whatever state */
	int				 n_threads;
	int				 n_loaders; /* threads of loadings */
	uint64_t		 turns;
	uint64_t		 arrivals;
	glm_loading		*loadings; /* that are not done */
} glm_front;

extern bool glm_front_open(glm_engine *engine, int n_tickets, glm_error *err);
extern bool glm_front_start(glm_engine *engine);
/* Ends the threads; engine->stopping is set. */
extern void glm_front_stop(glm_engine *engine);
extern void glm_front_close(glm_engine *engine);
/* A ticket that was submitted. */
extern void glm_front_add(glm_engine *engine, int ticket);
/* Has it look at a ticket that was cancelled, if it has it. */
extern void glm_front_poke(glm_engine *engine, int ticket);

/* ---- front.c: what a task does -------------------------------------------- */

typedef enum glm_outcome_kind
{
	GLM_TASK_FAILED = 0,
	GLM_TASK_GOES_ON, /* not over */
	GLM_TASK_PARKED,  /* to be begun again when task->loading is done */
	GLM_TASK_ANSWERED,
	GLM_TASK_SEQUENCED, /* for the scheduler */
	GLM_TASK_QUANTIZES	/* for a job */
} glm_outcome_kind;

typedef struct glm_outcome
{
	glm_outcome_kind end;
	glm_error		 err;	   /* FAILED */
	int				 tokens;   /* ANSWERED: usage */
	glm_sequence	*sequence; /* SEQUENCED */
} glm_outcome;

/* Works on a task until it is over or parked. */
extern void glm_task_run(glm_engine *engine, glm_task *task, glm_outcome *outcome);
/* What is left to do when the ticket is no task any more. */
extern void glm_task_finish(glm_engine *engine, int ticket, glm_outcome *outcome);

/* ---- loader.c: models on their way ----------------------------------------- */

/* The request's model with a reference, or the task is parked until it is open. */
extern glm_outcome_kind glm_loader_find(glm_engine *engine, glm_task *task, const glm_request *req,
										glm_model **model, glm_error *err);
/* GOES_ON when all of it is in memory, or the task is parked until then. */
extern glm_outcome_kind glm_loader_hold(glm_engine *engine, glm_task *task, glm_model *model,
										glm_error *err);
/* For glm_models.closer; arg is the engine. */
extern void				glm_loader_close(void *engine, glm_model *model);

extern bool glm_loading_done(const glm_loading *loading);
/* Did one that is done come to a good end? */
extern bool glm_loading_good(const glm_loading *loading, glm_error *err);
/* A task does not wait for it any more. */
extern void glm_loading_drop(glm_engine *engine, glm_loading *loading);

/* ---- the engine ----------------------------------------------------------- */

typedef struct glm_counters
{
	atomic_ullong requests;
	atomic_ullong completed;
	atomic_ullong failed;
	atomic_ullong cancelled;
	atomic_ullong prompt_tokens;
	atomic_ullong cached_tokens;
	atomic_ullong completion_tokens;
	atomic_ullong preemptions;
	atomic_ullong steps;
	atomic_ullong step_ns;
	atomic_int	  waiting;
	atomic_int	  running;
	atomic_int	  paused;
} glm_counters;

struct glm_engine
{
	int			max_sequences;
	int			n_tickets;
	glm_ticket *ticket;		 /* [n_tickets] */
	int		   *free_ticket; /* stack of free tickets, the host's alone */
	int			n_free;

	glm_outbox	   outbox;
	glm_models	   models;
	glm_kv_pool	  *kv;
	glm_prefix	  *prefix; /* the pool's blocks, shared */
	glm_threads	  *threads;
	glm_forward	  *forward;
	glm_sequence **order;	 /* [n_tickets], running ones by rank */
	int			  *turn_end; /* [n_tickets], for sorting them */
	glm_row		  *row;		 /* [max_sequences + GLM_PREFILL_MAX], of one pass */
	glm_counters   count;
	glm_job		   job;
	atomic_bool	   stopping;
	atomic_int	   step_delay_ms;
	atomic_int	   prefill_budget;
	atomic_int	   speculation; /* glm_speculation */

	glm_front front;

	/* sequences for the engine thread: a list under inbox_lock, oldest first */
	pthread_mutex_t inbox_lock;
	glm_sequence   *inbox;
	glm_sequence  **inbox_end;
	glm_signal		wake; /* raised when the engine thread has news */

	pthread_t engine_thread;
	bool	  engine_started;
};

/* Sends bytes as RESULT events, as many as it takes. */
extern void glm_send_result(glm_engine *engine, int ticket, const void *bytes, size_t n);
/* The terminal events: free the ticket's request; the ticket is the host's again. */
extern void glm_send_usage(glm_engine *engine, int ticket, glm_finish finish,
						   const glm_event *usage);
extern void glm_send_done(glm_engine *engine, int ticket, glm_finish finish, int prompt_tokens,
						  int completion_tokens);
extern void glm_send_error(glm_engine *engine, int ticket, const glm_error *err);

/* Has this request been cancelled, or is its time up?  Says so in *err. */
extern bool glm_ticket_ended(const glm_ticket *ticket, glm_error *err);

#endif /* GLM_ENGINE_H */
