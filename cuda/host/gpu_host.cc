/*
 * gpu_host.cc - the fibers, barriers and meetings of gpu_host.h.
 *
 * One block at a time, all state in `now`.  A fiber that waits gives way to the next in the
 * chosen order; when all have done so often enough without anything happening, they wait in
 * vain.  Threads that ended count as arrived at barriers, as on a GPU.
 */
#include "cuda/host/gpu_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace gpu
{
choice chosen = {FORWARD, 0, false, false, false, false};
void (*earlier)();

namespace
{
enum
{
	MOST_THREADS = 1024,
	MOST_SHARED = 227 * 1024,
	STACK = 256 * 1024,
	POISON = 0xfb
};

struct late_copy
{
	void	   *to;
	const void *from;
	size_t		bytes;
	int			group;
};

struct fiber
{
	void				  *stack_pointer;
	char				  *stack;
	void				  *fake_stack; /* ASan's */
	bool				   done, has_awaited;
	int					   group; /* of copies, that is open */
	std::vector<late_copy> copies;
#if !defined(__x86_64__)
	ucontext_t context;
#endif
};

struct meeting
{
	unsigned mask;
	int		 arrived;
	unsigned turn;
	alignas(16) unsigned char in[32][MOST_OPERAND], out[32][MOST_OPERAND];
};

struct block
{
	const char *name;
	void (*body)(const void *);
	const void	  *args;
	dim3		   grid, index;
	int			   n, alive, running; /* -1: the one that launched */
	int			   order[MOST_THREADS], place[MOST_THREADS];
	fiber		   thread[MOST_THREADS];
	meeting		   warp[MOST_THREADS / 32];
	int			   arrived; /* at the barrier */
	unsigned	   turn;
	long		   idle; /* yields since something happened */
	unsigned char *shared;
	fiber		   launcher;
} now;
} /* namespace */

void
fault(const char *what)
{
	fprintf(stderr, "%s: %s (block %u %u %u, thread %d)\n", now.name, what, now.index.x,
			now.index.y, now.index.z, now.running);
	abort();
}

namespace
{
#if defined(__x86_64__)
extern "C" void gpu_host_switch(void **from, void *to);
__asm__(".text\n.globl gpu_host_switch\n.hidden gpu_host_switch\n"
		".type gpu_host_switch,@function\ngpu_host_switch:\n"
		"pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
		"movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
		"popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
		".size gpu_host_switch,.-gpu_host_switch\n");
#endif

fiber *
fiber_at(int i)
{
	return i < 0 ? &now.launcher : &now.thread[i];
}

/* Runs fiber `to` until it, or another, comes back to the running one. */
void
run(int to)
{
	fiber *from = fiber_at(now.running), *next = fiber_at(to);

	now.running = to;
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_start_switch_fiber(&from->fake_stack, next->stack, next->stack ? STACK : 0);
#endif
#if defined(__x86_64__)
	gpu_host_switch(&from->stack_pointer, next->stack_pointer);
#else
	swapcontext(&from->context, &next->context);
#endif
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

/* Something happened that others may have waited for. */
void
release_barrier()
{
	now.arrived = 0;
	now.turn++;
	now.idle = 0;
}

/* Gives way to the next one; of_warp: to the next of the same warp, where warps run ahead. */
void
yield(bool of_warp)
{
	int at = now.place[now.running], warp = now.running / 32;

	if (now.alive == 0)
		return run(-1);
	if (++now.idle > 8L * now.n + 64)
		fault("threads wait at a barrier, or for lanes of their warp, that never come");
	do
		at = at + 1 == now.n ? 0 : at + 1;
	while (now.thread[now.order[at]].done ||
		   (of_warp && chosen.ahead && now.order[at] / 32 != warp));
	if (now.order[at] != now.running)
		run(now.order[at]);
}

void
enter_fiber()
{
	fiber *me;

#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
	now.body(now.args);
	me = fiber_at(now.running);
	if (!me->copies.empty())
		fault("an asynchronous copy was not waited for");
	if (const char *why = wgmma_end_thread())
		fault(why);
	if (chosen.dependent && !me->has_awaited)
		fault("a thread did not await the kernel before");
	me->done = true;
	now.alive--;
	now.idle = 0;
	if (now.alive > 0 && now.arrived == now.alive)
		release_barrier();
	yield(false);
	abort();
}

void
prepare_fiber(fiber *f)
{
	if (f->stack == NULL)
	{
		void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
						   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (stack == MAP_FAILED)
			fault("no memory for a stack");
		f->stack = (char *) stack;
	}
#if defined(__SANITIZE_ADDRESS__)
	/* what the one before left on it */
	ASAN_UNPOISON_MEMORY_REGION(f->stack, STACK);
#endif
	f->done = f->has_awaited = false;
	f->group = 0;
	f->copies.clear();
#if defined(__x86_64__)
	void **top = (void **) (f->stack + STACK);

	*--top = NULL;
	*--top = (void *) enter_fiber;
	for (int i = 0; i < 6; i++)
		*--top = NULL;
	f->stack_pointer = top;
#else
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = f->stack;
	f->context.uc_stack.ss_size = STACK;
	f->context.uc_link = NULL;
	makecontext(&f->context, enter_fiber, 0);
#endif
}

void
choose_order()
{
	unsigned random = chosen.seed * 2654435761u + 12345;

	for (int i = 0; i < now.n; i++)
		now.order[i] = chosen.order == REVERSE ? now.n - 1 - i : i;
	for (int i = now.n - 1; chosen.order == RANDOM && i > 0; i--)
	{
		random = random * 1664525u + 1013904223u;

		int j = (int) ((random >> 8) % (unsigned) (i + 1)), other = now.order[j];

		now.order[j] = now.order[i];
		now.order[i] = other;
	}
	for (int i = 0; i < now.n; i++)
		now.place[now.order[i]] = i;
}

void
run_block(size_t shared)
{
	/* a piece of its own, so that ASan sees its end */
	now.shared =
		shared > 0 ? (unsigned char *) aligned_alloc(128, (shared + 127) / 128 * 128) : NULL;
	if (shared > 0)
	{
		memset(now.shared, POISON, shared);
#if defined(__SANITIZE_ADDRESS__)
		ASAN_POISON_MEMORY_REGION(now.shared + shared, (shared + 127) / 128 * 128 - shared);
#endif
	}
	now.alive = now.n;
	now.arrived = 0;
	now.idle = 0;
	for (int i = 0; i < now.n; i++)
		prepare_fiber(&now.thread[i]);
	for (int i = 0; i < (now.n + 31) / 32; i++)
		now.warp[i].arrived = 0;
	wgmma_begin_block(shared);
	now.running = -1;
	run(now.order[0]);
	if (const char *why = wgmma_end_block())
		fault(why);
#if defined(__SANITIZE_ADDRESS__)
	if (shared > 0)
		ASAN_UNPOISON_MEMORY_REGION(now.shared, (shared + 127) / 128 * 128);
#endif
	free(now.shared);
}
} /* namespace */

void
launch(const char *name, dim3 grid, unsigned threads, size_t shared, void (*body)(const void *),
	   const void *args)
{
	now.name = name;
	now.body = body;
	now.args = args;
	now.grid = grid;
	now.n = (int) threads;
	now.running = -1;
	now.index = dim3{0, 0, 0};
	if (threads < 1 || threads > MOST_THREADS || shared > MOST_SHARED || grid.x == 0 ||
		grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
		fault("no GPU launches this");
	choose_order();
	for (unsigned z = 0; z < grid.z; z++)
		for (unsigned y = 0; y < grid.y; y++)
			for (unsigned x = 0; x < grid.x; x++)
			{
				now.index = dim3{x, y, z};
				run_block(shared);
			}
}

dim3
block_index()
{
	return now.index;
}

dim3
grid_size()
{
	return now.grid;
}

unsigned
thread_index()
{
	return (unsigned) now.running;
}

unsigned
block_size()
{
	return (unsigned) now.n;
}

unsigned char *
shared_memory()
{
	return now.shared;
}

void
barrier()
{
	unsigned turn = now.turn;

	if (++now.arrived == now.alive)
		release_barrier();
	else
		while (now.turn == turn)
			yield(false);
}

void
meet(unsigned mask, const void *in, size_t in_bytes, void *out, size_t out_bytes,
	 void (*all)(const void *, const unsigned char *, unsigned char *), const void *context)
{
	meeting *m = &now.warp[now.running / 32];
	int		 lane = now.running % 32;
	unsigned turn = m->turn;

	if (m->arrived > 0 && m->mask != mask)
		fault("lanes of a warp name different masks");
	if ((mask >> lane & 1) == 0)
		fault("a lane is not in its own mask");
	m->mask = mask;
	memcpy(m->in[lane], in, in_bytes);
	if (++m->arrived == __builtin_popcount(mask))
	{
		all(context, m->in[0], m->out[0]);
		m->arrived = 0;
		m->turn++;
		now.idle = 0;
	}
	else
		while (m->turn == turn)
			yield(true);
	memcpy(out, m->out[lane], out_bytes);
}

void
copy_async(void *to, const void *from, size_t bytes)
{
	fiber *me = fiber_at(now.running);

	if ((uintptr_t) to % bytes != 0 || (uintptr_t) from % bytes != 0)
		fault("an asynchronous copy is not aligned");
	if (chosen.early)
		memcpy(to, from, bytes);
	else
		me->copies.push_back(late_copy{to, from, bytes, me->group});
}

void
copy_commit()
{
	fiber_at(now.running)->group++;
}

void
copy_wait(int groups_left)
{
	fiber *me = fiber_at(now.running);
	size_t n = 0;

	for (; n < me->copies.size() && me->copies[n].group < me->group - groups_left; n++)
		memcpy(me->copies[n].to, me->copies[n].from, me->copies[n].bytes);
	me->copies.erase(me->copies.begin(), me->copies.begin() + (long) n);
}

void
await_previous()
{
	void (*call)() = earlier;

	fiber_at(now.running)->has_awaited = true;
	earlier = NULL;
	if (call != NULL)
		call();
}
} /* namespace gpu */
