/*
 * gpu_pass.c - a pass on a GPU: begun, put in order by operations.c, and waited for, which is
 * where it is done or has failed.
 *
 * What a pass is told, rows and blocks, goes up in one copy from pinned memory when it
 * begins; picks and the ids that come home lie beside it.  All of that is the engine thread's
 * and is not touched before wait().
 *
 * A pass may follow another that is not over.  Its rows then name what that one picks, which is
 * copied before the first operation: a pass that is done again, as when a graph is proved,
 * finds the same.  Pinned memory is there twice, and passes have it by turns; of what is on the
 * device there is one, as all of it is written and read in the stream's order.
 */
#include <string.h>

#include "cuda/resident.h"

/* ---- Begun and ended ------------------------------------------------------------------------- */

/* The next turn; if a pass is under way, what comes from here on is not its any more. */
static void
begin_turn(cuda_gpu *dev, int rows)
{
	cuda_stream *s = &dev->stream;
	bool		 follows = dev->n_flights > 0;

	if (follows && !s->failed)
		cuda_stream_note(s, dev->driver->event_record(dev->over, s->stream), "event_record");
	dev->first_failed = follows && s->failed;
	cuda_waiting_begin(&dev->waiting, rows, follows);
	dev->n_flights++;
	dev->turn = !dev->turn;
	dev->flight[dev->turn] = (cuda_flight){0};
}

/* Rows, and which of them want what, into pinned memory; does one name what was picked before? */
static bool
write_rows(const cuda_pass *p, const glm_pass *pass)
{
	int	 logits = 0, hidden = 0;
	bool follows = false;

	for (int i = 0; i < pass->n_rows; i++)
	{
		const glm_pass_row *row = &pass->row[i];

		p->row[i] = (cuda_row){row->token, row->position, row->first_block, 0};
		follows |= row->token < 0;
		if (row->want == GLM_WANT_LOGITS)
			p->logits[logits++] = i;
		if (row->want == GLM_WANT_HIDDEN)
			p->hidden[hidden++] = i;
	}
	memcpy(p->block, pass->block, pass->n_blocks * sizeof(*p->block));
	return follows;
}

void
cuda_begin(cuda_gpu *dev, const cuda_part *w, const glm_pass *pass)
{
	const cuda_pass *p;

	cuda_enter(dev);
	begin_turn(dev, pass->n_rows);
	dev->weights = w;
	dev->pass = pass;
	dev->left.at = 0;
	if (pass->n_rows > w->max_rows || pass->n_blocks > w->most_blocks)
	{
		dev->stream.failed = true;
		glm_fail(&dev->stream.why, GLM_INTERNAL, "a pass of %d rows and %zu blocks is too large",
				 pass->n_rows, pass->n_blocks);
		return;
	}
	p = &cuda_pinned_of(dev)->pass;
	if (write_rows(p, pass))
		cuda_stream_copy(&dev->stream, w->memory + w->scratch.chosen, w->memory + w->scratch.picked,
						 (size_t) w->max_rows * sizeof(cuda_picked));
	cuda_stream_put(&dev->stream, w->memory + w->scratch.pass, p->row,
					(size_t) w->max_rows * (sizeof(cuda_row) + 2 * sizeof(int32_t)) +
						pass->n_blocks * sizeof(*p->block));
	cuda_graphs_begin(&dev->graphs, pass->n_rows);
}

/* The keys and values that the pass writes here. */
static cuda_written
written(const cuda_gpu *dev)
{
	const cuda_part *w = dev->weights;

	return (cuda_written){.pass = dev->pass,
						  .model = w->model,
						  .pool = cuda_part_is_whole(w) ? dev->kv : dev->kv_shared,
						  .layers = w->span.last - w->span.first};
}

