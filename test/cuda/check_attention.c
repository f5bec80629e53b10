/*
 * check_attention.c - rotary embedding, keys and values, attention: against the CPU backend
 * with its scalar kernels, over one pool of blocks each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_codes.h"
#include "engine/base/threads.h"
#include "engine/compute/backend_cpu.h"
#include "engine/model/kv_layout.h"

#define MOST_ROWS 12
#define LAYERS 2

/* A pass of rows of some sequences, some far into their context. */
typedef struct shape
{
	glm_model	 model;
	glm_place	 place[(LAYERS + 1) * GLM_N_PROJECTIONS];
	glm_matrix	 matrix;
	glm_pass_row row[MOST_ROWS];
	uint32_t	*block;
	glm_pass	 pass;
	size_t		 pool_bytes;
	size_t		 qkv_floats, out_floats;
} shape;

static void
make_model(shape *s)
{
	glm_model_config *c = &s->model.config;
	size_t			  angles;

	c->layers = LAYERS;
	c->groups = ck_draw(1, 3);
	c->heads = c->groups * ck_draw(1, 11);
	c->head_dim = ck_draw(0, 2) == 0 ? 64 * ck_draw(1, 2) : ck_draw(4, 160);
	c->rotary = c->head_dim / 4 * 2;
	c->context = 2000;
	s->model.place = s->place;
	s->model.matrix = &s->matrix;
	s->model.kv_dtype = (glm_dtype[]){GLM_F32, GLM_F16, GLM_I8}[ck_draw(0, 2)];
	s->model.kv_block_bytes = glm_kv_block_bytes(c, s->model.kv_dtype);
	angles = (size_t) c->context * (size_t) c->rotary;
	s->model.rope = ck_take(angles * 4);
	ck_fill(s->model.rope, angles);
	s->qkv_floats = (size_t) ((c->heads + 2 * c->groups) * c->head_dim);
	s->out_floats = (size_t) (c->heads * c->head_dim);
}

/* Rows of up to three sequences, whose blocks lie in the pool in any order. */
static void
make_pass(shape *s, bool far)
{
	size_t unit = (s->model.kv_block_bytes + GLM_KV_UNIT - 1) / GLM_KV_UNIT;
	int	   sequences = ck_draw(1, 3), total = 0;

	s->pass.row = s->row;
	s->block = ck_take((size_t) sequences * 64 * sizeof(uint32_t));
	for (int q = 0; q < sequences; q++)
	{
		int rows = ck_draw(1, MOST_ROWS / 3);
		int first = far ? ck_draw(0, 1200) : ck_draw(0, 70);
		int blocks = (first + rows - 1) / GLM_KV_BLOCK + 1;

		for (int i = 0; i < rows; i++)
			s->row[s->pass.n_rows++] = (glm_pass_row){
				.position = first + i, .sequence = q, .first_block = (int32_t) total};
		for (int b = 0; b < blocks; b++, total++)
			s->block[total] = (uint32_t) (total ^ 1);
	}
	s->pool_bytes = (size_t) (total + 2) * unit * GLM_KV_UNIT;
	for (int b = 0; b < total; b++)
		s->block[b] *= (uint32_t) unit;
	s->pass.block = s->block;
	s->pass.n_blocks = (size_t) total;
	s->qkv_floats *= (size_t) s->pass.n_rows;
	s->out_floats *= (size_t) s->pass.n_rows;
}

/* What positions before the rows' have: numbers of the type, and scales that are numbers. */
static void
fill_pool(const shape *s, char *pool)
{
	size_t half = glm_kv_half_bytes(&s->model.config, s->model.kv_dtype);
	size_t scales = glm_kv_scales(&s->model);

	for (size_t i = 0; i < s->pool_bytes; i += 4)
	{
		float	 f = (float) (int32_t) ck_bits() * 0x1p-31f;
		uint32_t word = ck_bits();

		if (s->model.kv_dtype == GLM_F32)
			memcpy(&word, &f, 4);
		if (s->model.kv_dtype == GLM_F16)
			word &= 0xbbffbbff; /* below 2 */
		memcpy(pool + i, &word, 4);
	}
	for (size_t b = 0; s->model.kv_dtype == GLM_I8 && b < s->pass.n_blocks; b++)
	{
		char *block = pool + (size_t) s->block[b] * GLM_KV_UNIT;

		for (size_t h = 0; h < s->model.kv_block_bytes; h += half)
			ck_fill((float *) (block + h + scales), (half - scales) / 4);
	}
}

