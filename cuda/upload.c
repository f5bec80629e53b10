/*
 * upload.c - a model, or some of its layers, made resident: weights copied to the device, a segment at a time,
 * through pinned memory, on a stream of its own, while passes run.
 *
 * One piece of pinned memory is filled, by two threads, while the other is copied: a thread alone
 * does not copy as fast as the way to a GPU is.
 *
 * A segment's files are held while it is copied and let go then: what is on the device needs
 * no pages of the host.  Codes of packed matrices are woven there.
 */
#include <stdlib.h>
#include <string.h>

#include "cuda/resident.h"

#define STAGE ((size_t) 8 << 20) /* bytes of a piece */
#define COPIERS 2
#define PINNED_ALIGNMENT ((size_t) 256)
#define SHARED_COPY ((size_t) 256 << 10) /* bytes for which waking another thread pays */

typedef struct upload
{
	cuda_gpu	*dev;
	cuda_part	*w;
	cuda_stream	 stream;
	char		*stage[2]; /* pinned */
	void		*event[2]; /* the stage has been copied */
	int			 turn;
	glm_threads *copiers; /* NULL: there are none, this thread copies alone */
	glm_go_on	 go_on;
	void		*arg;
} upload;

static bool
open_upload(upload *u, glm_error *err)
{
	const cuda_driver *d = u->dev->driver;
	glm_error		   none;

	if (!cuda_stream_open(&u->stream, d, u->dev->function, err))
		return false;
	for (int i = 0; i < 2; i++)
		if (!CUDA(d, err, pinned_take, (void **) &u->stage[i], STAGE, 0) ||
			!CUDA(d, err, event_open, &u->event[i], 0))
			return false;
	u->copiers = cuda_host->threads_open(COPIERS, &none);
	return true;
}

static void
close_upload(upload *u)
{
	const cuda_driver *d = u->dev->driver;
	glm_error		   err;

	/* nothing may be copied from memory that is gone */
	if (u->stream.stream != NULL)
		cuda_stream_wait(&u->stream, &err);
	for (int i = 0; i < 2; i++)
	{
		if (u->event[i] != NULL)
			d->event_close(u->event[i]);
		if (u->stage[i] != NULL)
			d->pinned_give(u->stage[i]);
	}
	cuda_stream_close(&u->stream);
	if (u->copiers != NULL)
		cuda_host->threads_close(u->copiers);
}

typedef struct copying
{
	char	   *to;
	const char *from;
	size_t		bytes;
} copying;

static void
copy_share(void *arg, int index, int count)
{
	const copying *c = arg;
	size_t		   begin = c->bytes / (size_t) count * (size_t) index;
	size_t		   end = index == count - 1 ? c->bytes : begin + c->bytes / (size_t) count;

	memcpy(c->to + begin, c->from + begin, end - begin);
}

static void
copy(const upload *u, char *to, const char *from, size_t bytes)
{
	copying c = {to, from, bytes};

	if (u->copiers != NULL && bytes >= SHARED_COPY)
		cuda_host->threads_run(u->copiers, copy_share, &c);
	else
		copy_share(&c, 0, 1);
}

/* Copies so many bytes to a place, piece by piece; one is filled while the other is copied. */
static bool
send(upload *u, cuda_place to, const void *from, size_t bytes, glm_error *err)
{
	const cuda_driver *d = u->dev->driver;

	for (size_t done = 0; done < bytes; done += STAGE, u->turn ^= 1)
	{
		size_t n = bytes - done < STAGE ? bytes - done : STAGE;

		if (!u->go_on(u->arg, err) || !CUDA(d, err, event_wait, u->event[u->turn]))
			return false;
		copy(u, u->stage[u->turn], (const char *) from + done, n);
		cuda_stream_put(&u->stream, u->w->memory + to + done, u->stage[u->turn], n);
		if (!CUDA(d, err, event_record, u->event[u->turn], u->stream.stream))
			return false;
	}
	return true;
}

static bool
send_matrix(upload *u, const glm_matrix *from, glm_error *err)
{
	const glm_tensor  *t = &from->tensor;
	const cuda_matrix *m = &u->w->matrix[from - u->w->model->matrix];

	if (!send(u, m->data, t->data, glm_tensor_bytes(t), err) ||
		(from->bias != NULL &&
		 !send(u, m->bias, from->bias, (size_t) t->shape[0] * sizeof(float), err)))
		return false;
	/* rows of the embedding are looked up, not multiplied */
	if (glm_is_packed(t->dtype) && from->projection != GLM_EMBEDDING)
		cuda_weave(&u->stream.launcher,
				   &(weave_args){
					   .tiles = cuda_at(u->w, m->data),
					   .tile_bytes = m->tile_bytes,
					   .head = m->head,
					   .n_tiles = (int) glm_packed_tiles((size_t) t->shape[0]),
					   .groups = (int) glm_packed_groups((size_t) t->shape[1], (size_t) t->group),
					   .group = t->group,
					   .bits = t->dtype == GLM_Q4 ? 4 : 8});
	return true;
}