/* One without picks has no outcome that could be compared. */
void
cuda_end(cuda_gpu *dev)
{
	const cuda_part	  *w = dev->weights;
	const cuda_flight *f = &dev->flight[dev->turn];

	dev->outcome.written = written(dev);
	if (f->picked != NULL)
		cuda_graphs_end(&dev->graphs, &dev->outcome);
	else
		cuda_graphs_flush(&dev->graphs);
	if (f->picked != NULL)
		cuda_stream_fetch(&dev->stream, cuda_pinned_of(dev)->picked, w->memory + w->scratch.picked,
						  (size_t) f->n_picked * sizeof(cuda_picked));
	dev->weights = NULL;
	dev->pass = NULL;
}

/* What came of it so far can be compared, as picks can. */
void
cuda_leave(cuda_gpu *dev, glm_mem x, size_t bytes)
{
	const cuda_outcome outcome = {x.at, bytes, 0, 0, written(dev)};

	cuda_enter(dev);
	cuda_graphs_end(&dev->graphs, &outcome);
	if (!dev->stream.failed)
		cuda_stream_note(&dev->stream, dev->driver->event_record(dev->done, dev->stream.stream),
						 "event_record");
}

/*
 * Rows land beside x, and are copied from there: that copy is part of a graph, which so finds
 * the same whenever it is launched.
 */
void
cuda_arrive(cuda_gpu *dev, const cuda_gpu *from, glm_mem x, glm_mem x_there, size_t bytes)
{
	const cuda_driver *d = dev->driver;
	uint64_t		   landing = dev->weights->memory + dev->weights->scratch.landing;
	cuda_stream		  *s = &dev->stream;

	cuda_enter(dev);
	if (!s->failed)
		cuda_stream_note(s, d->stream_after(s->stream, from->done, 0), "stream_after");
	if (!s->failed)
		cuda_stream_note(
			s, d->copy_peer(landing, dev->context, x_there.at, from->context, bytes, s->stream),
			"copy_peer");
	cuda_stream_copy(s, x.at, landing, bytes);
}

/* ---- Waited for ------------------------------------------------------------------------------ */

/* Gives the ids that came home to who asked for them. */
static void
hand_over(const cuda_flight *f)
{
	static const int32_t status[] = {[GLM_CUDA_PICKED] = GLM_OK,
									 [GLM_CUDA_NOT_FINITE] = GLM_NOT_FINITE,
									 [GLM_CUDA_NONE] = GLM_INTERNAL,
									 [GLM_CUDA_LEFT] = GLM_OK};
	const cuda_picked	*from = f->picked_home;

	for (int i = 0; i < f->n_picked; i++)
		f->picked[i] = (glm_picked_id){.id = from[i].id,
									   .status = status[from[i].status],
									   .logit = from[i].logit,
									   .max = from[i].max,
									   .sum = from[i].sum};
}

bool
cuda_ready(cuda_gpu *dev)
{
	const cuda_driver *d = dev->driver;

	cuda_enter(dev);
	return (dev->n_flights > 1 ? d->event_query(dev->over) : d->stream_query(dev->stream.stream)) !=
		   CUDA_NOT_READY;
}

/* The first of two passes.  What has failed of it is told again by the second. */
static bool
wait_for_first(const cuda_gpu *dev, glm_error *err)
{
	if (dev->first_failed)
		*err = dev->stream.why;
	return !dev->first_failed && CUDA(dev->driver, err, event_wait, dev->over);
}

bool
cuda_wait(cuda_gpu *dev, glm_device_state *state, glm_error *err)
{
	bool			   followed = dev->n_flights > 1, passed = dev->n_flights > 0, fine;
	const cuda_flight *f = &dev->flight[followed ? !dev->turn : dev->turn];

	*state = GLM_DEVICE_FINE;
	cuda_enter(dev);
	if (passed) /* else it is a copy, of which no time is known */
		cuda_waiting_sleep(&dev->waiting, &dev->stream, followed ? dev->over : NULL);
	fine = followed ? wait_for_first(dev, err) : cuda_stream_wait(&dev->stream, err);
	if (fine && passed)
		cuda_waiting_end(&dev->waiting);
	if (fine && passed && f->picked != NULL)
		hand_over(f);
	if (!fine && !cuda_lives(dev))
		*state = GLM_DEVICE_LOST;
	dev->n_flights -= passed;
	return fine;
}
