/*
 * mock_driver.cc - a libcuda.so.1 without a GPU: its devices have the kernels as the host
 * computes them.  For tests of all that is around the kernels.
 *
 * It is as late as a GPU may be.  What is put into a stream is done when somebody waits for
 * it, and what is read before is poison; the launch's arguments are copied, as is what comes
 * from memory that is not pinned, and what comes from pinned memory is read when it is done.
 * Memory is poison when it is new, and accounted for; what is written beside it ends the
 * program when it is given back.
 *
 * Devices are strict about each other.  A kernel that is told an address of another device
 * fails as it would, and so does any copy but that between devices; streams and events are
 * used in the context in which they were made, but that a stream may wait for another's event.
 * A device that is broken leaves the others as they were.
 *
 * Environment, read when the library is loaded:
 *     GLM_MOCK_DEVICES=N           devices; 1
 *     GLM_MOCK_MEMORY=MiB,...      of each, the last of those that follow; 4096
 *     GLM_MOCK_NO_PEERS=1          they do not reach each other's memory
 *     GLM_MOCK_ORDER=CHOICE        see emulated_choose()
 *     GLM_MOCK_FAULT=WHAT:N:CODE   the N-th call of WHAT (a name of the driver's functions,
 *                                  or "kernel": the N-th that is done, "unpinned": a copy to
 *                                  memory that is not; 0: each) gives CODE; what
 *                                  breaks a context stays, as on a GPU; WHAT@D: of device D
 *     GLM_MOCK_ONCE=FILE           the fault comes only while FILE is there, and removes it;
 *                                  at the first call from the N-th on
 *     GLM_MOCK_SLOW=MS             that what is in a stream takes at least
 *     GLM_MOCK_HOLD_PASSES=FILE    no pass is done while FILE is there; FILE.held is made then;
 *                                  FILE.D: none of device D
 *     GLM_MOCK_HOLD_UPLOADS=FILE   the same for streams with large copies from pinned memory
 *     GLM_MOCK_WRONG_GRAPHS=1      graphs leave a step out
 *     GLM_MOCK_WRONG_DEPENDENT=1   launches that may begin early change places with those before
 * Tests in the same process have glm_mock_fault() and what else the end of mock_device.cc has.
 * Calls come from several threads; one lock guards all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>

#include "cuda/driver_types.h"
#include "cuda/host/emulated.h"
#include "cuda/host/mock_device.h"

using namespace mock;

#define LARGE ((size_t) 65536) /* bytes of an upload; no pass of a test brings as many */

