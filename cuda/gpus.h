/*
 * gpus.h - the device that the engine sees: one GPU, or several.
 *
 * Each GPU is a place for models.  Several together are one more: there a model's layers are
 * divided, a row of them for each GPU, as many as it has of all their memory.  A pass goes
 * from GPU to GPU, and with it the rows of its residual stream.
 */
#ifndef GLM_CUDA_GPUS_H
#define GLM_CUDA_GPUS_H

#include "cuda/resident.h"

/* Memory that the engine took: of one GPU, or as much of each by one name. */
typedef struct cuda_buffer
{
	struct cuda_buffer *next;
	int					place;
	size_t				bytes;
	uint64_t			at[GLM_MOST_DEVICES]; /* [GPUs]; 0: none.  The first there is is its name */
} cuda_buffer;

struct glm_device
{
	int			 n;
	cuda_gpu	*gpu[GLM_MOST_DEVICES]; /* [n] */
	cuda_buffer *buffers;

	/* of the pass that was begun and has not ended */
	const glm_weights *weights;
	int				   at;						/* the part that what comes is of */
	bool			   waits[GLM_MOST_DEVICES]; /* GPUs on which something was put in order */

	int last[GLM_MOST_PLACES]; /* the GPU with the head, in the last pass of each place */
};

/* A model, by parts: what each GPU has of it. */
struct glm_weights
{
	int		   place;
	int		   n;
	cuda_part *part[GLM_MOST_DEVICES]; /* [n], in the order of layers */
	int		   on[GLM_MOST_DEVICES];   /* [n]: GPUs */
};

/* ---- gpus.c ---------------------------------------------------------------------------- */

extern glm_device *cuda_gpus_open(const int *which, int n, const char *kernels, glm_threads *pool,
								  glm_arithmetic arithmetic, glm_error *err);
extern void		   cuda_gpus_close(glm_device *dev);
extern int		   cuda_gpus_places(const glm_device *dev);
extern void		   cuda_gpus_info(const glm_device *dev, int place, glm_device_info *info);
extern bool		   cuda_gpus_lost(const glm_device *dev);
extern void cuda_gpus_need(const glm_device *dev, int place, const glm_model *model, int max_rows,
						   glm_footprint *need);
extern glm_weights *cuda_gpus_load(glm_device *dev, int place, const glm_model *model, int segment,
								   int max_rows, glm_go_on go_on, void *arg, glm_error *err);
extern void			cuda_gpus_unload(glm_device *dev, glm_weights *weights);
extern int			cuda_gpus_place(const glm_weights *weights);
extern glm_mem		cuda_gpus_alloc(glm_device *dev, int place, size_t bytes, glm_error *err);
extern void			cuda_gpus_free(glm_device *dev, glm_mem m);
extern glm_mem		cuda_gpus_kv_pool(glm_device *dev, int place, size_t bytes, glm_error *err);

/* Of the host; every GPU reaches it. */
extern void *cuda_gpus_pinned_take(glm_device *dev, size_t bytes, glm_error *err);
extern void	 cuda_gpus_pinned_give(glm_device *dev, void *memory);

/* The GPUs of a place: the first, and the one behind the last. */
static inline int
cuda_first_of(const glm_device *dev, int place)
{
	return place < dev->n ? place : 0;
}

static inline int
cuda_end_of(const glm_device *dev, int place)
{
	return place < dev->n ? place + 1 : dev->n;
}

/* The place of a GPU's memory that this names; m itself, where that has one GPU. */
extern glm_mem cuda_gpus_memory(const glm_device *dev, int gpu, glm_mem m);

/* ---- gpus_pass.c: operations, on the GPU whose turn it is -------------------------------- */

extern void cuda_gpus_kv_copy(glm_device *dev, int place, uint32_t to, uint32_t from, size_t bytes);
extern void cuda_gpus_write(glm_device *dev, glm_mem to, const void *from, size_t bytes);
extern void cuda_gpus_read(glm_device *dev, void *to, glm_mem from, size_t bytes);
extern void cuda_gpus_begin(glm_device *dev, const glm_weights *weights, const glm_pass *pass);
extern void cuda_gpus_enter(glm_device *dev, int layer, glm_mem x, int n);
extern void cuda_gpus_embed(glm_device *dev, glm_mem x);
extern void cuda_gpus_rmsnorm(glm_device *dev, glm_mem y, glm_mem x, glm_norm norm, int layer,
							  int n);
extern void cuda_gpus_matmul(glm_device *dev, glm_mem c, glm_mem a, size_t lda,
							 glm_projection projection, int layer, int n, bool add, bool swiglu);
extern void cuda_gpus_attention(glm_device *dev, glm_mem out, glm_mem qkv, int layer, int first,
								int n);
extern void cuda_gpus_gather(glm_device *dev, glm_mem y, glm_mem x, glm_want want);
extern void cuda_gpus_pick(glm_device *dev, glm_picked_id *picked, glm_mem logits,
						   const glm_pick *pick, int n);
extern void cuda_gpus_end(glm_device *dev);
extern bool cuda_gpus_ready(glm_device *dev, int place);
extern bool cuda_gpus_wait(glm_device *dev, int place, glm_device_state *state, glm_error *err);

#endif /* GLM_CUDA_GPUS_H */
