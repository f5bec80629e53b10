/*
 * spread.c - a range of items, taken piece by piece by the threads of a pool.
 *
 * Threads take pieces as they get to them, so a thread that started late does less.  Each
 * takes its SHARE of what is left, so that pieces get smaller and all threads end together.
 *
 * Locks: none; the next item that nobody took is one atomic number.
 */
#include "engine/base/threads.h"

#define SHARE(threads) (2 * (threads))

typedef struct range
{
	glm_range_body body;
	const void	  *arg;
	int			   n_items;
	int			   grain;
	int			   least;
	int			   most;
	_Atomic int	   next; /* first item not taken */
} range;

static void
take_pieces(void *arg, int index, int count)
{
	range *r = arg;

	for (;;)
	{
		int begin = atomic_load_explicit(&r->next, memory_order_relaxed);
		int end;
		int piece;

		/* not fetch_add: it could run past INT_MAX */
		do
		{
			if (begin >= r->n_items)
				return;
			piece = (r->n_items - begin) / SHARE(count) / r->grain * r->grain;
			piece = piece > r->least ? piece : r->least;
			piece = piece < r->most ? piece : r->most;
			end = r->n_items - begin > piece ? begin + piece : r->n_items;
		} while (!atomic_compare_exchange_weak(&r->next, &begin, end));
		r->body(r->arg, index, begin, end);
	}
}

void
glm_threads_spread(glm_threads *pool, glm_range_body body, const void *arg, int n_items, int grain,
				   int least, int most)
{
	range r = {
		.body = body, .arg = arg, .n_items = n_items, .grain = grain, .least = least, .most = most};

	glm_threads_run(pool, take_pieces, &r);
}
