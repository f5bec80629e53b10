/*
 * mock_driver.cc - a libcuda.so.1 without a GPU: its device has the kernels as the host
 * computes them.  For tests of all that is around the kernels.
 *
 * It is as late as a GPU may be.  What is put into a stream is done when somebody waits for
 * it, and what is read before is poison; the launch's arguments are copied, as is what comes
 * from memory that is not pinned, and what comes from pinned memory is read when it is done.
 * Memory is poison when it is new, and accounted for.
 *
 * Environment; all but the faults are read when the library is loaded:
 *     GLM_MOCK_MEMORY=MiB          of the device; 4096
 *     GLM_MOCK_ORDER=CHOICE        see emulated_choose()
 *     GLM_MOCK_FAULT=WHAT:N:CODE   the N-th call of WHAT (a name of the driver's functions,
 *                                  or "kernel": the N-th that is done; 0: each) gives CODE; a kernel's
 *                                  fault stays, as that of a GPU does; counted from where
 *                                  the variable was given its value
 *     GLM_MOCK_ONCE=FILE           the fault comes only while FILE is there, and removes it
 *     GLM_MOCK_SLOW=MS             to sleep in each wait
 * Calls come from several threads; one lock guards all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "cuda/host/emulated.h"

#define API extern "C" __attribute__((visibility("default"))) int

namespace
{
enum
{
	FINE = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	INVALID_CONTEXT = 201,
	NOT_FOUND = 500,
	NOT_READY = 600,
	POISON = 0xfb
};

typedef std::deque<std::function<void()>> stream;

std::recursive_mutex		lock;
std::map<uint64_t, size_t>	device_memory, pinned;
std::map<std::string, long> calls;
size_t						in_use, room = (size_t) 4096 << 20;
int							sticky;
unsigned					slow_us;
thread_local void		   *current;
char						the_context, the_module;

struct start_up
{
	start_up()
	{
		const char *memory = getenv("GLM_MOCK_MEMORY"), *order = getenv("GLM_MOCK_ORDER");
		const char *slow = getenv("GLM_MOCK_SLOW");

		if (memory != NULL)
			room = (size_t) atol(memory) << 20;
		if (order != NULL)
			emulated_choose(order);
		if (slow != NULL)
			slow_us = (unsigned) atoi(slow) * 1000;
	}
} at_start;

/* What the fault of the environment makes of the next call of `what`. */
int
fault(const char *what)
{
	static std::string spec;
	const char		  *f = getenv("GLM_MOCK_FAULT"), *once = getenv("GLM_MOCK_ONCE");
	long			   nth, at = 0;
	int				   code = 0;
	char			   name[64];

	if (spec != (f != NULL ? f : ""))
	{
		spec = f != NULL ? f : "";
		calls.clear();
	}
	nth = ++calls[what];
	if (f == NULL || sscanf(f, "%63[^:]:%ld:%d", name, &at, &code) != 3 ||
		strcmp(name, what) != 0 || (nth != at && at != 0))
		return FINE;
	return once == NULL || unlink(once) == 0 ? code : FINE;
}

/* Is an address, with so many bytes, inside what was given? */
bool
inside(const std::map<uint64_t, size_t> &given, uint64_t at, size_t bytes)
{
	auto next = given.upper_bound(at);

	if (next == given.begin())
		return false;
	--next;
	return at + bytes <= next->first + next->second;
}

int
enter(const char *what)
{
	int code = sticky != 0 ? sticky : fault(what);

	return code != FINE ? code : current == NULL ? (int) INVALID_CONTEXT : (int) FINE;
}

int
finish(stream *s)
{
	for (; !s->empty() && sticky == FINE; s->pop_front())
		s->front()();
	return sticky;
}

