/*
 * models.h - models that are served: which are open, who uses them, what they came to.
 */
#ifndef GLM_MODELS_H
#define GLM_MODELS_H

#include <pthread.h>

#include "engine/compute/forward.h"
#include "engine/constrain/constrain.h"
#include "engine/serve/pick_room.h"
#include "engine/serve/prefix.h"

/* What a model's sequences came to, for statistics. */
typedef struct glm_model_counters
{
	atomic_ullong prompt_tokens;  /* of all prompts */
	atomic_ullong cached_tokens;  /* of those, found in the prefix cache */
	atomic_ullong prefill_tokens; /* computed, again after a preemption too */
	atomic_ullong completion_tokens;
	atomic_ullong draft_tokens;	   /* of drafts, computed in advance */
	atomic_ullong accepted_tokens; /* of those, right */
	atomic_ullong preemptions;
} glm_model_counters;

/* What computing a row costs; for attention, a position that it attends to. */
typedef struct glm_pass_cost
{
	uint64_t matmul_ops;
	uint64_t matmul_bytes; /* of all weights of layers, once a pass */
	uint64_t attention_ops;
	uint64_t kv_bytes;
	uint64_t head_ops;
	uint64_t head_bytes;
} glm_pass_cost;

/* Whose turn it is among models. */
typedef struct glm_runtime
{
	uint32_t	  passes;	  /* so far */
	int64_t		  virtual_ns; /* time of its passes, see scheduler.c */
	int64_t		  last_ns;	  /* what the last one took, or about that */
	glm_pass_cost cost;		  /* all 0 before the first, see account.c */
} glm_runtime;

/*
 * Where models are resident, a device or several together, with the KV blocks of those that
 * are: a place of the backend's.
 */
typedef struct glm_home
{
	glm_forward	   *forward;
	int				place;
	glm_device_info info;		/* as it was opened */
	glm_kv_pool	   *kv;			/* bytes are those of each of its devices */
	glm_prefix	   *prefix;		/* the pool's blocks, shared */
	atomic_bool		kv_taken;	/* the pool has its memory; set under device_lock */
	atomic_ullong	bytes_free; /* when that was last looked at */
	atomic_int		models;
	/* of a pass, at most max_sequences + GLM_PREFILL_MAX, and of the one that follows it */
	glm_rows		rows[2];
	glm_pick	   *picks[2];	  /* of rows with logits; NULL: the device does not pick */
	glm_pick_room	pick_room[2]; /* what these point to */
	int				turn;		  /* which are those of the pass */
} glm_home;

/* An open model with what serving it needs. */
typedef struct glm_served
{
	glm_model *model;	   /* immutable, as is the next once it is in the list */
	uint64_t   generation; /* of all models ever opened, this one's number */

	_Atomic(glm_weights *)	  weights;		  /* on the device; NULL: not yet.  Set by a loading */
	_Atomic(glm_home *)		  home;			  /* where that is; NULL: not known yet */
	size_t					  kv_block_bytes; /* of a block, on each device there */
	_Atomic(glm_vocabulary *) vocabulary;	  /* of its tokens, once one was needed */
	glm_model_counters		  counters;
	atomic_llong			  used_ns; /* when its last pass ended */
	atomic_bool				  leaving; /* it is being closed */

	/* the engine thread's alone */
	glm_runtime			runtime;
	struct glm_drafter *drafter; /* NULL: none */

	/* under glm_models.lock */
	int				   refs;
	bool			   dead;	 /* unload when refs falls to 0 */
	bool			   settling; /* a thread copies it to huge pages, see settler.c */
	uint64_t		   last_used;
	uint64_t		   requests;
	uint32_t		  *origin; /* [n_origins]: of requests that named it */
	int				   n_origins;
	struct glm_served *next;
} glm_served;

typedef struct glm_models
{
	pthread_mutex_t	  lock;
	pthread_cond_t	  settled; /* a model is not being copied any more */
	glm_served		 *first;
	uint64_t		  clock;		/* counts uses, for least-recently-used */
	size_t			  memory_limit; /* bytes of weight files; 0 = no limit */
	bool			  on_device;	/* weights need none of the host's memory: it counts none */
	glm_weight_files *files;		/* those of all models */
	atomic_int		  verify;		/* glm_verify of models whose options do not say */
	glm_kv_type		  kv_type;		/* set before the first is open */
	glm_forward		 *forward;		/* whose device models are on; NULL: nobody loads any */
	glm_constraints	 *constraints;	/* that were compiled, for all models; NULL: out of memory */
	glm_home *home; /* of all of them; NULL: each has its own.  Set before the first is open */
	void (*closer)(void *arg, glm_served *served); /* closes elsewhere; NULL: at once */
	void		 *closer_arg;
	uint64_t	  generations; /* models ever opened */
	atomic_ullong evicted;	   /* of those, how many made way on the device */
} glm_models;

extern bool glm_models_init(glm_models *models, size_t memory_limit, glm_verify verify);
extern void glm_models_free(glm_models *models);
/*
 * The model of a request with one more reference, NULL when it is to be opened, with
 * *options.  False: the request asks for what cannot be.
 */
extern bool glm_models_find(glm_models *models, const glm_request *req, glm_open_options *options,
							glm_served **model, glm_error *err);
/* Opens a model, with one reference; other models may make way. */
extern glm_served *glm_models_load(glm_models *models, const char *name, const char *path,
								   const glm_open_options *options, glm_error *err);
/* One more reference. */
extern void		   glm_models_keep(glm_models *models, glm_served *model);
extern void		   glm_models_release(glm_models *models, glm_served *model);
/*
 * Unloads the model of a request, at once or when the last reference goes.  Without a
 * path: those of its name that no origin but the request's has named.
 */
extern bool		   glm_models_unload(glm_models *models, const glm_request *req, glm_error *err);
/* Closes a model that is in no list and of whose prefix cache nothing is left. */
extern void		   glm_models_close(glm_models *models, glm_served *served);
/* Bytes of the device that idle models have. */
extern uint64_t	   glm_models_idle(glm_models *models);
/* Closes the idle model used longest ago, for room on the device; false: there is none. */
extern bool		   glm_models_evict(glm_models *models);
extern int		   glm_models_list(glm_models *models, glm_model_info *out, int max);

#endif /* GLM_MODELS_H */
