/*
 * mock_device.h - the devices of mock_driver.cc: memory, streams, faults.  One lock guards
 * all of it; functions here are called with it held.
 */
#ifndef GLM_CUDA_MOCK_DEVICE_H
#define GLM_CUDA_MOCK_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include <deque>
#include <functional>
#include <mutex>
#include <vector>

namespace mock
{
/* What it answers. */
enum
{
	FINE = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	INVALID_CONTEXT = 201,
	INVALID_HANDLE = 400,
	NOT_FOUND = 500,
	NOT_READY = 600,
	ILLEGAL_ADDRESS = 700,
};

enum
{
	MOST_DEVICES = 4
};

typedef std::unique_lock<std::mutex> guard;
extern std::mutex					 lock;

/* Set by the environment when the library is loaded. */
extern int	  devices;
extern size_t room[MOST_DEVICES]; /* bytes of each device */
extern bool	  wrong_graphs;
extern bool	  wrong_dependent;
extern bool	  wrong_kv;
extern bool	  wrong_wgmma;
extern bool	  idle_wgmma;
extern bool	  slow_wgmma;
extern int	  ptx_version; /* that kernels were compiled for */
extern int	  capability;  /* compute capability */

/* ---- Faults --------------------------------------------------------------------------- */

/*
 * What the fault that was asked for makes of the next call of `what`, on a device; -1: on none.
 * One that stays breaks the device, or all of them.
 */
extern int	fault(const char *what, int device);
/* So many more of what is counted beside calls. */
extern void count(const char *what, long n);
/* The same for one that needs a context, the current one. */
extern int	enter(const char *what);
extern int	sticky[MOST_DEVICES];

/* ---- Contexts and memory -------------------------------------------------------------- */

/* The calling thread's device; -1: none. */
extern thread_local int current;

struct memory
{
	size_t bytes;
	int	   device; /* PINNED: the host's */
};

enum
{
	PINNED = -1
};

/* NULL: there is no room. */
extern void			*take(size_t bytes, int device);
extern bool			 give(void *at, bool pinned);
/* Are so many bytes from here on a device's, or pinned?  NULL: neither. */
extern const memory *find(uint64_t at, size_t bytes);
extern bool			 is_on(int device, uint64_t at, size_t bytes);
extern size_t		 in_use(int device);

/* ---- Streams -------------------------------------------------------------------------- */

/* What is in a stream: done in order, when somebody waits for it. */
struct item
{
	enum kind
	{
		COPY,
		UPLOAD, /* a large copy from pinned memory */
		KERNEL,
		EVENT,
		AFTER /* another stream's event */
	} what;
	std::function<void()> run;
	struct event		 *after = NULL;
	uint64_t			  pool = 0; /* of keys and values that a kernel writes */
};

struct stream
{
	int				  device;
	std::deque<item>  queue;
	int64_t			  begun_us = 0; /* when the first of it came */
	int				  polls = 0;
	bool			  captures = false;
	std::vector<item> captured;
	bool			  wgmma = false; /* was the last launch */
};

struct event
{
	int		device;
	stream *where = NULL;
	bool	done = true;
	bool	wgmma = false; /* was the last launch before it */
};

extern void put(stream *s, item what);
/* Before what came last. */
extern void put_early(stream *s, item what);
/* May what is in it be done by now?  Neither slow nor held, nor what it comes after. */
extern bool may_finish(const stream *s);
/* Does it, as far as there is no fault: all, or up to an event. */
extern int	run(stream *s, const event *until);
/* It goes, with what it could not do. */
extern void forget(stream *s);
/* Waits for that, without the lock meanwhile, and does it: all, or up to an event. */
extern int	finish(guard &held, stream *s, const event *until);
/* NOT_READY, the first time, or until it may be done. */
extern int	poll(guard &held, stream *s, const event *until);

/* Of the last that was asked about: how long after the first of it came. */
extern int64_t first_poll_us;

/* Streams, events, graphs and contexts that there are. */
extern int things;
} /* namespace mock */

/* ---- What the driver's functions begin with ---------------------------------------------- */

/* For tests, beside the driver's own. */
#define TEST extern "C" __attribute__((visibility("default")))
#define API extern "C" __attribute__((visibility("default"))) int

#define LOCKED mock::guard held(mock::lock)
#define ENTER(what)                                                                                \
	LOCKED;                                                                                        \
	if (int code = mock::enter(what))                                                              \
	return code
/* With a stream, which has to be of the current context. */
#define STREAM(what, s)                                                                            \
	ENTER(what);                                                                                   \
	if (((mock::stream *) (s))->device != mock::current)                                           \
	return mock::INVALID_HANDLE
/* Without a context. */
#define BEFORE(what)                                                                               \
	LOCKED;                                                                                        \
	if (int code = mock::fault(what, -1))                                                          \
	return code

#endif /* GLM_CUDA_MOCK_DEVICE_H */
