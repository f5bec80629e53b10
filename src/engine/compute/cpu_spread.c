/*
 * cpu_spread.c - an operation's items, spread over the threads of the pool.
 *
 * Small operations run on the calling thread alone: handing out a few microseconds of work
 * costs more than it saves, and the other cores are better left to the server's processes.
 */
#include "engine/compute/cpu_spread.h"

#include <limits.h>

#define WORK_MIN ((size_t) 96 * 1024) /* multiply-adds that are worth the pool */

/* Of a piece at least: taking one costs some 0.2 microseconds where cores share it. */
#define PIECE_WORK ((size_t) 128 * 1024)

void
glm_cpu_spread(glm_device *dev, glm_range_body body, const void *arg, int n_items, int grain,
			   size_t work)
{
	int threads = glm_threads_count(dev->pool);
	int pieces = work / PIECE_WORK < (size_t) n_items ? (int) (work / PIECE_WORK) : n_items;
	int least;

	if (threads == 1 || n_items <= grain || work < WORK_MIN)
	{
		body(arg, 0, 0, n_items);
		return;
	}
	least = n_items / (pieces < threads ? threads : pieces) / grain * grain;
	glm_threads_spread(dev->pool, body, arg, n_items, grain, least < grain ? grain : least,
					   INT_MAX);
}
