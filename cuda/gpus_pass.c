/*
 * gpus_pass.c - a pass on one GPU or several: operations go to the GPU that has the layer.
 *
 * All GPUs of a pass are told its rows when it begins.  When the layer is another's, the one
 * that is left marks its stream, the next waits for the mark, without the host, and takes over
 * the rows.  wait() waits for all of a place; what another's do meanwhile is not its concern.
 */
#include "cuda/gpus.h"

/* ---- Copies -------------------------------------------------------------------------------- */

void
cuda_gpus_kv_copy(glm_device *dev, int place, uint32_t to, uint32_t from, size_t bytes)
{
	for (int i = cuda_first_of(dev, place); i < cuda_end_of(dev, place); i++)
	{
		cuda_gpu *gpu = dev->gpu[i];
		uint64_t  pool = place < dev->n ? gpu->kv : gpu->kv_shared;

		dev->waits[i] = true;
		cuda_enter(gpu);
		cuda_stream_copy(&gpu->stream, pool + (uint64_t) to * GLM_KV_UNIT,
						 pool + (uint64_t) from * GLM_KV_UNIT, bytes);
	}
}

/* The buffer that this is in; NULL: none of the engine's. */
static const cuda_buffer *
buffer_of(const glm_device *dev, glm_mem m)
{
	const cuda_buffer *b = dev->buffers;

	while (b != NULL && m.at - b->at[cuda_first_of(dev, b->place)] >= (b->bytes > 0 ? b->bytes : 1))
		b = b->next;
	return b;
}

/* To each GPU that has a part of it. */
void
cuda_gpus_write(glm_device *dev, glm_mem to, const void *from, size_t bytes)
{
	const cuda_buffer *b = buffer_of(dev, to);

	for (int i = 0; b != NULL && i < dev->n; i++)
	{
		cuda_gpu *gpu = dev->gpu[i];

		if (b->at[i] == 0)
			continue;
		dev->waits[i] = true;
		cuda_enter(gpu);
		cuda_graphs_flush(&gpu->graphs); /* what is not pinned is no part of one */
		cuda_stream_put(&gpu->stream, cuda_gpus_memory(dev, i, to).at, from, bytes);
	}
}

/* ---- The pass ------------------------------------------------------------------------------ */

static int
gpu_now(const glm_device *dev)
{
	return dev->weights->on[dev->at];
}

static cuda_gpu *
gpu_of(const glm_device *dev)
{
	return dev->gpu[gpu_now(dev)];
}

/* Memory of the GPU whose turn it is. */
static glm_mem
here(const glm_device *dev, glm_mem m)
{
	return dev->weights->place < dev->n ? m : cuda_gpus_memory(dev, gpu_now(dev), m);
}

/* What it is of: of the pass, or if there is none, of the last one that ended at its place. */
void
cuda_gpus_read(glm_device *dev, void *to, glm_mem from, size_t bytes)
{
	const cuda_buffer *b = buffer_of(dev, from);
	int i = dev->weights != NULL ? gpu_now(dev) : b != NULL ? dev->last[b->place] : 0;

	dev->waits[i] = true;
	cuda_enter(dev->gpu[i]);
	cuda_graphs_flush(&dev->gpu[i]->graphs);
	cuda_stream_fetch(&dev->gpu[i]->stream, to, cuda_gpus_memory(dev, i, from).at, bytes);
}

void
cuda_gpus_begin(glm_device *dev, const glm_weights *w, const glm_pass *pass)
{
	dev->weights = w;
	dev->at = 0;
	/* the first is the thread's then */
	for (int i = w->n - 1; i >= 0; i--)
	{
		dev->waits[w->on[i]] = true;
		cuda_begin(dev->gpu[w->on[i]], w->part[i], pass);
	}
}

/* Has a part this layer?  What stands behind all is the last one's. */
static bool
is_layer_of(const cuda_part *part, int layer)
{
	return layer == GLM_NO_LAYER ? part->span.head
								 : layer >= part->span.first && layer < part->span.last;
}

void
cuda_gpus_enter(glm_device *dev, int layer, glm_mem x, int n)
{
	const glm_weights *w = dev->weights;
	const cuda_gpu	  *from = gpu_of(dev);
	glm_mem			   x_there = here(dev, x);
	size_t bytes = (size_t) n * (size_t) w->part[0]->model->config.hidden * sizeof(float);
	int	   at = dev->at;

	while (!is_layer_of(w->part[at], layer))
		at++;
	if (at == dev->at)
		return;
	cuda_leave(gpu_of(dev), x_there, bytes);
	dev->at = at;
	cuda_arrive(gpu_of(dev), from, here(dev, x), x_there, bytes);
}

void
cuda_gpus_embed(glm_device *dev, glm_mem x)
{
	cuda_op_embed(gpu_of(dev), here(dev, x));
}

void
cuda_gpus_rmsnorm(glm_device *dev, glm_mem y, glm_mem x, glm_norm norm, int layer, int n)
{
	cuda_op_rmsnorm(gpu_of(dev), here(dev, y), here(dev, x), norm, layer, n);
}

void
cuda_gpus_matmul(glm_device *dev, glm_mem c, glm_mem a, size_t lda, glm_projection projection,
				 int layer, int n, bool add, bool swiglu)
{
	cuda_op_matmul(gpu_of(dev), here(dev, c), here(dev, a), lda, projection, layer, n, add, swiglu);
}

void
cuda_gpus_attention(glm_device *dev, glm_mem out, glm_mem qkv, int layer, int first, int n)
{
	cuda_op_attention(gpu_of(dev), here(dev, out), here(dev, qkv), layer, first, n);
}

void
cuda_gpus_gather(glm_device *dev, glm_mem y, glm_mem x, glm_want want)
{
	cuda_op_gather(gpu_of(dev), here(dev, y), here(dev, x), want);
}

void
cuda_gpus_pick(glm_device *dev, glm_picked_id *picked, glm_mem logits, const glm_pick *pick, int n)
{
	cuda_op_pick(gpu_of(dev), picked, here(dev, logits), pick, n);
}

void
cuda_gpus_end(glm_device *dev)
{
	dev->last[dev->weights->place] = gpu_now(dev);
	for (int i = 0; i < dev->weights->n; i++)
	{
		cuda_enter(dev->gpu[dev->weights->on[i]]);
		cuda_end(dev->gpu[dev->weights->on[i]]);
	}
	dev->weights = NULL;
}

bool
cuda_gpus_ready(glm_device *dev, int place)
{
	for (int i = cuda_first_of(dev, place); i < cuda_end_of(dev, place); i++)
		if (dev->waits[i] && !cuda_ready(dev->gpu[i]))
			return false;
	return true;
}

/*
 * From the last on, which comes after all that the others do.  Of several reasons that of the
 * first is told: the others come of it.
 */
bool
cuda_gpus_wait(glm_device *dev, int place, glm_device_state *state, glm_error *err)
{
	bool fine = true;

	*state = GLM_DEVICE_FINE;
	for (int i = cuda_end_of(dev, place) - 1; i >= cuda_first_of(dev, place); i--)
	{
		glm_device_state of_gpu;
		glm_error		 why = {0};
		bool			 fine_here;

		if (!dev->waits[i])
			continue;
		fine_here = cuda_wait(dev->gpu[i], &of_gpu, &why);
		dev->waits[i] = dev->gpu[i]->n_flights > 0;
		if (fine_here)
			continue;
		*err = why;
		if (of_gpu == GLM_DEVICE_LOST)
			*state = GLM_DEVICE_LOST;
		fine = false;
	}
	return fine;
}
