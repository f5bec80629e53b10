/*
 * bench.c - how long kernels take on a GPU, for the shapes of ChatGLM3-6B in INT4, and one in F16, exact
 * and fast: a line for each, with bytes of weights and keys a second.  Weights of as many layers as the model has
 * are gone through in turn, so that none is left in a cache.
 *
 *     bench [LAYERS]
 */
#include <stdio.h>
#include <stdlib.h>

#include "cuda/gpu_backend.h"
#include "engine/weights/packed.h"

#define GROUP 64

static cuda_gpu *dev;
static int		 layers = 28;

static uint64_t
take(size_t bytes)
{
	glm_error err = {0};
	uint64_t  memory = cuda_take(dev, bytes, &err);

	if (memory == 0)
	{
		printf("# %s\n", err.message);
		exit(2);
	}
	return memory;
}

typedef void (*body)(const void *arg, int layer);

/* Microseconds of one call, over all layers, after a first round. */
static double
time_of(body run, const void *arg)
{
	const cuda_driver *d = dev->driver;
	void			  *event[2];
	float			   ms = 0;
	glm_error		   err;

	d->event_open(&event[0], 0);
	d->event_open(&event[1], 0);
	for (int round = 0; round < 2; round++)
	{
		if (round == 1)
			d->event_record(event[0], dev->stream.stream);
		for (int l = 0; l < layers; l++)
			run(arg, l);
	}
	d->event_record(event[1], dev->stream.stream);
	if (!cuda_stream_wait(&dev->stream, &err))
	{
		printf("# %s\n", err.message);
		exit(2);
	}
	d->event_elapsed(&ms, event[0], event[1]);
	return ms * 1e3 / layers;
}

/* ---- Products ------------------------------------------------------------------------- */

typedef struct product
{
	packed_args args;
	uint64_t	each; /* bytes of a layer's weights */
	cuda_kernel kind;
} product;

static void
multiply(const void *arg, int layer)
{
	const product *p = arg;
	packed_args	   a = p->args;

	a.w += p->each * (uint64_t) layer;
	cuda_packed_by(&dev->stream.launcher, p->kind, &a, GLM_CUDA_Q4, GROUP);
}

static void
time_product(const char *name, product *p, cuda_kernel kind, const char *how)
{
	const packed_args *a = &p->args;
	double			   us;

	p->kind = kind;
	us = time_of(multiply, p);
	printf("%s, %d rows%s: %.1f us, %.0f GB/s, %.1f TOPS\n", name, a->m, how, us,
		   (double) p->each / us * 1e-3, 2e-6 * a->m * a->n * a->groups * GROUP / us);
}

static void
bench_product(const char *name, int rows, int cols)
{
	static const int m[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};
	product			 p = {.each = glm_packed_bytes(GLM_Q4, (size_t) rows, (size_t) cols, GROUP)};
	size_t			 groups = glm_packed_groups((size_t) cols, GROUP);

	p.args = (packed_args){
		.c = (float *) (uintptr_t) take((size_t) 512 * (size_t) rows * 4),
		.ldc = (uint64_t) rows,
		.w = (uint8_t *) (uintptr_t) take(p.each * (uint64_t) layers),
		.tile_bytes = glm_packed_tile_bytes(GLM_Q4, (size_t) cols, GROUP),
		.head = glm_packed_head(GLM_Q4, (size_t) cols, GROUP),
		.code = (int8_t *) (uintptr_t) take(512 * groups * GROUP),
		.scale = (float *) (uintptr_t) take(512 * groups * 4),
		.minus_sum = (int32_t *) (uintptr_t) take(512 * groups * 4),
		.n = rows,
		.groups = (int) groups,
	};
	for (size_t i = 0; i < sizeof(m) / sizeof(m[0]) && (layers > 1 || i < 1); i++)
	{
		p.args.m = m[i];
		p.args.ld = (m[i] + GLM_CUDA_ROWS - 1) / GLM_CUDA_ROWS * GLM_CUDA_ROWS;
		time_product(name, &p, cuda_packed_kind(&p.args), "");
		if (m[i] > GLM_CUDA_SOME && dev->function[GLM_CUDA_wgmma_q4_64] != NULL)
		{
			time_product(name, &p, GLM_CUDA_many_q4_32, " by many");
			time_product(name, &p, GLM_CUDA_wgmma_q4_32, " by wgmma");
		}
	}
	dev->driver->memory_give((uintptr_t) p.args.c);
	dev->driver->memory_give((uintptr_t) p.args.w);
	dev->driver->memory_give((uintptr_t) p.args.code);
	dev->driver->memory_give((uintptr_t) p.args.scale);
	dev->driver->memory_give((uintptr_t) p.args.minus_sum);
}

