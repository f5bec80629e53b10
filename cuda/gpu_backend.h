/*
 * gpu_backend.h - the device behind the backend, and the parts of its table.
 */
#ifndef GLM_CUDA_GPU_BACKEND_H
#define GLM_CUDA_GPU_BACKEND_H

#include <stdatomic.h>

#include "cuda/gpu_graph.h"
#include "cuda/gpu_wait.h"
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

struct glm_device
{
	const cuda_driver *driver;
	int				   device;
	void			  *context;
	void			  *module;
	void			  *function[GLM_CUDA_N_KERNELS];
	glm_device_info	   info;
	cuda_stream		   stream; /* of passes */
	cuda_graphs		   graphs; /* of small ones */
	uint64_t		   kv;	   /* the pool */
	/* to see whether it lives: a few bytes, and a stream of their own */
	uint64_t		   probe;
	void			  *probing;
	atomic_bool		   is_lost;

	/* of the pass that was begun */
	cuda_waiting	   waiting;
	const glm_weights *weights;
	const glm_pass	  *pass;
	cuda_left		   left;
	glm_picked_id	  *picked;		/* [n_picked]: who asked for ids; NULL: nobody did */
	const cuda_picked *picked_home; /* pinned */
	int				   n_picked;
	cuda_outcome	   outcome; /* of picks */
};

/* What the engine lends: set before anything else is called. */
extern const glm_host *cuda_host;

/* What the file's memory of kernels has. */
extern const char glm_cuda_image[];

/* ---- gpu_backend.c ------------------------------------------------------------------------ */

extern int		   cuda_find(glm_device_info *info, int max);
extern glm_device *cuda_open(int which, const char *kernels, glm_threads *pool,
							 glm_arithmetic arithmetic, glm_error *err);
extern void		   cuda_close(glm_device *dev);
extern void		   cuda_info(const glm_device *dev, glm_device_info *info);
/* Makes the device the calling thread's. */
extern void		   cuda_enter(const glm_device *dev);
/* Memory of so many bytes; 0 and *err, which says how many are free. */
extern uint64_t	   cuda_take(glm_device *dev, size_t bytes, glm_error *err);
/* Something failed: can anything be computed on it any more?  Any thread, as the next. */
extern bool		   cuda_lives(glm_device *dev);
extern bool		   cuda_lost(const glm_device *dev); /* did it turn out so? */

/* ---- upload.c ------------------------------------------------------------------------ */

extern glm_weights *cuda_load(glm_device *dev, const glm_model *model, int segment, int max_rows,
							  glm_go_on go_on, void *arg, glm_error *err);

/* ---- operations.c -------------------------------------------------------------------- */

extern void cuda_begin(glm_device *dev, const glm_weights *weights, const glm_pass *pass);
extern void cuda_op_embed(glm_device *dev, glm_mem x);
extern void cuda_op_rmsnorm(glm_device *dev, glm_mem y, glm_mem x, glm_norm norm, int layer, int n);
extern void cuda_op_matmul(glm_device *dev, glm_mem c, glm_mem a, size_t lda,
						   glm_projection projection, int layer, int n, bool add, bool swiglu);
extern void cuda_op_attention(glm_device *dev, glm_mem out, glm_mem qkv, int layer, int first,
							  int n);
extern void cuda_op_gather(glm_device *dev, glm_mem y, glm_mem x, glm_want want);
extern void cuda_op_pick(glm_device *dev, glm_picked_id *picked, glm_mem logits,
						 const glm_pick *pick, int n);
extern void cuda_end(glm_device *dev);
extern bool cuda_wait(glm_device *dev, glm_device_state *state, glm_error *err);

#endif /* GLM_CUDA_GPU_BACKEND_H */
