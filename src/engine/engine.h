/*
 * engine.h - the engine as its own threads see it: tickets, models, events.
 *
 * Included by engine.c (the host's door), outbox.c, models.c, front.c and
 * scheduler.c.  Who may touch what:
 *
 *	- a ticket belongs to the host until it is submitted, to the front thread
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

#include "draft.h"
#include "internal.h"
#include "job.h"
#include "prefix.h"

typedef struct glm_ticket
{
	glm_request *request;		/* the engine's copy; NULL while free */
	int64_t		deadline_ns;	/* CLOCK_MONOTONIC; 0 = none */
	atomic_bool cancelled;
	atomic_uint taken;			/* TOKEN events the reader has */
} glm_ticket;

/* Something to wait for: a flag that stays raised until it is waited for. */
typedef struct glm_signal
{
	pthread_mutex_t lock;
	pthread_cond_t raised_cond;
	bool		raised;
} glm_signal;

extern bool glm_signal_init(glm_signal *s);
extern void glm_signal_destroy(glm_signal *s);
extern void glm_signal_raise(glm_signal *s);
/* Waits until raised or until deadline_ns (0: for ever); lowers it. */
extern void glm_signal_wait(glm_signal *s, int64_t deadline_ns);

/* Now, in nanoseconds of CLOCK_MONOTONIC. */
extern int64_t glm_now_ns(void);

/* ---- outbox.c: events on their way to the host ------------------------ */

typedef struct glm_outbox
{
	pthread_mutex_t lock;
	pthread_cond_t room;		/* signalled when the host took something */
	uint8_t    *ring;
	size_t		head;			/* bytes ever taken */
	size_t		tail;			/* bytes ever put */
	int			fd;				/* eventfd, readable while the ring holds events */
	bool		closed;			/* the engine is going: drop everything */
} glm_outbox;

extern bool glm_outbox_open(glm_outbox *box, glm_error *err);
extern void glm_outbox_close(glm_outbox *box);	/* wakes and refuses writers */
extern void glm_outbox_free(glm_outbox *box);
/* Puts header and payload (header->length bytes); waits for room. */
extern void glm_outbox_put(glm_outbox *box, const glm_event *header, const void *payload);
extern bool glm_outbox_take(glm_outbox *box, glm_event *buf);

/* ---- models.c: which models are open ----------------------------------- */

typedef struct glm_models
{
	pthread_mutex_t lock;
	glm_model  *first;
	uint64_t	clock;			/* counts uses, for least-recently-used */
	size_t		memory_limit;	/* bytes of weight files; 0 = no limit */
	glm_weight_files *files;	/* those of all models */
	atomic_int	verify;			/* glm_verify of models whose options do not say */
	glm_kv_type kv_type;		/* set before the first is open */
	glm_prefix *prefix;			/* forgets a model that is closed; set before the first is open */
	uint64_t	generations;	/* models ever opened */
} glm_models;

extern bool glm_models_init(glm_models *models, size_t memory_limit, glm_verify verify);
extern void glm_models_free(glm_models *models);
/* The model of a request, loaded when need be, with one more reference. */
extern glm_model *glm_models_acquire(glm_models *models, const glm_request *req, glm_error *err);
extern void glm_models_release(glm_models *models, glm_model *model);
/* Unloads by name, at once or when the last reference goes. */
extern bool glm_models_unload(glm_models *models, const char *name, glm_error *err);
extern int	glm_models_list(glm_models *models, glm_model_info *out, int max);

/* ---- scheduler.c: sequences --------------------------------------------- */

/* On whose behalf sequences are computed; the engine thread's alone. */
typedef struct glm_tenant
{
	struct glm_tenant *next;
	uint32_t	id;				/* of requests */
	int			n_sequences;	/* running and waiting */
	uint64_t	served;			/* when one was last admitted */
	int			ahead_of_batch; /* interactive ones admitted while batch waited */
	/* of the admission or pass that is being planned: */
	int			n_active;		/* running and not paused */
	struct glm_sequence *next_of[2];	/* waiting ones: interactive, batch; NULL: none */
	bool		tried;
	int			turns;			/* dealt out to its sequences */
	int			prefill;		/* tokens of prompts that they lack */
	int			reserved;		/* of the prefill budget */
} glm_tenant;

/* A token as it was sampled. */
typedef struct glm_picked
{
	int32_t		token;
	float		logprob;		/* of streams */
} glm_picked;