/* The matrices of a layer, or of GLM_NO_LAYER: of the projections [first, last]. */
static bool
send_layer(upload *u, int layer, glm_projection first, glm_projection last, glm_error *err)
{
	for (int p = (int) first; p <= (int) last; p++)
	{
		int				  n;
		const glm_matrix *m = glm_model_matrices(u->w->model, (glm_projection) p, layer, &n);

		for (int i = 0; i < n; i++)
			if (!send_matrix(u, &m[i], err))
				return false;
	}
	return true;
}

static bool
send_segment(upload *u, glm_residency *files, int segment, glm_error *err)
{
	bool embedding = segment == GLM_SEGMENT_EMBEDDING, output = segment == GLM_SEGMENT_OUTPUT;
	bool ok;

	if (!cuda_host->residency_touch(files, segment, err))
		return false;
	ok = embedding ? send_layer(u, GLM_NO_LAYER, GLM_EMBEDDING, GLM_EMBEDDING, err)
		 : output  ? send_layer(u, GLM_NO_LAYER, GLM_HEAD, GLM_HEAD, err)
				   : send_layer(u, segment, GLM_QKV, GLM_DOWN, err);
	if (u->w->model->segment != NULL)
		cuda_host->residency_release(files, segment);
	return ok;
}

/* In the order in which a pass reads them, as the CPU's files are touched. */
static bool
send_segments(upload *u, glm_error *err)
{
	const glm_model *model = u->w->model;
	glm_residency	 files = {0};
	const cuda_span *span = &u->w->span;
	bool			 ok = cuda_host->residency_open(&files, model, err) &&
			  (!span->embedding || send_segment(u, &files, GLM_SEGMENT_EMBEDDING, err));

	for (int l = span->first; ok && l < span->last; l++)
		ok = send_segment(u, &files, l, err);
	ok = ok && (!span->head || send_segment(u, &files, GLM_SEGMENT_OUTPUT, err));
	cuda_host->residency_close(&files);
	return ok;
}

static bool
send_norms(upload *u, int layer, glm_error *err)
{
	const glm_model *model = u->w->model;

	for (int n = 0; n < GLM_N_NORMS; n++)
	{
		const float *norm = glm_model_norm(model, (glm_norm) n, layer);

		if (norm != NULL && !send(u, *cuda_weights_norm(u->w, (glm_norm) n, layer), norm,
								  (size_t) model->config.hidden * sizeof(float), err))
			return false;
	}
	return true;
}

/* What the model has in the host's memory anyway. */
static bool
send_small(upload *u, glm_error *err)
{
	const glm_model		   *model = u->w->model;
	const glm_model_config *config = &model->config;
	size_t angles = (size_t) config->context * (size_t) config->rotary * sizeof(float);

	for (int l = u->w->span.first; l < u->w->span.last; l++)
		if (!send_norms(u, l, err))
			return false;
	if (u->w->span.head && !send_norms(u, GLM_NO_LAYER, err))
		return false;
	return send(u, u->w->rope, model->rope, angles, err);
}

/* Pinned memory for what two passes are told, picks among that, and for the ids they pick. */
static bool
take_pinned(cuda_gpu *dev, cuda_part *w, glm_error *err)
{
	size_t rows = (size_t) w->max_rows;
	size_t data = w->span.head ? CUDA_PICK_BYTES : 0;
	size_t bytes =
		data +
		rows * (sizeof(cuda_row) + 2 * sizeof(int32_t) + sizeof(cuda_pick) + sizeof(cuda_picked)) +
		w->most_blocks * sizeof(uint32_t);

	bytes = (bytes + PINNED_ALIGNMENT - 1) / PINNED_ALIGNMENT * PINNED_ALIGNMENT;
	if (!CUDA(dev->driver, err, pinned_take, (void **) &w->pinned, 2 * bytes, 0))
		return false;
	for (int i = 0; i < 2; i++)
	{
		cuda_pinned *p = &w->of_turn[i];

		p->pick_data = w->pinned + (size_t) i * bytes;
		p->pick = (cuda_pick *) (p->pick_data + data);
		p->picked = (cuda_picked *) (p->pick + rows);
		p->pass.row = (cuda_row *) (p->picked + rows);
		p->pass.logits = (int32_t *) (p->pass.row + rows);
		p->pass.hidden = p->pass.logits + rows;
		p->pass.block = (uint32_t *) (p->pass.hidden + rows);
	}
	return true;
}

static bool
fill(cuda_gpu *dev, cuda_part *w, glm_go_on go_on, void *arg, glm_error *err)
{
	upload u = {.dev = dev, .w = w, .go_on = go_on, .arg = arg};
	bool   ok = open_upload(&u, err) && send_small(&u, err) && send_segments(&u, err) &&
			  cuda_stream_wait(&u.stream, err);

	close_upload(&u);
	return ok;
}

cuda_part *
cuda_load(cuda_gpu *dev, const glm_model *model, const cuda_span *span, int max_rows,
		  glm_go_on go_on, void *arg, glm_error *err)
{
	cuda_part *w = calloc(1, sizeof(*w));

	if (w == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	if (cuda_weights_plan(w, dev, model, span, max_rows, err))
	{
		w->memory = cuda_take(dev, w->bytes, err);
		if (w->memory != 0 && take_pinned(dev, w, err) && fill(dev, w, go_on, arg, err))
			return w;
	}
	cuda_lives(dev); /* whoever asks is told then */
	cuda_unload(dev, w);
	return NULL;
}
