/*
 * backend_cuda.c - the table of the backend for NVIDIA's GPUs, and the one function that this
 * library exports.
 *
 * Weights, KV pool and all buffers are the device's.  Kernels give the CPU's bits, whatever the
 * device, but for products with weights of 16 bits where it is opened with GLM_FAST: gpu_fast.c.
 */
#include <stdio.h>

#include "cuda/gpus.h"

/* ---- What is found out by trying ---------------------------------------------------------- */

/* First of all, as these are dropped before graphs are. */
static void
tell_dependent(const glm_device *dev, glm_tuned *out)
{
	*out = (glm_tuned){.what = "dependent launches", .how = "in graphs"};
	for (int i = 0; i < dev->n && !out->dropped; i++)
	{
		const cuda_graphs *g = &dev->gpu[i]->graphs;

		out->dropped = atomic_load(&g->independent);
		if (out->dropped)
			snprintf(out->how, sizeof(out->how), "dropped: %s", g->why_independent);
	}
}

/* Of the first GPU that does without, or the first; false: it has none. */
static bool
tell_wgmma(const glm_device *dev, glm_tuned *out)
{
	glm_tuned other;

	if (!cuda_wgmma_tell(dev->gpu[0], out))
		return false;
	for (int i = 1; i < dev->n && !out->dropped; i++)
		if (cuda_wgmma_tell(dev->gpu[i], &other) && other.dropped)
			*out = other;
	return true;
}

/* Of several GPUs the sums, and the reason of the first that does without. */
static int
tuned(const glm_device *dev, glm_tuned *out, int max, uint64_t *cost_ns)
{
	int kept = 0, launched = 0, n = 0;

	*cost_ns = 0;
	if (max < 3)
		return 0;
	if (tell_wgmma(dev, out))
		n++;
	if (dev->gpu[0]->graphs.may_depend)
		tell_dependent(dev, &out[n++]);
	out += n++;
	*out = (glm_tuned){.what = "graphs"};
	for (int i = 0; i < dev->n && !out->dropped; i++)
	{
		const cuda_graphs *g = &dev->gpu[i]->graphs;

		kept += atomic_load(&g->n_kept);
		launched += atomic_load(&g->n_launched);
		out->dropped = atomic_load(&g->dropped);
		if (out->dropped)
			snprintf(out->how, sizeof(out->how), "dropped: %s", g->why);
	}
	if (!out->dropped)
		snprintf(out->how, sizeof(out->how), "%d kept, launched %d times", kept, launched);
	return n;
}

static void
set_tuning(glm_device *dev, bool on)
{
	for (int i = 0; i < dev->n; i++)
		atomic_store(&dev->gpu[i]->graphs.off, !on);
}

static const glm_backend backend = {
	.abi = GLM_ABI,
	.name = "cuda",
	.find = cuda_find,
	.open = cuda_gpus_open,
	.close = cuda_gpus_close,
	.places = cuda_gpus_places,
	.info = cuda_gpus_info,
	.tuned = tuned,
	.set_tuning = set_tuning,
	.need = cuda_gpus_need,
	.load = cuda_gpus_load,
	.place = cuda_gpus_place,
	.unload = cuda_gpus_unload,
	.alloc = cuda_gpus_alloc,
	.free = cuda_gpus_free,
	.kv_pool = cuda_gpus_kv_pool,
	.pinned_take = cuda_gpus_pinned_take,
	.pinned_give = cuda_gpus_pinned_give,
	.lost = cuda_gpus_lost,
	.kv_copy = cuda_gpus_kv_copy,
	.write = cuda_gpus_write,
	.read = cuda_gpus_read,
	.begin = cuda_gpus_begin,
	.enter = cuda_gpus_enter,
	.embed = cuda_gpus_embed,
	.rmsnorm = cuda_gpus_rmsnorm,
	.matmul = cuda_gpus_matmul,
	.attention = cuda_gpus_attention,
	.gather = cuda_gpus_gather,
	.pick = cuda_gpus_pick,
	.end = cuda_gpus_end,
	.ready = cuda_gpus_ready,
	.wait = cuda_gpus_wait,
};

extern glm_backend_entry glm_backend_of_library;

__attribute__((visibility("default"))) const glm_backend *
glm_backend_of_library(const glm_host *host)
{
	cuda_host = host;
	return &backend;
}
