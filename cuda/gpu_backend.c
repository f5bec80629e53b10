/*
 * gpu_backend.c - finding, opening and closing a GPU, and its memory.
 *
 * The context is the device's primary one.  Whoever calls makes it his thread's first, as
 * the loader and the engine's thread both do.
 */
#include "cuda/gpu_backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OLDEST 75 /* compute capability: mma_u8s8() */
#define SLEEP_IN_WAITS 4
#define CAPABILITY_MAJOR 75 /* attributes of devices */
#define CAPABILITY_MINOR 76
/* Other processes have the card too, and the driver takes memory of its own. */
#define KEPT_FREE ((size_t) 512 << 20)

const glm_host *cuda_host;

/* ---- Finding --------------------------------------------------------------------------- */

static bool
capability(const cuda_driver *d, int device, int *version, glm_error *err)
{
	int major = 0, minor = 0;

	if (!CUDA(d, err, device_attribute, &major, CAPABILITY_MAJOR, device) ||
		!CUDA(d, err, device_attribute, &minor, CAPABILITY_MINOR, device))
		return false;
	*version = major * 10 + minor;
	return true;
}

static void
describe(const cuda_driver *d, int which, glm_device_info *info)
{
	int		  device, version;
	size_t	  bytes = 0;
	glm_error err = {0};

	*info = (glm_device_info){
		.picks = true, .number = which, .devices = 1, .pick_bytes = CUDA_PICK_BYTES};
	if (!CUDA(d, &err, device_get, &device, which) ||
		!CUDA(d, &err, device_name, info->name, (int) sizeof(info->name), device) ||
		!CUDA(d, &err, device_memory, &bytes, device) || !capability(d, device, &version, &err))
	{
		snprintf(info->why_not, sizeof(info->why_not), "%.255s", err.message);
		return;
	}
	info->bytes = bytes;
	snprintf(info->kernels, sizeof(info->kernels), "sm_%d", version);
	if (version < OLDEST)
		snprintf(info->why_not, sizeof(info->why_not),
				 "%s has compute capability %d.%d, and %d.%d is needed", info->name, version / 10,
				 version % 10, OLDEST / 10, OLDEST % 10);
}

int
cuda_find(glm_device_info *info, int max)
{
	glm_error		   err = {0};
	const cuda_driver *d = cuda_driver_find(&err);
	int				   n = 0;

	if (d == NULL || !CUDA(d, &err, device_count, &n))
	{
		if (max > 0)
			snprintf(info->why_not, sizeof(info->why_not), "%.255s", err.message);
		return 0;
	}
	for (int i = 0; i < n && i < max; i++)
		describe(d, i, &info[i]);
	return n;
}

/* ---- Opening --------------------------------------------------------------------------- */

/* wgmma_* are in code for sm_90a alone. */
static bool
load_kernels(cuda_gpu *dev, glm_error *err)
{
	const cuda_driver *d = dev->driver;

	if (!CUDA(d, err, module_open, &dev->module, glm_cuda_image))
		return false;
	for (int i = 0; i < GLM_CUDA_N_KERNELS; i++)
	{
		bool optional = i >= GLM_CUDA_wgmma_q4_32 && i <= GLM_CUDA_wgmma_q8_128;
		int	 result = d->module_function(&dev->function[i], dev->module, cuda_kernel_names[i]);

		if (optional && result == CUDA_NOT_FOUND)
			dev->function[i] = NULL;
		else if (!cuda_fine(d, result, "module_function", err))
			return false;
	}
	return true;
}

static bool
start(cuda_gpu *dev, int which, glm_error *err)
{
	const cuda_driver *d = dev->driver;

	describe(d, which, &dev->info);
	if (!CUDA(d, err, device_get, &dev->device, which) ||
		!capability(d, dev->device, &dev->capability, err))
		return false;
	/* fails, and is in force, where the context is open already */
	d->context_flags(dev->device, SLEEP_IN_WAITS);
	if (!CUDA(d, err, context_open, &dev->context, dev->device) ||
		!CUDA(d, err, context_use, dev->context) || !load_kernels(dev, err) ||
		!cuda_stream_open(&dev->stream, d, dev->function, err) ||
		!CUDA(d, err, event_open, &dev->done, CUDA_NO_TIMING) ||
		!CUDA(d, err, event_open, &dev->over, CUDA_NO_TIMING | CUDA_SLEEP) ||
		!CUDA(d, err, stream_open, &dev->probing, CUDA_NON_BLOCKING))
		return false;
	cuda_graphs_open(&dev->graphs, &dev->stream);
	dev->probe = cuda_take(dev, sizeof(uint32_t), err);
	return dev->probe != 0;
}

