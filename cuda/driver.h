/*
 * driver.h - NVIDIA's driver API, found at run time in libcuda.so.1: there is nothing to
 * link with, and nothing to have where there is no GPU.
 *
 * The types are the driver's own, declared by hand, as its headers are not where this is
 * built: results are int, addresses uint64_t, handles void *.
 */
#ifndef GLM_CUDA_DRIVER_H
#define GLM_CUDA_DRIVER_H

#include "cuda/driver_types.h"
#include "engine/base/base.h"

/* X(name in the library, ours, parameters) */
#define GLM_CUDA_DRIVER(X)                                                                         \
	X(cuInit, init, (unsigned flags))                                                              \
	X(cuGetErrorName, error_name, (int code, const char **name))                                   \
	X(cuGetErrorString, error_text, (int code, const char **text))                                 \
	X(cuDriverGetVersion, version, (int *version))                                                 \
	X(cuDeviceGetCount, device_count, (int *n))                                                    \
	X(cuDeviceGet, device_get, (int *device, int which))                                           \
	X(cuDeviceGetName, device_name, (char *name, int room, int device))                            \
	X(cuDeviceTotalMem_v2, device_memory, (size_t * bytes, int device))                            \
	X(cuDeviceGetAttribute, device_attribute, (int *value, int attribute, int device))             \
	X(cuDevicePrimaryCtxSetFlags_v2, context_flags, (int device, unsigned flags))                  \
	X(cuDevicePrimaryCtxRetain, context_open, (void **context, int device))                        \
	X(cuDevicePrimaryCtxRelease_v2, context_close, (int device))                                   \
	X(cuCtxSetCurrent, context_use, (void *context))                                               \
	X(cuMemGetInfo_v2, memory_info, (size_t * free, size_t * total))                               \
	X(cuMemAlloc_v2, memory_take, (uint64_t * memory, size_t bytes))                               \
	X(cuMemFree_v2, memory_give, (uint64_t memory))                                                \
	X(cuMemHostAlloc, pinned_take, (void **memory, size_t bytes, unsigned flags))                  \
	X(cuMemFreeHost, pinned_give, (void *memory))                                                  \
	X(cuMemcpyHtoDAsync_v2, copy_to, (uint64_t to, const void *from, size_t bytes, void *stream))  \
	X(cuMemcpyDtoHAsync_v2, copy_from, (void *to, uint64_t from, size_t bytes, void *stream))      \
	X(cuMemcpyDtoDAsync_v2, copy_there, (uint64_t to, uint64_t from, size_t bytes, void *stream))  \
	X(cuMemcpyPeerAsync, copy_peer,                                                                \
	  (uint64_t to, void *to_context, uint64_t from, void *from_context, size_t bytes,             \
	   void *stream))                                                                              \
	X(cuDeviceCanAccessPeer, peer_can, (int *can, int device, int peer))                           \
	X(cuCtxEnablePeerAccess, peer_open, (void *context, unsigned flags))                           \
	X(cuStreamCreate, stream_open, (void **stream, unsigned flags))                                \
	X(cuStreamDestroy_v2, stream_close, (void *stream))                                            \
	X(cuStreamSynchronize, stream_wait, (void *stream))                                            \
	X(cuStreamQuery, stream_query, (void *stream))                                                 \
	X(cuStreamWaitEvent, stream_after, (void *stream, void *event, unsigned flags))                \
	X(cuEventCreate, event_open, (void **event, unsigned flags))                                   \
	X(cuEventDestroy_v2, event_close, (void *event))                                               \
	X(cuEventRecord, event_record, (void *event, void *stream))                                    \
	X(cuEventQuery, event_query, (void *event))                                                    \
	X(cuEventSynchronize, event_wait, (void *event))                                               \
	X(cuEventElapsedTime, event_elapsed, (float *ms, void *begin, void *end))                      \
	X(cuModuleLoadData, module_open, (void **module, const void *image))                           \
	X(cuModuleUnload, module_close, (void *module))                                                \
	X(cuModuleGetFunction, module_function, (void **function, void *module, const char *name))     \
	X(cuStreamBeginCapture_v2, capture_begin, (void *stream, int mode))                            \
	X(cuStreamEndCapture, capture_end, (void *stream, void **steps))                               \
	X(cuGraphInstantiateWithFlags, graph_open,                                                     \
	  (void **graph, void *steps, unsigned long long flags))                                       \
	X(cuGraphDestroy, steps_close, (void *steps))                                                  \
	X(cuGraphLaunch, graph_launch, (void *graph, void *stream))                                    \
	X(cuGraphExecDestroy, graph_close, (void *graph))                                              \
	X(cuLaunchKernel, launch,                                                                      \
	  (void *function, unsigned x, unsigned y, unsigned z, unsigned threads_x, unsigned threads_y, \
	   unsigned threads_z, unsigned shared, void *stream, void **args, void **extra))

/* The same for what older drivers do not have; NULL then. */
#define GLM_CUDA_DRIVER_NEWER(X)                                                                   \
	X(cuFuncGetAttribute, function_attribute, (int *value, int attribute, void *function))         \
	X(cuLaunchKernelEx, launch_by,                                                                 \
	  (const cuda_launch_config *config, void *function, void **args, void **extra))

typedef struct cuda_driver
{
#define GLM_CUDA_MEMBER(name, ours, parameters) int(*ours) parameters;
	GLM_CUDA_DRIVER(GLM_CUDA_MEMBER)
	GLM_CUDA_DRIVER_NEWER(GLM_CUDA_MEMBER)
#undef GLM_CUDA_MEMBER
} cuda_driver;

/* Of streams: they wait for no other. */
#define CUDA_NON_BLOCKING 1
/* Of pinned memory: it is so for all contexts. */
#define CUDA_PORTABLE 1
/* Of events: who waits for them sleeps; they are for order alone. */
#define CUDA_SLEEP 1
#define CUDA_NO_TIMING 2

/* Results. */
enum
{
	CUDA_FINE = 0,
	CUDA_OUT_OF_MEMORY = 2,
	CUDA_NO_DEVICE = 100,
	CUDA_NOT_FOUND = 500,
	CUDA_NOT_READY = 600
};

/* The driver, opened and started once in a process; NULL: *err has the reason in its own words. */
extern const cuda_driver *cuda_driver_find(glm_error *err);

/* Is it fine?  Else *err says which call failed, and the name and the text of its result. */
extern bool cuda_fine(const cuda_driver *driver, int result, const char *call, glm_error *err);

/* The same for ours(...). */
#define CUDA(driver, err, ours, ...) cuda_fine(driver, (driver)->ours(__VA_ARGS__), #ours, err)

#endif /* GLM_CUDA_DRIVER_H */
