/*
 * work.c - long work cut into pieces, spread over a pool, and ended when it is cancelled.
 *
 * Pieces are taken one at a time: each takes long, and a thread may wait for its core
 * while others have theirs.
 *
 * Locks: none; whether a piece has failed is atomic.
 */
#include "engine/quantize/work.h"

typedef struct run
{
	glm_work_piece	piece;
	void		   *arg;
	const glm_work *work;
	_Atomic bool   *failed;
} run;

static void
run_pieces(const void *arg, int thread, int begin, int end)
{
	const run *r = arg;

	(void) thread;
	for (int i = begin; i < end && !atomic_load(r->failed) && !glm_work_cancelled(r->work); i++)
		if (!r->piece(r->arg, i))
			atomic_store(r->failed, true);
}

bool
glm_work_goes_on(const glm_work *work, glm_error *err)
{
	return !glm_work_cancelled(work) || glm_fail(err, GLM_CANCELLED, "the request was cancelled");
}

bool
glm_work_run(const glm_work *work, glm_work_piece piece, void *arg, int n, glm_error *err)
{
	_Atomic bool failed = false;
	run			 r = {.piece = piece, .arg = arg, .work = work, .failed = &failed};

	if (work->pool == NULL || n == 1)
		run_pieces(&r, 0, 0, n);
	else
		glm_threads_spread(work->pool, run_pieces, &r, n, 1, 1, 1);
	/* also when all pieces were taken: one may have stopped half-way */
	if (!glm_work_goes_on(work, err))
		return false;
	return atomic_load(&failed) ? glm_no_memory(err) : true;
}
