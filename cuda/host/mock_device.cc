/*
 * mock_device.cc - see mock_device.h, and mock_driver.cc for what its environment says.
 */
#include "cuda/host/mock_device.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <map>
#include <string>

#include "cuda/host/emulated.h"

namespace mock
{
std::mutex		 lock;
int				 devices = 1;
size_t			 room[MOST_DEVICES];
bool			 wrong_graphs;
bool			 wrong_dependent;
bool			 wrong_kv;
bool			 wrong_wgmma;
bool			 idle_wgmma;
bool			 slow_wgmma;
int				 ptx_version = 90;
int				 capability = 90;
int				 sticky[MOST_DEVICES];
thread_local int current = -1;
int				 things;
int64_t			 first_poll_us;

static std::map<std::string, long> calls;
static std::string				   spec;
static const char				  *once, *hold_uploads, *hold_passes;
static int64_t					   slow_us;
static int						   kernels[MOST_DEVICES]; /* in streams, not done yet */

/* "640,1024": MiB of each device, the last of them of those that follow. */
static void
choose_rooms(const char *list)
{
	size_t bytes = 0;

	for (size_t &one : room)
	{
		if (*list != '\0')
			bytes = (size_t) strtol(list, (char **) &list, 10) << 20;
		list += *list == ',';
		one = bytes;
	}
}

namespace
{
struct start_up
{
	start_up()
	{
		const char *n = getenv("GLM_MOCK_DEVICES"), *memory = getenv("GLM_MOCK_MEMORY");
		const char *order = getenv("GLM_MOCK_ORDER"), *slow = getenv("GLM_MOCK_SLOW");
		const char *what = getenv("GLM_MOCK_FAULT");

		if (n != NULL)
			devices = atoi(n) < MOST_DEVICES ? atoi(n) : (int) MOST_DEVICES;
		choose_rooms(memory != NULL ? memory : "4096");
		if (order != NULL)
			emulated_choose(order);
		if (slow != NULL)
			slow_us = (int64_t) atol(slow) * 1000;
		if (what != NULL)
			spec = what;
		once = getenv("GLM_MOCK_ONCE");
		hold_uploads = getenv("GLM_MOCK_HOLD_UPLOADS");
		hold_passes = getenv("GLM_MOCK_HOLD_PASSES");
		wrong_graphs = getenv("GLM_MOCK_WRONG_GRAPHS") != NULL;
		wrong_dependent = getenv("GLM_MOCK_WRONG_DEPENDENT") != NULL;
	}
} at_start;
} /* namespace */

/* ---- Faults --------------------------------------------------------------------------- */

/* After these a context is of no use any more. */
static bool
stays(int code)
{
	return code == 214 || code == 700 || code == 702 || code == 710 || (code >= 714 && code <= 719);
}

int
fault(const char *what, int device)
{
	const std::string there = what + ("@" + std::to_string(device));
	long			  nth = ++calls[what], nth_there = ++calls[there], at = 0;
	int				  code = 0;
	char			  name[64];

	if (sscanf(spec.c_str(), "%63[^:]:%ld:%d", name, &at, &code) != 3)
		return FINE;
	if (name == there)
		nth = nth_there;
	else if (strcmp(name, what) != 0)
		return FINE;
	/* the file may come after the call: then it is the next that fails */
	if (once != NULL ? nth < at || unlink(once) != 0 : nth != at && at != 0)
		return FINE;
	for (int i = 0; stays(code) && i < MOST_DEVICES; i++)
		if (device < 0 || i == device)
			sticky[i] = code;
	return code;
}

int
enter(const char *what)
{
	/* whoever has no context yet may have failed to get one of a device that is broken */
	int code = sticky[current < 0 ? 0 : current];

	if (code == FINE)
		code = fault(what, current);
	return code != FINE ? code : current < 0 ? (int) INVALID_CONTEXT : (int) FINE;
}

/* ---- Streams -------------------------------------------------------------------------- */

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void
count(const char *what, long n)
{
	calls[what] += n;
}

/* What a stream's device has to do yet; beside another that has something to do it is counted. */
static void
count_kernel(const stream *s)
{
	for (int i = 0; i < MOST_DEVICES; i++)
		if (i != s->device && kernels[i] > 0)
		{
			calls["beside"]++;
			break;
		}
	kernels[s->device]++;
}

void
put(stream *s, item what)
{
	if (s->captures)
	{
		s->captured.push_back(what);
		return;
	}
	if (what.what == item::KERNEL)
		count_kernel(s);
	if (s->queue.empty())
	{
		s->begun_us = now_us();
		s->polls = 0;
	}
	s->queue.push_back(what);
}

void
put_early(stream *s, item what)
{
	if (s->captures && !s->captured.empty())
		s->captured.insert(s->captured.end() - 1, what);
	else if (!s->captures && !s->queue.empty())
	{
		count_kernel(s);
		s->queue.insert(s->queue.end() - 1, what);
	}
	else
		put(s, what);
}

static bool
has(const stream *s, item::kind what)
{
	for (const item &i : s->queue)
		if (i.what == what)
			return true;
	return false;
}

/* Is it there, for a device if it is one's?  Then FILE.held tells who made it that something waits. */
static bool
is_held(const char *name, int device = -1)
{
	std::string file = name != NULL ? name : "";

	if (device >= 0)
		file += "." + std::to_string(device);
	if (name == NULL || access(file.c_str(), F_OK) != 0)
		return false;
	close(open((file + ".held").c_str(), O_CREAT | O_WRONLY, 0600));
	return true;
}

bool
may_finish(const stream *s)
{
	if (s->queue.empty() || sticky[s->device] != FINE)
		return true;
	for (const item &i : s->queue)
		if (i.after != NULL && !i.after->done && !may_finish(i.after->where))
			return false;
	if (now_us() < s->begun_us + slow_us)
		return false;
	if (has(s, item::UPLOAD))
		return !is_held(hold_uploads);
	return !has(s, item::KERNEL) || !(is_held(hold_passes) || is_held(hold_passes, s->device));
}

int
run(stream *s, const event *until)
{
	int &broken = sticky[s->device];

	while (!s->queue.empty() && broken == FINE && (until == NULL || !until->done))
	{
		item next = s->queue.front();

		s->queue.pop_front();
		kernels[s->device] -= next.what == item::KERNEL;
		next.run();
	}
	return broken;
}

void
forget(stream *s)
{
	for (const item &i : s->queue)
		kernels[s->device] -= i.what == item::KERNEL;
	delete s;
}

int
finish(guard &held, stream *s, const event *until)
{
	while (!may_finish(s) && (until == NULL || !until->done))
	{
		held.unlock();
		usleep(500);
		held.lock();
	}
	return run(s, until);
}

int
poll(guard &held, stream *s, const event *until)
{
	(void) held;
	if (s->queue.empty() || (until != NULL && until->done) || sticky[s->device] != FINE)
		return sticky[s->device];
	if (s->polls == 0)
		first_poll_us = now_us() - s->begun_us;
	return s->polls++ == 0 || !may_finish(s) ? (int) NOT_READY : run(s, until);
}
} /* namespace mock */