/* ---- Products with F16 weights ---------------------------------------------------------- */

typedef struct wide
{
	wide_args	exact;
	fast_args	fast;
	narrow_args narrow;
	uint64_t	each;
} wide;

static void
multiply_exact(const void *arg, int layer)
{
	const wide *p = arg;
	wide_args	a = p->exact;

	a.w = (const char *) a.w + p->each * (uint64_t) layer;
	cuda_wide(&dev->stream.launcher, &a);
}

static void
multiply_fast(const void *arg, int layer)
{
	const wide *p = arg;
	fast_args	a = p->fast;

	a.w += p->each / 2 * (uint64_t) layer;
	cuda_narrow(&dev->stream.launcher, &p->narrow, a.m);
	cuda_fast(&dev->stream.launcher, &a, GLM_CUDA_F16);
}

static void
time_wide(const wide *p, body run, const char *how)
{
	double us = time_of(run, p);

	printf("F16 gate, up, %d rows, %s: %.1f us, %.0f GB/s, %.1f TFLOPS\n", p->exact.m, how, us,
		   (double) p->each / us * 1e-3, 2e-6 * p->exact.m * p->exact.n * p->exact.k / us);
}

static void
bench_wide(int n, int k)
{
	static const int m[] = {1, 8, 64, 2048};
	wide			 p = {.each = (uint64_t) n * (uint64_t) k * 2};
	uint64_t		 c = take((size_t) 2048 * (size_t) n * 4), w = take(p.each * (uint64_t) layers);
	uint64_t a = take((size_t) 2048 * (size_t) k * 4), x = take((size_t) 2048 * (size_t) k * 2);
	uint64_t scale = take(2048 * 4);

	for (size_t i = 0; i < sizeof(m) / sizeof(m[0]) && (layers > 1 || i < 1); i++)
	{
		p.exact = (wide_args){(float *) (uintptr_t) c,
							  (uint64_t) n,
							  (void *) (uintptr_t) w,
							  NULL,
							  (float *) (uintptr_t) a,
							  (uint64_t) k,
							  m[i],
							  n,
							  k,
							  GLM_CUDA_F16,
							  0};
		p.narrow = (narrow_args){(uint16_t *) (uintptr_t) x,
								 (float *) (uintptr_t) scale,
								 p.exact.a,
								 (uint64_t) k,
								 k,
								 k,
								 GLM_CUDA_F16,
								 0};
		p.fast = (fast_args){
			p.exact.c, (uint64_t) n, p.exact.w, NULL, p.narrow.to, p.narrow.scale, m[i], n, k, k, 0,
			0};
		time_wide(&p, multiply_exact, "exact");
		time_wide(&p, multiply_fast, "fast");
	}
	dev->driver->memory_give(c);
	dev->driver->memory_give(w);
	dev->driver->memory_give(a);
	dev->driver->memory_give(x);
	dev->driver->memory_give(scale);
}

/* ---- Attention -------------------------------------------------------------------------- */

typedef struct attention
{
	attend_args attend;
	join_args	join;
	uint64_t	layer;
	int			rows;
} attention;

