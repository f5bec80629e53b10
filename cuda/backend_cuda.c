/*
 * backend_cuda.c - the table of the backend for NVIDIA's GPUs, and the one function that this
 * library exports.
 *
 * Weights, KV pool and all buffers are the device's.  Kernels give the CPU's bits (GLM_EXACT),
 * whatever the device: gpu_kernels.h.
 */
#include <stdio.h>

#include "cuda/gpu_backend.h"
#include "cuda/resident.h"

static uint64_t
need(const glm_device *dev, const glm_model *model, int max_rows)
{
	return cuda_weights_need(dev, model, max_rows);
}

/* ---- Memory --------------------------------------------------------------------------------- */

static glm_mem
alloc(glm_device *dev, size_t bytes, glm_error *err)
{
	return (glm_mem){cuda_take(dev, bytes, err)};
}

static void
give(glm_device *dev, glm_mem m)
{
	cuda_enter(dev);
	if (m.at != 0)
		dev->driver->memory_give(m.at);
}

static glm_mem
kv_pool(glm_device *dev, size_t bytes, glm_error *err)
{
	dev->kv = cuda_take(dev, bytes, err);
	return (glm_mem){dev->kv};
}

static void
kv_copy(glm_device *dev, uint32_t to, uint32_t from, size_t bytes)
{
	cuda_enter(dev);
	cuda_stream_copy(&dev->stream, dev->kv + (uint64_t) to * GLM_KV_UNIT,
					 dev->kv + (uint64_t) from * GLM_KV_UNIT, bytes);
}

static void
write_to(glm_device *dev, glm_mem to, const void *from, size_t bytes)
{
	cuda_enter(dev);
	cuda_graphs_flush(&dev->graphs); /* what is not pinned is no part of one */
	cuda_stream_put(&dev->stream, to.at, from, bytes);
}

static void
read_from(glm_device *dev, void *to, glm_mem from, size_t bytes)
{
	cuda_enter(dev);
	cuda_graphs_flush(&dev->graphs);
	cuda_stream_fetch(&dev->stream, to, from.at, bytes);
}

static bool
ready(glm_device *dev)
{
	cuda_enter(dev);
	return dev->driver->stream_query(dev->stream.stream) != CUDA_NOT_READY;
}

/* ---- What is found out by trying ---------------------------------------------------------- */

static int
tuned(const glm_device *dev, glm_tuned *out, int max, uint64_t *cost_ns)
{
	const cuda_graphs *g = &dev->graphs;

	*cost_ns = 0;
	if (max < 2)
		return 0;
	/* first, as these are dropped before graphs are */
	if (g->may_depend)
	{
		*out = (glm_tuned){.what = "dependent launches", .dropped = atomic_load(&g->independent)};
		snprintf(out->how, sizeof(out->how), out->dropped ? "dropped: %s" : "in graphs",
				 g->why_independent);
		out++;
	}
	*out = (glm_tuned){.what = "graphs", .dropped = atomic_load(&g->dropped)};
	if (out->dropped)
		snprintf(out->how, sizeof(out->how), "dropped: %s", g->why);
	else
		snprintf(out->how, sizeof(out->how), "%d kept, launched %d times", atomic_load(&g->n_kept),
				 atomic_load(&g->n_launched));
	return g->may_depend ? 2 : 1;
}

static void
set_tuning(glm_device *dev, bool on)
{
	atomic_store(&dev->graphs.off, !on);
}

static const glm_backend backend = {
	.abi = GLM_ABI,
	.name = "cuda",
	.find = cuda_find,
	.open = cuda_open,
	.close = cuda_close,
	.info = cuda_info,
	.tuned = tuned,
	.set_tuning = set_tuning,
	.need = need,
	.load = cuda_load,
	.unload = cuda_unload,
	.alloc = alloc,
	.free = give,
	.kv_pool = kv_pool,
	.lost = cuda_lost,
	.kv_copy = kv_copy,
	.write = write_to,
	.read = read_from,
	.begin = cuda_begin,
	.embed = cuda_op_embed,
	.rmsnorm = cuda_op_rmsnorm,
	.matmul = cuda_op_matmul,
	.attention = cuda_op_attention,
	.gather = cuda_op_gather,
	.pick = cuda_op_pick,
	.end = cuda_end,
	.ready = ready,
	.wait = cuda_wait,
};

extern glm_backend_entry glm_backend_of_library;

__attribute__((visibility("default"))) const glm_backend *
glm_backend_of_library(const glm_host *host)
{
	cuda_host = host;
	return &backend;
}
