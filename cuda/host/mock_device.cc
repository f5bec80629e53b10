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
int				 sticky[MOST_DEVICES];
thread_local int current = -1;
int				 things;
int64_t			 first_poll_us;

static const unsigned char POISON = 0xfb, GUARD = 0xa7;
static const size_t		   GUARDED = 64 << 10; /* bytes on both sides of a piece */

static std::map<uint64_t, memory>  given;
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
	if ((nth != at && at != 0) || (once != NULL && unlink(once) != 0))
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

/* ---- Memory --------------------------------------------------------------------------- */

size_t
in_use(int device)
{
	size_t bytes = 0;

	for (const auto &m : given)
		bytes += m.second.device == device ? m.second.bytes : 0;
	return bytes;
}

void *
take(size_t bytes, int device)
{
	char *p = NULL;

	if (device == PINNED || bytes <= room[device] - in_use(device))
		p = (char *) aligned_alloc(256, (bytes + 255) / 256 * 256 + 2 * GUARDED);
	if (p == NULL)
		return NULL;
	memset(p, GUARD, GUARDED);
	memset(p + GUARDED, POISON, bytes);
	memset(p + GUARDED + bytes, GUARD, GUARDED);
	given[(uint64_t) p + GUARDED] = memory{bytes, device};
	return p + GUARDED;
}

/* Nobody writes beside a piece of memory: a GPU would not notice it either. */
static void
check_guard(const memory &m, const unsigned char *guard, const char *side)
{
	for (size_t i = 0; i < GUARDED; i++)
	{
		if (guard[i] == GUARD)
			continue;
		fprintf(stderr, "%zu bytes of device %d were written %s, at %zu\n", m.bytes, m.device, side,
				i);
		abort();
	}
}

bool
give(void *at, bool pinned)
{
	auto		   found = given.find((uint64_t) at);
	unsigned char *p = (unsigned char *) at;

	if (found == given.end() || (found->second.device == PINNED) != pinned)
		return false;
	check_guard(found->second, p - GUARDED, "before their beginning");
	check_guard(found->second, p + found->second.bytes, "behind their end");
	given.erase(found);
	free(p - GUARDED);
	return true;
}

const memory *
find(uint64_t at, size_t bytes)
{
	auto next = given.upper_bound(at);

	if (next == given.begin())
		return NULL;
	--next;
	return at + bytes <= next->first + next->second.bytes ? &next->second : NULL;
}

bool
is_on(int device, uint64_t at, size_t bytes)
{
	const memory *m = find(at, bytes);

	return m != NULL && m->device == device;
}

/* ---- Streams -------------------------------------------------------------------------- */

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
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

#define TEST extern "C" __attribute__((visibility("default")))

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

/* What is in use of a device. */
TEST size_t
glm_mock_in_use_of(int device)
{
	mock::guard held(mock::lock);

	return mock::in_use(device);
}

/* The piece of so many bytes on a device, to be looked at; NULL: there is none. */
TEST const void *
glm_mock_memory(int device, size_t bytes)
{
	mock::guard held(mock::lock);

	for (const auto &m : mock::given)
		if (m.second.device == device && m.second.bytes == bytes)
			return (const void *) m.first;
	return NULL;
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

TEST int64_t
glm_mock_first_poll(void)
{
	mock::guard held(mock::lock);

	return mock::first_poll_us;
}

/*
 * How often it was called since then; "beside": kernels that were launched on a device while
 * another had some to do.
 */
TEST long
glm_mock_calls(const char *what)
{
	mock::guard held(mock::lock);

	return mock::calls[what];
}

/* Bytes of all devices and of pinned memory, and as much as one for each other thing. */
TEST size_t
glm_mock_in_use(void)
{
	mock::guard held(mock::lock);
	size_t		bytes = (size_t) mock::things;

	for (int i = mock::PINNED; i < mock::devices; i++)
		bytes += mock::in_use(i);
	return bytes;
}
