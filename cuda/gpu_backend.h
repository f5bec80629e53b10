/*
 * gpu_backend.h - a GPU behind the backend, and what it does with the part of a model that is
 * on it; gpus.h makes a device of one or several.
 */
#ifndef GLM_CUDA_GPU_BACKEND_H
#define GLM_CUDA_GPU_BACKEND_H

#include <stdatomic.h>

#include "cuda/gpu_graph.h"
#include "cuda/gpu_wait.h"
#include "cuda/gpu_wgmma.h"
#include "engine/compute/backend.h"
#include "engine/compute/backend_host.h"
#include "engine/model/model.h"

/* Activations that an operation left in 8 bits beside what it wrote, for the product behind it. */
typedef struct cuda_left
{
	uintptr_t at; /* what it wrote; 0: nothing is left */
	int		  n;  /* rows */
	int		  group;
} cuda_left;

/* A pass that was begun and has not been waited for. */
typedef struct cuda_flight
{
	glm_picked_id	  *picked;		/* [n_picked]: who asked for ids; NULL: nobody did */
	const cuda_picked *picked_home; /* pinned */
	int				   n_picked;
} cuda_flight;

typedef struct cuda_part cuda_part; /* of a model, see resident.h */
typedef struct cuda_span cuda_span;

struct cuda_gpu
{
	const cuda_driver *driver;
	int				   device;
	int				   capability; /* 90: compute capability 9.0 */
	void			  *context;
	void			  *done; /* an event: what a pass does here is over, and goes on elsewhere */
	void			  *over; /* an event: the first of two passes is */
	void			  *module;
	void			  *function[GLM_CUDA_N_KERNELS]; /* NULL: wgmma_*, where there is none */
	glm_device_info	   info;
	cuda_stream		   stream;	  /* of passes */
	cuda_graphs		   graphs;	  /* of small ones */
	cuda_wgmma		   wgmma;	  /* in large ones */
	uint64_t		   kv;		  /* the pool of models that are here as a whole */
	uint64_t		   kv_shared; /* and of those that are here in part */
	/* to see whether it lives: a few bytes, and a stream of their own */
	uint64_t		   probe;
	void			  *probing;
	atomic_bool		   is_lost;

	/* of the passes that are under way, two at most */
	cuda_waiting waiting;
	cuda_flight	 flight[2];
	int			 turn; /* which of them, as of pinned memory, the last pass has */
	int			 n_flights;
	bool		 first_failed; /* of two: it could not be put in order */

	/* of the pass that was begun and has not ended */
	const cuda_part *weights;
	const glm_pass	*pass;
	cuda_left		 left;
	cuda_outcome	 outcome; /* of picks */
};

#define CUDA_PICK_BYTES ((size_t) 2 << 20) /* that all picks of a pass point to */

/* What the engine lends: set before anything else is called. */
extern const glm_host *cuda_host;

/* What the file's memory of kernels has. */
extern const char glm_cuda_image[];

/* ---- gpu_backend.c ------------------------------------------------------------------------ */

extern int		 cuda_find(glm_device_info *info, int max);
extern cuda_gpu *cuda_open(int which, glm_error *err);
extern void		 cuda_close(cuda_gpu *dev);
extern void		 cuda_info(const cuda_gpu *dev, glm_device_info *info);
/* Makes the device the calling thread's. */
extern void		 cuda_enter(const cuda_gpu *dev);
/* Memory of so many bytes; 0 and *err, which says how many are free. */
extern uint64_t	 cuda_take(cuda_gpu *dev, size_t bytes, glm_error *err);
/* Something failed: can anything be computed on it any more?  Any thread, as the next. */
extern bool		 cuda_lives(cuda_gpu *dev);
extern bool		 cuda_lost(const cuda_gpu *dev); /* did it turn out so? */

/* ---- upload.c ------------------------------------------------------------------------ */

extern cuda_part *cuda_load(cuda_gpu *dev, const glm_model *model, const cuda_span *span,
							int max_rows, glm_go_on go_on, void *arg, glm_error *err);

/* ---- gpu_pass.c ---------------------------------------------------------------------- */

/* One may follow another that has not been waited for. */
extern void cuda_begin(cuda_gpu *dev, const cuda_part *weights, const glm_pass *pass);
extern void cuda_end(cuda_gpu *dev);
/* Rows x of so many bytes are all that the pass needs of this GPU any more, from here on. */
extern void cuda_leave(cuda_gpu *dev, glm_mem x, size_t bytes);
/* Has them, where they are on the GPU that was left, be x here. */
extern void cuda_arrive(cuda_gpu *dev, const cuda_gpu *from, glm_mem x, glm_mem x_there,
						size_t bytes);
/* Would cuda_wait() return at once? */
extern bool cuda_ready(cuda_gpu *dev);
/* For the first of two passes, or for all that was put in order. */
extern bool cuda_wait(cuda_gpu *dev, glm_device_state *state, glm_error *err);

/* ---- operations.c -------------------------------------------------------------------- */

extern void cuda_op_embed(cuda_gpu *dev, glm_mem x);
extern void cuda_op_rmsnorm(cuda_gpu *dev, glm_mem y, glm_mem x, glm_norm norm, int layer, int n);
extern void cuda_op_matmul(cuda_gpu *dev, glm_mem c, glm_mem a, size_t lda,
						   glm_projection projection, int layer, int n, bool add, bool swiglu);
extern void cuda_op_attention(cuda_gpu *dev, glm_mem out, glm_mem qkv, int layer, int first, int n);
extern void cuda_op_gather(cuda_gpu *dev, glm_mem y, glm_mem x, glm_want want);

/* ---- gpu_pick.c ---------------------------------------------------------------------- */

extern void cuda_op_pick(cuda_gpu *dev, glm_picked_id *picked, glm_mem logits, const glm_pick *pick,
						 int n);

#endif /* GLM_CUDA_GPU_BACKEND_H */
