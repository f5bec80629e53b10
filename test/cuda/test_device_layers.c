/*
 * test_device_layers.c - a model whose layers are divided among GPUs: each layer has its own
 * weights, and its keys and values lie where they should, on the GPU that has it.
 *
 * What is wrong in the same way whenever it is used, as keys and values that all lie a layer
 * further on, gives the right answers until it reaches what is another's.  So the pool is looked
 * at itself: what a GPU alone has of a layer is what one of several has of it, and what belongs
 * to nobody is as it was.  Blocks are the last there are, and the first of them is behind the
 * next.
 *
 *     test_device_layers [test_...]
 */
#include <stdlib.h>
#include <string.h>

#include "made_up.h"
#include "mock.h"
#include "runner.h"

#define DEVICES 4
#define ALONE 3 /* the GPU that has all layers */
#define LAYERS 5
#define TOKENS 90
#define BLOCKS 3
#define NEVER_WRITTEN 0xfb
#define PLENTY ((size_t) 4096 << 20)

static const glm_backend *cuda;

/* Layers of each GPU, in the order in which they are named, end behind the last. */
typedef struct division
{
	const char *devices;
	size_t		first_room; /* of cuda:0 */
	int			n;
	int			on[3], end[3]; /* [n] */
} division;

static const division divisions[] = {
	{"cuda:0,1", PLENTY, 2, {0, 1}, {3, 5}},
	{"cuda:0,1", PLENTY / 4, 2, {0, 1}, {1, 5}},
	{"cuda:2,0,1", PLENTY, 3, {2, 0, 1}, {2, 3, 5}},
};

#define N_DIVISIONS ((int) (sizeof(divisions) / sizeof(divisions[0])))

/* A place for the model, with the last blocks of its pool, from behind; one more is a copy. */
typedef struct held
{
	rn_setup	 s;
	size_t		 block_bytes;
	uint32_t	 block[BLOCKS + 1];
	glm_kv_table kv;
} held;

static void
open_held(held *h, rn_setup s, const glm_model *model)
{
	glm_footprint need;
	size_t		  end = (size_t) glm_kv_pool_total(s.kv);

	*h = (held){.s = s};
	glm_forward_need(s.forward, s.place, model, &need);
	h->block_bytes = need.kv_block_bytes != 0 ? need.kv_block_bytes : model->kv_block_bytes;
	for (int i = 0; i <= BLOCKS; i++)
		h->block[i] = (uint32_t) ((end - (size_t) (i + 1) * h->block_bytes) / GLM_KV_UNIT);
	h->kv = (glm_kv_table){h->block, BLOCKS, BLOCKS};
	rn_use(&h->s, model);
}

/* Passes of several sizes on all three places: the same logits. */
static void
compare_passes(held *h, const glm_model *model)
{
	static const int sizes[] = {1, 8, 66, 9, 2, 1, 1, 1};
	size_t			 vocab = (size_t) model->config.vocab;
	int				 at = 0;

	for (size_t pass = 0; pass < sizeof(sizes) / sizeof(sizes[0]); at += sizes[pass++])
	{
		const float *logits[3];

		for (int i = 0; i < 3; i++)
		{
			glm_rows_begin(&h[i].s.rows, &h[i].kv);
			for (int t = 0; t < sizes[pass]; t++)
				glm_rows_add(&h[i].s.rows, (at + t) * 131 % model->config.vocab, at + t,
							 GLM_WANT_LOGITS);
			logits[i] = rn_run(&h[i].s);
		}
		for (int i = 1; i < 3; i++)
			assert_memory_equal(logits[i], logits[0], (size_t) sizes[pass] * vocab * sizeof(float));
	}
	assert_true(at < TOKENS && TOKENS <= BLOCKS * GLM_KV_BLOCK);
}

/* Copies the block in the middle; the pass behind it is what is waited for. */
static void
copy_block(held *h, const glm_model *model)
{
	glm_forward_kv_copy(h->s.forward, h->s.place, h->block[BLOCKS], h->block[1], h->block_bytes);
	glm_rows_begin(&h->s.rows, &h->kv);
	glm_rows_add(&h->s.rows, TOKENS % model->config.vocab, TOKENS - 1, GLM_WANT_LOGITS);
	rn_run(&h->s);
}

static size_t
count_written(const char *from, size_t bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n += (unsigned char) from[i] != NEVER_WRITTEN;
	return n;
}

static const char *
pool_on(const held *h, int device)
{
	const char *pool = mock_memory(device, (size_t) glm_kv_pool_total(h->s.kv));

	assert_non_null(pool);
	return pool;
}

/* One GPU has layers [first, end): those of each block, and nothing else. */
static void
compare_pool(const held *alone, const held *divided, const glm_model *model, int device, int first,
			 int end)
{
	const char *whole = pool_on(alone, ALONE), *part = pool_on(divided, device);
	size_t		of_layer = model->kv_block_bytes / LAYERS;
	size_t		bytes = (size_t) (end - first) * of_layer, here = 0;

	for (int i = 0; i <= BLOCKS; i++)
	{
		const char *at = part + (size_t) divided->block[i] * GLM_KV_UNIT;

		assert_memory_equal(
			at, whole + (size_t) alone->block[i] * GLM_KV_UNIT + (size_t) first * of_layer, bytes);
		assert_true(count_written(at, bytes) > bytes / 2);
		here += count_written(at, bytes);
	}
	assert_int_equal(count_written(part, (size_t) glm_kv_pool_total(divided->s.kv)), here);
}

static void
check_division(const division *d, glm_dtype dtype, glm_dtype kv_dtype)
{
	glm_model *model = md_make_deep(dtype, kv_dtype, LAYERS);
	held	   h[3];

	mock_room_of(0, d->first_room);
	open_held(&h[0], rn_open("auto", 1), model);
	open_held(&h[1], rn_open_on("cuda:3", cuda, "auto", 1), model);
	open_held(&h[2], rn_open_on_all(d->devices, cuda, 1), model);
	compare_passes(h, model);
	copy_block(&h[1], model);
	copy_block(&h[2], model);
	for (int i = 0; i < d->n; i++)
		compare_pool(&h[1], &h[2], model, d->on[i], i > 0 ? d->end[i - 1] : 0, d->end[i]);
	for (int i = 0; i < 3; i++)
		rn_close(&h[i].s);
	mock_room(PLENTY);
	md_free(model);
	assert_int_equal(mock_in_use(), 0);
}

static void
test_packed(void **state)
{
	(void) state;
	for (int i = 0; i < N_DIVISIONS; i++)
		check_division(&divisions[i], i % 2 == 0 ? GLM_Q4 : GLM_Q8, GLM_F16);
}

static void
test_wide(void **state)
{
	(void) state;
	for (int i = 0; i < N_DIVISIONS; i++)
		check_division(&divisions[i], GLM_BF16, i % 2 == 0 ? GLM_I8 : GLM_F32);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packed),
		cmocka_unit_test(test_wide),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	mock_devices(DEVICES);
	cuda = mock_backend();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