/* ---- For tests ------------------------------------------------------------------------ */

/* From now on; counted from here.  "": none. */
TEST void
glm_mock_fault(const char *what)
{
	mock::guard held(mock::lock);

	mock::spec = what;
	mock::calls.clear();
}

/* Bytes of each device. */
TEST void
glm_mock_room(size_t bytes)
{
	mock::guard held(mock::lock);

	for (size_t &one : mock::room)
		one = bytes;
}

/* Of one of them. */
TEST void
glm_mock_room_of(int device, size_t bytes)
{
	mock::guard held(mock::lock);

	mock::room[device] = bytes;
}

/* What is in a stream takes so long at least. */
TEST void
glm_mock_slow(int ms)
{
	mock::guard held(mock::lock);

	mock::slow_us = (int64_t) ms * 1000;
}

TEST void
glm_mock_wrong_graphs(bool wrong)
{
	mock::guard held(mock::lock);

	mock::wrong_graphs = wrong;
}

TEST void
glm_mock_wrong_dependent(bool wrong)
{
	mock::guard held(mock::lock);

	mock::wrong_dependent = wrong;
}

TEST void
glm_mock_wrong_kv(bool wrong)
{
	mock::guard held(mock::lock);

	mock::wrong_kv = wrong;
}

/* wgmma_* give a wrong bit, do nothing, take twice as long as others. */
TEST void
glm_mock_wgmma(bool wrong, bool idle, bool slow)
{
	mock::guard held(mock::lock);

	mock::wrong_wgmma = wrong;
	mock::idle_wgmma = idle;
	mock::slow_wgmma = slow;
}

TEST void
glm_mock_ptx_version(int version)
{
	mock::guard held(mock::lock);

	mock::ptx_version = version;
}

/* Compute capability of devices that are opened from now on: 90, or 75. */
TEST void
glm_mock_capability(int version)
{
	mock::guard held(mock::lock);

	mock::capability = version;
}

TEST int64_t
glm_mock_first_poll(void)
{
	mock::guard held(mock::lock);

	return mock::first_poll_us;
}

/*
 * How often it was called since then, or, by its name, a kernel was launched; "beside": kernels that were launched on a device while
 * another had some to do; "picked": rows of which ids were picked, where passes are no graphs; "home": bytes that were copied to the host.
 */
TEST long
glm_mock_calls(const char *what)
{
	mock::guard held(mock::lock);

	return mock::calls[what];
}
