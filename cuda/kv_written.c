/*
 * kv_written.c - the keys and values that a pass writes: one position of a block for each of
 * its rows, in each layer and group (kv_layout.h).
 */
#include "cuda/kv_written.h"

#include "engine/model/kv_layout.h"

static size_t
block_bytes(const cuda_written *w)
{
	return (size_t) w->layers * 2 * (size_t) w->model->config.groups *
		   glm_kv_half_bytes(&w->model->config, w->model->kv_dtype);
}

static uint32_t
block_of(const cuda_written *w, int row)
{
	const glm_pass_row *r = &w->pass->row[row];

	return w->pass->block[r->first_block + r->position / GLM_KV_BLOCK];
}

/* Is a row's block not that of the row before?  Rows of a sequence are neighbours. */
static bool
is_new(const cuda_written *w, int row)
{
	return row == 0 || block_of(w, row) != block_of(w, row - 1);
}

static int
n_rows(const cuda_written *w)
{
	return w->pass != NULL ? w->pass->n_rows : 0;
}

size_t
cuda_written_bytes(const cuda_written *w)
{
	size_t n = 0;

	for (int i = 0; i < n_rows(w); i++)
		n += is_new(w, i);
	return n > 0 ? n * block_bytes(w) : 0;
}

bool
cuda_written_fetch(const cuda_written *w, const cuda_stream *s, char *to)
{
	for (int i = 0; i < n_rows(w); i++)
	{
		uint64_t from = w->pool + (uint64_t) block_of(w, i) * GLM_KV_UNIT;

		if (!is_new(w, i))
			continue;
		if (s->driver->copy_from(to, from, block_bytes(w), s->stream) != CUDA_FINE)
			return false;
		to += block_bytes(w);
	}
	return true;
}

bool
cuda_written_put(const cuda_written *w, const cuda_stream *s, const char *from)
{
	for (int i = 0; i < n_rows(w); i++)
	{
		uint64_t to = w->pool + (uint64_t) block_of(w, i) * GLM_KV_UNIT;

		if (!is_new(w, i))
			continue;
		if (s->driver->copy_to(to, from, block_bytes(w), s->stream) != CUDA_FINE)
			return false;
		from += block_bytes(w);
	}
	return true;
}

/* One position of n elements each: keys [n, 32], or values [32, n]. */
static void
spoil(char *half, size_t element, int n, int place, bool keys)
{
	for (int d = 0; d < n; d++)
	{
		char *at = half + element * (size_t) (keys ? d * GLM_KV_BLOCK + place : place * n + d);

		for (size_t i = 0; i < element; i++)
			at[i] = (char) ~at[i];
	}
}

void
cuda_written_spoil(const cuda_written *w, char *blocks)
{
	const glm_model *m = w->model;
	bool			 codes = m != NULL && m->kv_dtype == GLM_I8;
	char			*block = blocks;

	for (int i = 0; i < n_rows(w); i++)
	{
		int place = w->pass->row[i].position % GLM_KV_BLOCK;

		if (i > 0 && is_new(w, i))
			block += block_bytes(w);
		for (int half = 0; half < w->layers * 2 * m->config.groups; half++)
		{
			char *at = block + (size_t) half * glm_kv_half_bytes(&m->config, m->kv_dtype);
			bool  keys = half / m->config.groups % 2 == 0;

			spoil(at, codes ? 1 : (size_t) glm_dtypes[m->kv_dtype].size, m->config.head_dim, place,
				  keys);
			if (codes)
				spoil(at + glm_kv_scales(m), sizeof(float), glm_kv_groups(m->config.head_dim),
					  place, keys);
		}
	}
}
