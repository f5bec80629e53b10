/*
 * engine.h - the engine as its own threads see it: tickets, models, events.
 *
 * Who may touch what:
 *
 *	- a ticket belongs to the host until it is submitted, to its task in the intake
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

#include "engine/base/clock.h"
#include "engine/compute/forward.h"
#include "engine/serve/intake.h"
#include "engine/serve/job.h"
#include "engine/serve/kv.h"

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
	atomic_ullong followed;
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

	glm_outbox		outbox;
	glm_models		models;
	glm_home		home[GLM_MOST_PLACES]; /* [n_homes]: of models, by their places */
	int				n_homes;
	glm_threads	   *threads;
	glm_forward	   *forward;
	glm_device_info device;			 /* that computes; of several, all of them */
	char			device_why[256]; /* see glm_stats */
	char			kernels[16];	 /* the CPU's, as the configuration names them */
	/*
	 * The device is gone, and the requests with it; the reason is written before, under
	 * device_lock.
	 */
	atomic_bool		lost;
	glm_error		lost_why;
	pthread_mutex_t device_lock; /* of what loading threads do with the device once */
	glm_sequence  **ranked;		 /* [n_tickets], running ones by rank */
	int			   *rank_counts; /* [n_tickets], for sorting them */
	int64_t			sampled_ns;	 /* when the last pass had its tokens */
	glm_counters	count;
	glm_job			job;
	atomic_bool		stopping;
	atomic_int		step_delay_ms;
	atomic_int		prefill_budget;
	atomic_int		speculation; /* glm_speculation */
	bool			tuning;		 /* the host thread's */
	atomic_bool		huge_pages;	 /* weights may move to them */

	glm_intake intake;

	/* sequences for the engine thread: a list under inbox_lock, oldest first */
	pthread_mutex_t inbox_lock;
	glm_sequence   *inbox;
	glm_sequence  **inbox_end;
	glm_signal		wake; /* raised when the engine thread has news */

	pthread_t engine_thread;
	bool	  engine_started;
};

/* device.c: opens forward, homes and picks on the device; closes what there is of them. */
extern bool			glm_device_open(glm_engine *e, const glm_config *config, glm_error *err);
extern void			glm_device_close(glm_engine *e);
/* Makes a model resident where there is room, and says where; idle ones make way. */
extern glm_weights *glm_device_load(glm_engine *e, glm_served *served, glm_error *err);
/* Something came or went: looks what is free. */
extern void			glm_device_count_free(glm_engine *e);
/* What the devices have and hold, in *out; bytes of KV of all of them. */
extern void			glm_device_describe(glm_engine *e, glm_stats *out);
/* Something failed: is the device lost, for this reason? */
extern void			glm_device_look(glm_engine *e, const glm_error *err);

#endif /* GLM_ENGINE_H */