typedef struct glm_sequence
{
	struct glm_sequence *next;
	int			ticket;
	const glm_request *request; /* the ticket's */
	glm_model  *model;			/* one reference */
	glm_tenant *tenant;
	uint64_t	arrival;		/* its number among all; with batch, its rank in the tenant */
	int			turn;			/* its number among its tenant's, see rank.c */
	int64_t		waits_since;	/* when it last came to wait */
	int			entitled;		/* tokens up to which it is not displaced */
	glm_ids		tokens;			/* prompt, then answer; room for `limit` */
	int			n_prompt;
	int			limit;			/* most tokens it may come to */
	int			n_computed;		/* positions whose KV is in place */
	int			n_cached;		/* of its prompt, found in the prefix cache */
	int			n_rows;			/* rows of its known tokens in the pass being run */
	uint32_t	pass;			/* its last one, as its model counts them */
	bool		chosen;			/* for the pass that is planned */
	bool		preempted;		/* once at least */
	glm_chain	chain;
	glm_foresight foresight;	/* what may come next; GLM_GENERATE only */
	int			n_accepted;		/* drafts that were right */
	float	   *logits;			/* of the pass just run; NULL: none */
	int			n_picked;		/* tokens sampled from them */
	glm_picked	picked[GLM_DRAFT_MAX + 1];
	glm_error	pick_error;		/* why there are no more */
	glm_sampler *sampler;		/* NULL for GLM_LOGITS, as are the next two */
	glm_decoder *decoder;
	glm_buf		text;			/* text not yet sent */
	uint32_t	made;			/* TOKEN events sent */
} glm_sequence;

/* Hands a sequence over to the engine thread.  Any thread. */
extern void glm_scheduler_add(glm_engine *engine, glm_sequence *seq);
extern void *glm_scheduler_main(void *engine);	/* the engine thread */
/* Frees a sequence that never reached the scheduler, or has left it. */
extern void glm_sequence_free(glm_engine *engine, glm_sequence *seq);

/* ---- front.c ------------------------------------------------------------ */

extern void *glm_front_main(void *engine);	/* the front thread */

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
	atomic_int	waiting;
	atomic_int	running;
	atomic_int	paused;
} glm_counters;

struct glm_engine
{
	int			max_sequences;
	int			n_tickets;
	glm_ticket *ticket;			/* [n_tickets] */
	int		   *free_ticket;	/* stack of free tickets, the host's alone */
	int			n_free;

	glm_outbox	outbox;
	glm_models	models;
	glm_kv_pool *kv;
	glm_prefix *prefix;			/* the pool's blocks, shared */
	glm_threads *threads;
	glm_forward *forward;
	glm_sequence **order;		/* [n_tickets], running ones by rank */
	int		   *turn_end;		/* [n_tickets], for sorting them */
	glm_row    *row;			/* [max_sequences + GLM_PREFILL_MAX], of one pass */
	glm_counters count;
	glm_job		job;
	atomic_bool stopping;
	atomic_int	step_delay_ms;
	atomic_int	prefill_budget;
	atomic_int	speculation;	/* glm_speculation */

	/* requests for the front thread: a ring of tickets, under front_lock */
	pthread_mutex_t front_lock;
	pthread_cond_t front_work;
	int		   *front_ring;		/* [n_tickets] */
	int			front_head;
	int			front_length;

	/* sequences for the engine thread: a list under inbox_lock, oldest first */
	pthread_mutex_t inbox_lock;
	glm_sequence *inbox;
	glm_sequence **inbox_end;
	glm_signal	wake;			/* raised when the engine thread has news */

	pthread_t	front_thread;
	pthread_t	engine_thread;
	bool		front_started;
	bool		engine_started;
};

/* Sends bytes as RESULT events, as many as it takes. */
extern void glm_send_result(glm_engine *engine, int ticket, const void *bytes, size_t n);
/* The terminal events: free the ticket's request; the ticket is the host's again. */
extern void glm_send_usage(glm_engine *engine, int ticket, glm_finish finish,
						   const glm_event *usage);
extern void glm_send_done(glm_engine *engine, int ticket, glm_finish finish,
						  int prompt_tokens, int completion_tokens);
extern void glm_send_error(glm_engine *engine, int ticket, const glm_error *err);

/* Has this request been cancelled, or is its time up?  Says so in *err. */
extern bool glm_ticket_ended(const glm_ticket *ticket, glm_error *err);

#endif							/* GLM_ENGINE_H */