static void
run_cpu(const shape *s, const char *pool, float *qkv, float *out, char *pool_after, int layer)
{
	const glm_backend *be = &glm_backend_cpu;
	glm_error		   err = {0};
	glm_threads		  *threads = glm_threads_open(1, &err);
	glm_device		  *dev = be->open(&(int){0}, 1, "scalar", threads, GLM_EXACT, &err);
	glm_weights		  *w = be->load(dev, 0, &s->model, GLM_ALL_SEGMENTS, 512, NULL, NULL, &err);
	glm_mem			   there = be->kv_pool(dev, 0, s->pool_bytes, &err);

	if (w == NULL || there.at == 0)
		abort();
	memcpy((void *) there.at, pool, s->pool_bytes);
	be->begin(dev, w, &s->pass);
	be->attention(dev, (glm_mem){(uintptr_t) out}, (glm_mem){(uintptr_t) qkv}, layer, 0,
				  s->pass.n_rows);
	be->end(dev);
	memcpy(pool_after, (void *) there.at, s->pool_bytes);
	be->unload(dev, w);
	be->close(dev);
	glm_threads_close(threads);
}

/* One of those that can do it. */
static cuda_kernel
some_kernel(const glm_model_config *c)
{
	int most = c->head_dim % 2 != 0 ? 0 : c->head_dim > 240 ? 1 : 2;

	return (cuda_kernel) (GLM_CUDA_attend_few + ck_draw(0, most));
}

static void
run_gpu(const shape *s, char *pool, float *qkv, float *out, const cuda_codes *to, int layer)
{
	const glm_model_config *c = &s->model.config;
	int						n = s->pass.n_rows, stretches = 0;
	cuda_row			   *row = ck_take((size_t) n * sizeof(*row));
	float				   *part;
	cuda_kv					kv = {.pool = pool,
								  .block = s->block,
								  .layer = glm_kv_keys(&s->model, layer, 0),
								  .half = glm_kv_half_bytes(c, s->model.kv_dtype),
								  .dtype = (int) s->model.kv_dtype,
								  .heads = c->heads,
								  .groups = c->groups,
								  .head_dim = c->head_dim};

	for (int i = 0; i < n; i++)
	{
		row[i] = (cuda_row){0, s->row[i].position, s->row[i].first_block, 0};
		if (row[i].position / GLM_CUDA_STRETCH >= stretches)
			stretches = row[i].position / GLM_CUDA_STRETCH + 1;
	}
	part = ck_take((size_t) (n * c->heads * stretches * (c->head_dim + 2)) * 4);
	cuda_rope_store(&ck_launcher, &(rope_store_args){kv, qkv, s->model.rope, row, c->rotary}, n);
	cuda_attend_by(&ck_launcher, some_kernel(c), &(attend_args){kv, part, qkv, row, stretches, 0},
				   n);
	cuda_join(&ck_launcher, &(join_args){out, *to, part, row, c->heads, c->head_dim, stretches},
			  to->group > 0 ? to->ld : n);
}

/* A value that is not finite must spoil what it would on the CPU. */
static void
check_pass(bool far)
{
	shape	  *s = ck_take(sizeof(*s));
	float	  *qkv[2], *out[2];
	char	  *pool, *pool_cpu, what[96];
	int		   layer = ck_draw(0, LAYERS - 1), group = 32 << ck_draw(0, 2), columns;
	cuda_codes to = {0};

	memset(s, 0, sizeof(*s));
	make_model(s);
	make_pass(s, far);
	columns = s->model.config.heads * s->model.config.head_dim;
	pool = ck_take(s->pool_bytes);
	pool_cpu = ck_take(s->pool_bytes);
	fill_pool(s, pool);
	for (int i = 0; i < 2; i++)
	{
		qkv[i] = ck_take(s->qkv_floats * 4);
		out[i] = ck_take(s->out_floats * 4);
	}
	ck_fill(qkv[0], s->qkv_floats);
	if (ck_draw(0, 9) == 0)
		qkv[0][s->qkv_floats - 1 - (size_t) ck_draw(0, s->model.config.head_dim - 1)] = 1.0f / 0.0f;
	memcpy(qkv[1], qkv[0], s->qkv_floats * 4);
	run_cpu(s, pool, qkv[0], out[0], pool_cpu, layer);
	if (s->model.config.head_dim % group == 0)
		to = ck_codes(s->pass.n_rows, columns, group);
	run_gpu(s, pool, qkv[1], out[1], &to, layer);
	snprintf(what, sizeof(what), "attention %s: %d rows, %d heads of %d in %d groups, to %d",
			 glm_dtypes[s->model.kv_dtype].name, s->pass.n_rows, s->model.config.heads,
			 s->model.config.head_dim, s->model.config.groups, s->row[s->pass.n_rows - 1].position);
	ck_same_floats(what, out[1], out[0], s->out_floats);
	if (to.group > 0)
		ck_same_codes(what, &to, out[0], columns);
	ck_same("keys and values", pool, pool_cpu, s->pool_bytes);
}

void
ck_attention(int times)
{
	for (int i = 0; i < times; i++)
	{
		check_pass(i % 3 == 2);
		ck_free_all();
	}
}