static void
attend_layer(const void *arg, int layer)
{
	const attention *t = arg;
	attend_args		 a = t->attend;

	a.kv.layer = t->layer * (uint64_t) layer;
	cuda_attend(&dev->stream.launcher, &a, t->rows);
	cuda_join(&dev->stream.launcher, &t->join, t->rows);
}

/* Sequences of so many positions, a row each: decoding, in F16. */
static void
bench_attention(int rows, int positions)
{
	uint64_t  half = 32 * 128 * 2, layer = 4 * half, block = layer * (uint64_t) layers;
	int		  blocks = positions / 32, stretches = (positions + 511) / 512;
	cuda_row *row = malloc((size_t) rows * sizeof(*row));
	uint32_t *list = malloc((size_t) (rows * blocks) * sizeof(*list));
	attention t = {.layer = layer, .rows = rows};
	double	  us;

	for (int i = 0; i < rows; i++)
		row[i] = (cuda_row){0, positions - 1, i * blocks, 0};
	for (int i = 0; i < rows * blocks; i++)
		list[i] = (uint32_t) ((uint64_t) i * block / GLM_KV_UNIT);
	t.attend = (attend_args){
		.kv = {.pool = (char *) (uintptr_t) take((size_t) (rows * blocks) * block),
			   .block = (uint32_t *) (uintptr_t) take((size_t) (rows * blocks) * 4),
			   .half = half,
			   .dtype = GLM_CUDA_F16,
			   .heads = 32,
			   .groups = 2,
			   .head_dim = 128},
		.part = (float *) (uintptr_t) take((size_t) (rows * 32 * stretches) * 130 * 4),
		.qkv = (float *) (uintptr_t) take((size_t) rows * 36 * 128 * 4),
		.row = (cuda_row *) (uintptr_t) take((size_t) rows * sizeof(*row)),
		.stretches = stretches};
	t.join = (join_args){.out = (float *) (uintptr_t) take((size_t) rows * 4096 * 4),
						 .part = t.attend.part,
						 .row = t.attend.row,
						 .heads = 32,
						 .head_dim = 128,
						 .stretches = stretches};
	cuda_stream_put(&dev->stream, (uintptr_t) t.attend.row, row, (size_t) rows * sizeof(*row));
	cuda_stream_put(&dev->stream, (uintptr_t) t.attend.kv.block, list,
					(size_t) (rows * blocks) * 4);
	us = time_of(attend_layer, &t);
	printf("attention, %d rows at %d: %.1f us, %.0f GB/s\n", rows, positions, us,
		   (double) rows * positions * 1024 / us * 1e-3);
	dev->driver->memory_give((uintptr_t) t.attend.kv.pool);
	dev->driver->memory_give((uintptr_t) t.attend.kv.block);
	dev->driver->memory_give((uintptr_t) t.attend.part);
	dev->driver->memory_give((uintptr_t) t.attend.qkv);
	dev->driver->memory_give((uintptr_t) t.attend.row);
	dev->driver->memory_give((uintptr_t) t.join.out);
	free(row);
	free(list);
}

int
main(int argc, char **argv)
{
	glm_error err = {0};

	layers = argc > 1 ? atoi(argv[1]) : layers;
	dev = cuda_open(0, &err);
	if (dev == NULL || layers < 1)
	{
		printf("# %s\n", err.message);
		return 1;
	}
	printf("# %s, %s, %d layers\n", dev->info.name, dev->info.kernels, layers);
	bench_product("qkv", 4608, 4096);
	if (layers > 1)
	{
		bench_product("dense", 4096, 4096);
		bench_product("gate, up", 27392, 4096);
		bench_product("down", 4096, 13696);
		for (int rows = 1; rows <= 64; rows *= 8)
			for (int positions = 512; positions <= 8192; positions *= 4)
				bench_attention(rows, positions);
	}
	else
		bench_attention(1, 32);
	bench_wide(layers > 1 ? 27392 : 64, layers > 1 ? 4096 : 256);
	return 0;
}
