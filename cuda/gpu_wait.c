/*
 * gpu_wait.c - waiting for a pass without keeping a core busy, and without waking late.
 *
 * A wait of the driver's that sleeps wakes tens of microseconds after the pass is done, which
 * is some per cent of a small one; asking all the time costs a core.  So the thread sleeps
 * itself until shortly before the time that passes of about as many rows take, asks from then
 * on, and leaves it to the driver when the pass takes longer.
 */
#include "cuda/gpu_wait.h"

#include <sched.h>
#include <time.h>

/* Before the usual time and behind it: a fifth of it, as far as that is of use. */
#define MOST_ASKING_NS INT64_C(200000)

/* The library has no clock of the engine's, which would bring threads along. */
static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int
bucket_of(int rows)
{
	static const int most[CUDA_WAIT_BUCKETS - 1] = {1, 2, 4, 8, 16, 24, 32, 48, 64};
	int				 i = 0;

	while (i < CUDA_WAIT_BUCKETS - 1 && rows > most[i])
		i++;
	return i;
}

void
cuda_waiting_begin(cuda_waiting *w, int rows, bool behind)
{
	w->bucket_behind = bucket_of(rows);
	if (behind)
		return;
	w->bucket = w->bucket_behind;
	w->began_ns = now_ns();
}

static void
sleep_until(int64_t ns)
{
	const struct timespec t = {ns / 1000000000, ns % 1000000000};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static bool
is_under_way(const cuda_stream *s, void *event)
{
	return (event != NULL ? s->driver->event_query(event) : s->driver->stream_query(s->stream)) ==
		   CUDA_NOT_READY;
}

void
cuda_waiting_sleep(const cuda_waiting *w, const cuda_stream *s, void *event)
{
	int64_t usual = w->usual_ns[w->bucket];
	int64_t window = usual / 5 < MOST_ASKING_NS ? usual / 5 : MOST_ASKING_NS;

	if (usual == 0)
		return;
	sleep_until(w->began_ns + usual - window);
	while (is_under_way(s, event) && now_ns() < w->began_ns + usual + window)
		sched_yield();
}

/* One that was held up says little: the usual time grows slowly, and shrinks at once. */
void
cuda_waiting_end(cuda_waiting *w)
{
	int64_t *usual = &w->usual_ns[w->bucket];
	int64_t	 now = now_ns(), took = now - w->began_ns, most = *usual + *usual / 8;

	*usual = *usual == 0 || took < most ? took : most;
	w->bucket = w->bucket_behind;
	w->began_ns = now;
}