struct error
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
	{209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available"},
	{214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
	{NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
	{NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
	{700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
	{719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
};

const error *
error_of(int code)
{
	for (const error &e : errors)
		if (e.code == code)
			return &e;
	return NULL;
}
} /* namespace */

#define LOCKED std::lock_guard<std::recursive_mutex> guard(lock)
#define ENTER(what)                                                                                \
	LOCKED;                                                                                        \
	if (int code = enter(what))                                                                    \
	return code

/* ---- Devices ------------------------------------------------------------------------ */

API
cuInit(unsigned)
{
	LOCKED;
	return fault("cuInit");
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
	LOCKED;
	*n = 1;
	return fault("cuDeviceGetCount");
}

API
cuDeviceGet(int *device, int which)
{
	*device = which;
	return which == 0 ? FINE : INVALID_VALUE;
}

API
cuDeviceGetName(char *name, int bytes, int)
{
	snprintf(name, (size_t) bytes, "mock GPU");
	return FINE;
}

API
cuDeviceTotalMem_v2(size_t *bytes, int)
{
	*bytes = room;
	return FINE;
}

/* compute capability 9.0 */
API
cuDeviceGetAttribute(int *value, int attribute, int)
{
	*value = attribute == 75 ? 9 : 0;
	return FINE;
}

API
cuDevicePrimaryCtxSetFlags_v2(int, unsigned)
{
	return FINE;
}

API
cuDevicePrimaryCtxRetain(void **context, int)
{
	LOCKED;
	*context = &the_context;
	return fault("cuDevicePrimaryCtxRetain");
}

API
cuDevicePrimaryCtxRelease_v2(int)
{
	return FINE;
}

API
cuCtxSetCurrent(void *context)
{
	LOCKED;
	current = context;
	return sticky;
}

/* ---- Memory -------------------------------------------------------------------------- */

API
cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
	ENTER("cuMemGetInfo");
	*free_bytes = room - in_use;
	*total = room;
	return FINE;
}

API
cuMemAlloc_v2(uint64_t *memory, size_t bytes)
{
	ENTER("cuMemAlloc");
	if (bytes == 0)
		return INVALID_VALUE;
	if (bytes > room - in_use)
		return OUT_OF_MEMORY;

	void *p = aligned_alloc(256, (bytes + 255) / 256 * 256);

	if (p == NULL)
		return OUT_OF_MEMORY;
	memset(p, POISON, bytes);
	device_memory[(uint64_t) p] = bytes;
	in_use += bytes;
	*memory = (uint64_t) p;
	return FINE;
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
	LOCKED;
	auto found = device_memory.find(memory);

	if (found == device_memory.end())
		return INVALID_VALUE;
	in_use -= found->second;
	device_memory.erase(found);
	free((void *) memory);
	return sticky;
}

API
cuMemHostAlloc(void **memory, size_t bytes, unsigned)
{
	ENTER("cuMemHostAlloc");
	*memory = malloc(bytes);
	if (*memory == NULL)
		return OUT_OF_MEMORY;
	pinned[(uint64_t) *memory] = bytes;
	return FINE;
}

API
cuMemFreeHost(void *memory)
{
	LOCKED;
	if (pinned.erase((uint64_t) memory) == 0)
		return INVALID_VALUE;
	free(memory);
	return sticky;
}

API
cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *s)
{
	ENTER("cuMemcpyHtoDAsync");
	if (!inside(device_memory, to, bytes))
		return INVALID_VALUE;
	if (inside(pinned, (uint64_t) from, bytes))
		((stream *) s)->push_back([=] { memcpy((void *) to, from, bytes); });
	else
	{
		std::string copy((const char *) from, bytes);

		((stream *) s)->push_back([=] { memcpy((void *) to, copy.data(), bytes); });
	}
	return FINE;
}

API
cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *s)
{
	ENTER("cuMemcpyDtoHAsync");
	if (!inside(device_memory, from, bytes))
		return INVALID_VALUE;
	memset(to, POISON, bytes);
	((stream *) s)->push_back([=] { memcpy(to, (const void *) from, bytes); });
	return FINE;
}

API
cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *s)
{
	ENTER("cuMemcpyDtoDAsync");
	if (!inside(device_memory, to, bytes) || !inside(device_memory, from, bytes))
		return INVALID_VALUE;
	((stream *) s)->push_back([=] { memcpy((void *) to, (const void *) from, bytes); });
	return FINE;
}

/* ---- Streams --------------------------------------------------------------------------- */

API
cuStreamCreate(void **s, unsigned)
{
	ENTER("cuStreamCreate");
	*s = new stream;
	return FINE;
}

API
cuStreamDestroy_v2(void *s)
{
	LOCKED;
	finish((stream *) s);
	delete (stream *) s;
	return sticky;
}

API
cuStreamSynchronize(void *s)
{
	ENTER("cuStreamSynchronize");
	if (slow_us > 0)
		usleep(slow_us);
	return finish((stream *) s);
}

API
cuStreamQuery(void *s)
{
	ENTER("cuStreamQuery");
	return ((stream *) s)->empty() ? FINE : NOT_READY;
}

API
cuEventCreate(void **event, unsigned)
{
	ENTER("cuEventCreate");
	*event = new stream *(NULL);
	return FINE;
}

API
cuEventDestroy_v2(void *event)
{
	delete (stream **) event;
	return FINE;
}

API
cuEventRecord(void *event, void *s)
{
	ENTER("cuEventRecord");
	*(stream **) event = (stream *) s;
	return FINE;
}

/* What was put in behind it is done too: a GPU may do so. */
API
cuEventSynchronize(void *event)
{
	ENTER("cuEventSynchronize");
	return *(stream **) event != NULL ? finish(*(stream **) event) : FINE;
}

/* Time means nothing here: it is what a test of a program needs. */
API
cuEventElapsedTime(float *ms, void *, void *)
{
	*ms = 1;
	return FINE;
}

/* ---- Kernels ---------------------------------------------------------------------------- */

API
cuModuleLoadData(void **module, const void *)
{
	ENTER("cuModuleLoadData");
	*module = &the_module;
	return FINE;
}

API
cuModuleUnload(void *)
{
	return FINE;
}

API
cuModuleGetFunction(void **function, void *, const char *name)
{
	ENTER("cuModuleGetFunction");
	for (const emulated_kernel &kernel : emulated_kernels)
		if (strcmp(kernel.name, name) == 0)
		{
			*function = (void *) &kernel;
			return FINE;
		}
	return NOT_FOUND;
}

API
cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned,
			   unsigned, unsigned shared, void *s, void **args, void **)
{
	ENTER("cuLaunchKernel");
	const emulated_kernel *kernel = (const emulated_kernel *) function;
	std::string			   copy((const char *) args[0], kernel->bytes);

	if (x == 0 || y == 0 || z == 0 || y > 65535 || z > 65535 || threads > 1024 ||
		shared > 48 * 1024)
		return INVALID_VALUE;
	((stream *) s)
		->push_back(
			[=]
			{
				sticky = fault("kernel");
				if (sticky == FINE)
					emulated_run(kernel, cuda_grid{x, y, z}, threads, shared, copy.data());
			});
	return FINE;
}