static char the_module;
static struct error
{
	int			code;
	const char *name, *text;
} errors[] = {
	{FINE, "CUDA_SUCCESS", "no error"},
	{INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
	{OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
	{35, "CUDA_ERROR_INSUFFICIENT_DRIVER", "CUDA driver version is insufficient"},
	{100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
	{INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
	{INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
	{209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available"},
	{214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
	{NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
	{NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
	{ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
	{701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
	{719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
};

static const error *
error_of(int code)
{
	for (const error &e : errors)
		if (e.code == code)
			return &e;
	return NULL;
}

/* ---- Devices ------------------------------------------------------------------------ */

API
cuInit(unsigned)
{
	BEFORE("cuInit");
	return FINE;
}

API
cuGetErrorName(int code, const char **name)
{
	const error *e = error_of(code);

	*name = e != NULL ? e->name : NULL;
	return e != NULL ? FINE : INVALID_VALUE;
}

API
cuGetErrorString(int code, const char **text)
{
	const error *e = error_of(code);

	*text = e != NULL ? e->text : NULL;
	return e != NULL ? FINE : INVALID_VALUE;
}

API
cuDriverGetVersion(int *version)
{
	*version = 13000;
	return FINE;
}

API
cuDeviceGetCount(int *n)
{
	BEFORE("cuDeviceGetCount");
	*n = devices;
	return FINE;
}

API
cuDeviceGet(int *device, int which)
{
	BEFORE("cuDeviceGet");
	*device = which;
	return which >= 0 && which < devices ? FINE : INVALID_VALUE;
}

API
cuDeviceGetName(char *name, int bytes, int)
{
	BEFORE("cuDeviceGetName");
	snprintf(name, (size_t) bytes, "mock GPU");
	return FINE;
}

API
cuDeviceTotalMem_v2(size_t *bytes, int device)
{
	BEFORE("cuDeviceTotalMem");
	*bytes = room[device];
	return FINE;
}

API
cuDeviceGetAttribute(int *value, int attribute, int)
{
	BEFORE("cuDeviceGetAttribute");
	*value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : 0;
	return FINE;
}

API
cuDevicePrimaryCtxSetFlags_v2(int, unsigned)
{
	BEFORE("cuDevicePrimaryCtxSetFlags");
	return FINE;
}

/* A context is its device's number, and 1. */
API
cuDevicePrimaryCtxRetain(void **context, int device)
{
	BEFORE("cuDevicePrimaryCtxRetain");
	things++;
	*context = (void *) (uintptr_t) (device + 1);
	return FINE;
}

API
cuDevicePrimaryCtxRelease_v2(int)
{
	BEFORE("cuDevicePrimaryCtxRelease");
	things--;
	return FINE;
}

API
cuCtxSetCurrent(void *context)
{
	BEFORE("cuCtxSetCurrent");
	current = (int) (uintptr_t) context - 1;
	return current >= 0 ? sticky[current] : FINE;
}

/* ---- Memory -------------------------------------------------------------------------- */

API
cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
	ENTER("cuMemGetInfo");
	*free_bytes = room[current] - in_use(current);
	*total = room[current];
	return FINE;
}

API
cuMemAlloc_v2(uint64_t *memory, size_t bytes)
{
	ENTER("cuMemAlloc");
	if (bytes == 0)
		return INVALID_VALUE;
	*memory = (uint64_t) take(bytes, current);
	return *memory != 0 ? FINE : OUT_OF_MEMORY;
}

/* All memory here is the host's. */
API
cuMemAllocManaged(uint64_t *memory, size_t bytes, unsigned)
{
	return cuMemAlloc_v2(memory, bytes);
}

API
cuMemFree_v2(uint64_t memory)
{
	ENTER("cuMemFree");
	if (!is_on(current, memory, 1))
		return INVALID_VALUE;
	return give((void *) memory, false) ? FINE : INVALID_VALUE;
}

API
cuMemHostAlloc(void **memory, size_t bytes, unsigned)
{
	ENTER("cuMemHostAlloc");
	*memory = take(bytes, PINNED);
	return *memory != NULL ? FINE : OUT_OF_MEMORY;
}

API
cuMemFreeHost(void *memory)
{
	ENTER("cuMemFreeHost");
	return give(memory, true) ? FINE : INVALID_VALUE;
}

static bool
is_pinned(const void *at, size_t bytes)
{
	const memory *m = find((uint64_t) at, bytes);

	return m != NULL && m->device == PINNED;
}

API
cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *s)
{
	STREAM("cuMemcpyHtoDAsync", s);
	if (!is_on(current, to, bytes))
		return INVALID_VALUE;
	if (is_pinned(from, bytes))
		put((stream *) s, item{bytes > LARGE ? item::UPLOAD : item::COPY,
							   [=] { memcpy((void *) to, from, bytes); }});
	else
	{
		std::string copy((const char *) from, bytes);

		put((stream *) s, item{item::COPY, [=] { memcpy((void *) to, copy.data(), bytes); }});
	}
	return FINE;
}

API
cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *s)
{
	STREAM("cuMemcpyDtoHAsync", s);
	if (!is_on(current, from, bytes))
		return INVALID_VALUE;
	if (!is_pinned(to, bytes))
		fault("unpinned", current); /* counts it */
	memset(to, 0xfb, bytes);
	put((stream *) s, item{item::COPY, [=]
						   {
							   memcpy(to, (const void *) from, bytes);
							   count("home", (long) bytes);
						   }});
	return FINE;
}

API
cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *s)
{
	STREAM("cuMemcpyDtoDAsync", s);
	if (!is_on(current, to, bytes) || !is_on(current, from, bytes))
		return INVALID_VALUE;
	put((stream *) s, item{item::COPY, [=] { memmove((void *) to, (const void *) from, bytes); }});
	return FINE;
}

/* ---- Streams --------------------------------------------------------------------------- */

API
cuStreamCreate(void **s, unsigned)
{
	ENTER("cuStreamCreate");
	stream *made = new stream;

	made->device = current;
	*s = made;
	things++;
	return FINE;
}

API
cuStreamDestroy_v2(void *s)
{
	STREAM("cuStreamDestroy", s);
	finish(held, (stream *) s, NULL);
	forget((stream *) s);
	things--;
	return sticky[current];
}

API
cuStreamSynchronize(void *s)
{
	STREAM("cuStreamSynchronize", s);
	return finish(held, (stream *) s, NULL);
}

API
cuStreamQuery(void *s)
{
	STREAM("cuStreamQuery", s);
	return poll(held, (stream *) s, NULL);
}

/* ---- Kernels ---------------------------------------------------------------------------- */

API
cuModuleLoadData(void **module, const void *)
{
	ENTER("cuModuleLoadData");
	*module = &the_module;
	things++;
	return FINE;
}

API
cuModuleUnload(void *)
{
	ENTER("cuModuleUnload");
	things--;
	return FINE;
}

static bool
is_wgmma(const emulated_kernel *kernel)
{
	return strncmp(kernel->name, "wgmma", 5) == 0;
}

/* wgmma is in code for 9.0 alone. */
API
cuModuleGetFunction(void **function, void *, const char *name)
{
	ENTER("cuModuleGetFunction");
	for (const emulated_kernel &kernel : emulated_kernels)
		if (strcmp(kernel.name, name) == 0 && (!is_wgmma(&kernel) || ptx_version >= 90))
		{
			*function = (void *) &kernel;
			return FINE;
		}
	return NOT_FOUND;
}

/* Does it name memory of another device? */
static bool
strays(const std::string &args, int device)
{
	for (size_t i = 0; i + sizeof(uint64_t) <= args.size(); i += sizeof(uint64_t))
	{
		uint64_t	  word;
		const memory *m;

		memcpy(&word, args.data() + i, sizeof(word));
		m = find(word, 1);
		if (m != NULL && m->device != PINNED && m->device != device)
			return true;
	}
	return false;
}

static int
launch(const cuda_launch_config *how, void *function, void **args)
{
	const emulated_kernel *kernel = (const emulated_kernel *) function;
	stream				  *s = (stream *) how->stream;
	std::string			   copy((const char *) args[0], kernel->bytes);
	cuda_grid			   grid = {how->x, how->y, how->z};
	unsigned			   threads = how->threads_x, shared = how->shared;
	int					   device = s->device;
	bool				   lost = strays(copy, device), early = false, wgmma = is_wgmma(kernel);

	for (unsigned i = 0; i < how->n_attributes; i++)
		if (how->attribute[i].what == CUDA_MAY_BEGIN_EARLY)
			early = how->attribute[i].value[0] != 0;
		else
			return INVALID_VALUE;
	if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 ||
		threads > 1024 || shared > 48 * 1024)
		return INVALID_VALUE;
	item it = {item::KERNEL, [=]
			   {
				   sticky[device] = lost ? (int) ILLEGAL_ADDRESS : fault("kernel", device);
				   if (sticky[device] == FINE && (!idle_wgmma || !wgmma))
					   emulated_run(kernel, grid, threads, shared, copy.data());
				   if (sticky[device] == FINE && wrong_wgmma && wgmma)
					   *(unsigned *) ((const packed_args *) copy.data())->c ^= 1;
			   }};

	fault(kernel->name, device); /* counts it */
	s->wgmma = wgmma;
	if (strcmp(kernel->name, "pick") == 0)
		count("picked", grid.x);
	if (strcmp(kernel->name, "rope_store") == 0)
		it.pool = (uint64_t) ((const rope_store_args *) copy.data())->kv.pool;
	(early && wrong_dependent ? put_early : put)(s, it);
	return FINE;
}

API
cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned,
			   unsigned, unsigned shared, void *s, void **args, void **)
{
	STREAM("cuLaunchKernel", s);
	cuda_launch_config how = {x, y, z, threads, 1, 1, shared, s, NULL, 0};

	return launch(&how, function, args);
}

API
cuLaunchKernelEx(const cuda_launch_config *how, void *function, void **args, void **)
{
	STREAM("cuLaunchKernelEx", how->stream);
	return launch(how, function, args);
}

API
cuFuncGetAttribute(int *value, int attribute, void *)
{
	ENTER("cuFuncGetAttribute");
	*value = attribute == CUDA_PTX_VERSION ? ptx_version : 0;
	return FINE;
}