cuda_gpu *
cuda_open(int which, glm_error *err)
{
	cuda_gpu		  *dev;
	const cuda_driver *d = cuda_driver_find(err);

	if (d == NULL)
		return NULL;
	dev = calloc(1, sizeof(*dev));
	if (dev == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	dev->driver = d;
	if (start(dev, which, err))
		return dev;
	cuda_close(dev);
	return NULL;
}

void
cuda_close(cuda_gpu *dev)
{
	const cuda_driver *d;

	if (dev == NULL)
		return;
	d = dev->driver;
	/* what is lost cannot be given back, and trying may take for ever */
	if (dev->context != NULL && !cuda_lost(dev))
	{
		cuda_enter(dev);
		cuda_graphs_close(&dev->graphs);
		cuda_stream_close(&dev->stream);
		if (dev->kv != 0)
			d->memory_give(dev->kv);
		if (dev->kv_shared != 0)
			d->memory_give(dev->kv_shared);
		if (dev->probe != 0)
			d->memory_give(dev->probe);
		if (dev->done != NULL)
			d->event_close(dev->done);
		if (dev->over != NULL)
			d->event_close(dev->over);
		if (dev->probing != NULL)
			d->stream_close(dev->probing);
		if (dev->module != NULL)
			d->module_close(dev->module);
		d->context_close(dev->device);
	}
	free(dev);
}

void
cuda_enter(const cuda_gpu *dev)
{
	dev->driver->context_use(dev->context);
}

/* What cannot be asked for is not known to be too little: taking it will say what is wrong. */
static uint64_t
bytes_free(const cuda_gpu *dev)
{
	size_t n = 0, total = 0;

	cuda_enter(dev);
	return dev->driver->memory_info(&n, &total) == CUDA_FINE ? n : dev->info.bytes + KEPT_FREE;
}

void
cuda_info(const cuda_gpu *dev, glm_device_info *info)
{
	uint64_t n = bytes_free(dev);

	*info = dev->info;
	info->bytes_free = n > KEPT_FREE ? n - KEPT_FREE : 0;
}

/* ---- Memory ----------------------------------------------------------------------------- */

uint64_t
cuda_take(cuda_gpu *dev, size_t bytes, glm_error *err)
{
	uint64_t  memory = 0;
	glm_error why = {0};

	cuda_enter(dev);
	if (CUDA(dev->driver, &why, memory_take, &memory, bytes > 0 ? bytes : 1))
		return memory;
	*err = why;
	if (why.status != GLM_NO_ROOM)
	{
		cuda_lives(dev);
		return 0;
	}
	glm_fail(err, why.status, "%zu MB on device \"%s\", of which %llu are free: %s",
			 (bytes + 1048575) >> 20, dev->info.name, (unsigned long long) (bytes_free(dev) >> 20),
			 why.message);
	glm_hint(err, "Other processes use the device too; a smaller chatglm.kv_cache_size leaves more "
				  "to models.");
	return 0;
}

bool
cuda_lives(cuda_gpu *dev)
{
	const cuda_driver *d = dev->driver;
	uint32_t		   word = 0;

	if (dev->probe == 0)
		return true; /* it is not open yet: whoever opens it hears of it */
	cuda_enter(dev);
	if (d->copy_to(dev->probe, &word, sizeof(word), dev->probing) != CUDA_FINE ||
		d->stream_wait(dev->probing) != CUDA_FINE)
		atomic_store(&dev->is_lost, true);
	return !cuda_lost(dev);
}

bool
cuda_lost(const cuda_gpu *dev)
{
	return atomic_load(&dev->is_lost);
}
