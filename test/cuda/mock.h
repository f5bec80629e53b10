/*
 * mock.h - what tests of the backend for GPUs share: the backend in its library, the driver
 * for tests, and engines on both.
 */
#ifndef GLM_TEST_MOCK_H
#define GLM_TEST_MOCK_H

#include "client.h"

#define LIBRARY "build/cuda/mock/chatglm_cuda.so" /* CUDA_LIBRARY names another */
#define ROOMY ((size_t) 16 << 20)

/* So many of them from now on, before the driver is loaded. */
extern void mock_devices(int n);

/* Who waits for passes sleeps, as on a GPU; else he does not. */
extern void mock_sleeps(void);

/* Loaded once; ends the program where it cannot be. */
extern const glm_backend *mock_backend(void);

/* See mock_driver.cc. */
extern void		   mock_fault(const char *what); /* "": none */
extern long		   mock_calls(const char *what); /* since then */
extern void		   mock_room(size_t bytes);		 /* of each device */
extern void		   mock_room_of(int device, size_t bytes);
extern size_t	   mock_in_use(void);
extern size_t	   mock_in_use_of(int device);
/* The piece of so many bytes on a device, which is the host's memory; NULL: there is none. */
extern const char *mock_memory(int device, size_t bytes);
extern void		   mock_slow(int ms);	  /* that what is in a stream takes at least */
extern long		   mock_first_poll(void); /* us, see mock_device.h */

extern void mock_wrong_graphs(bool wrong);	  /* they leave a step out */
extern void mock_wrong_kv(bool wrong);		  /* they leave no keys and values */
extern void mock_wrong_dependent(bool wrong); /* launches that may begin early are too early */
/* wgmma_* give a wrong bit, do nothing, are slower than others. */
extern void mock_wgmma(bool wrong, bool idle, bool slow);
extern void mock_ptx_version(int version); /* that kernels were compiled for; 90 */
extern void mock_capability(int version);  /* of devices opened from now on; 90 */

/* Of the embedded model by another name, "Tiny-chatglm3": a model of its own. */
extern glm_request *mock_for_second(int max_tokens);

/* An engine's configuration with the library. */
extern glm_config  mock_config(const char *device, bool fallback);
/* An engine with it that must open. */
extern glm_engine *mock_engine(const glm_config *config);

/* The answer, however long it takes: a device that is emulated on a busy machine has no pace. */
extern const answer *mock_await(glm_engine *engine, int ticket);
/* Submits some and waits for all; how many failed, all with these words? */
extern int			 mock_count_failed(glm_engine *engine, int n, const char *words);

#endif /* GLM_TEST_MOCK_H */
