/*
 * mock_memory.cc - the memory of devices of mock_driver.cc, and pinned memory.
 *
 * All of it lies where the lower half of an address is a large number, FROM at least.  The driver
 * looks for another device's memory among a launch's arguments, words of which it knows no types:
 * a small number beside padding, in which half an address was left, is none of these.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <map>

#include "cuda/host/mock_device.h"

namespace mock
{
static const unsigned char POISON = 0xfb, GUARD = 0xa7;
static const size_t		   GUARDED = 64 << 10; /* bytes on both sides of a piece */
static const size_t		   PAGE = 4096;
static const uint64_t	   WORD = (uint64_t) 1 << 32;
static const uint64_t	   FROM = 0x80000000, TO = 0xf0000000; /* lower halves of addresses */

static std::map<uint64_t, memory> given;

size_t
in_use(int device)
{
	size_t bytes = 0;

	for (const auto &m : given)
		bytes += m.second.device == device ? m.second.bytes : 0;
	return bytes;
}

/* Bytes of the arena for a piece of so many. */
static size_t
span(size_t bytes)
{
	return (bytes + 2 * GUARDED + PAGE - 1) / PAGE * PAGE;
}

/* NULL: the system gives none. */
static unsigned char *
reserve(void)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void	 *all = mmap(NULL, 2 * WORD, PROT_NONE, flags, -1, 0);
	uint64_t  begin;

	if (all == MAP_FAILED)
		return NULL;
	begin = ((uint64_t) all + WORD - 1) / WORD * WORD + FROM;
	return mprotect((void *) begin, TO - FROM, PROT_READ | PROT_WRITE) == 0
			   ? (unsigned char *) begin
			   : NULL;
}

/* The first place of the arena that has room; NULL: none has. */
static unsigned char *
place(size_t bytes)
{
	static unsigned char *const arena = reserve();
	unsigned char			   *at = arena;

	for (const auto &m : given)
	{
		unsigned char *begin = (unsigned char *) m.first - GUARDED;

		if (bytes <= (size_t) (begin - at))
			return at;
		at = begin + span(m.second.bytes);
	}
	return arena != NULL && bytes <= TO - FROM - (size_t) (at - arena) ? at : NULL;
}

void *
take(size_t bytes, int device)
{
	unsigned char *p = NULL;

	if (device == PINNED || bytes <= room[device] - in_use(device))
		p = place(span(bytes));
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
	madvise(p - GUARDED, span(found->second.bytes), MADV_DONTNEED);
	given.erase(found);
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
} /* namespace mock */

using namespace mock;

/* What is in use of a device. */
TEST size_t
glm_mock_in_use_of(int device)
{
	guard held(lock);

	return in_use(device);
}

/* The piece of so many bytes on a device, to be looked at; NULL: there is none. */
TEST const void *
glm_mock_memory(int device, size_t bytes)
{
	guard held(lock);

	for (const auto &m : given)
		if (m.second.device == device && m.second.bytes == bytes)
			return (const void *) m.first;
	return NULL;
}

/* Bytes of all devices and of pinned memory, and as much as one for each other thing. */
TEST size_t
glm_mock_in_use(void)
{
	guard  held(lock);
	size_t bytes = (size_t) things;

	for (int i = PINNED; i < devices; i++)
		bytes += in_use(i);
	return bytes;
}
