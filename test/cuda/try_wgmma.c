/*
 * try_wgmma.c - products by wgmma_*: tried once, used where they give the plain kernel's bits and
 * take no longer, done without where not; and whatever becomes of it, products are right.
 */
#include <stdlib.h>
#include <string.h>

#include "cuda/gpu_backend.h"
#include "mock.h"

#define N 25700 /* rows of weights, so many that it is a product of many_* */
#define M 40
#define GROUP 64
#define GROUPS 2
#define LD 40
#define BETWEEN 12 /* numbers between the rows of c, which are somebody else's */
#define LDC (N + BETWEEN)
#define C_BYTES ((size_t) M * LDC * sizeof(float))

static cuda_gpu	  *dev;
static packed_args product;
static float	  *before, *expected;

/* The driver for tests has its memory where we can reach it. */
static void *
take(size_t bytes)
{
	glm_error err = {0};
	uint64_t  memory = cuda_take(dev, bytes, &err);

	if (memory == 0)
		fail_msg("%s", err.message);
	return (void *) (uintptr_t) memory;
}

static int
draw(int least, int most)
{
	return least + rand() % (most - least + 1);
}

static void
wait_for_all(void)
{
	glm_error err = {0};

	if (!cuda_stream_wait(&dev->stream, &err))
		fail_msg("%s", err.message);
}

static void
give_all(void)
{
	const void *const all[] = {product.w, product.code, product.scale, product.minus_sum,
							   product.c};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		dev->driver->memory_give((uintptr_t) all[i]);
	cuda_close(dev);
	free(before);
	free(expected);
	assert_int_equal(mock_in_use(), 0);
}

/* A device, a product on it, and what c is to become. */
static void
open_all(bool add)
{
	size_t	  head = GROUPS * 48, tile = head + GROUPS * GROUP * 8, tiles = (N + 15) / 16;
	uint8_t	 *w;
	int8_t	 *code;
	float	 *scale;
	int32_t	 *minus_sum;
	glm_error err = {0};

	dev = cuda_open(0, &err);
	if (dev == NULL)
		fail_msg("%s", err.message);
	w = take(tiles * tile);
	for (size_t i = 0; i < tiles * tile; i++)
		w[i] = (uint8_t) draw(0, 255);
	/* scales of 2^-4 to 2^-3 */
	for (size_t t = 0; t < tiles; t++)
		for (size_t i = 1; i < GROUPS * 32; i += 2)
			w[t * tile + i] = 0x2c | (w[t * tile + i] & 3);
	code = take(LD * GROUPS * GROUP);
	for (int i = 0; i < LD * GROUPS * GROUP; i++)
		code[i] = (int8_t) draw(-127, 127);
	scale = take(GROUPS * LD * sizeof(float));
	minus_sum = take(GROUPS * LD * sizeof(int32_t));
	for (int i = 0; i < GROUPS * LD; i++)
	{
		scale[i] = (float) draw(1, 1000) * 0x1p-14f;
		minus_sum[i] = draw(-8000, 8000);
	}
	product = (packed_args){.c = take(C_BYTES),
							.ldc = LDC,
							.w = w,
							.tile_bytes = tile,
							.head = head,
							.code = code,
							.scale = scale,
							.minus_sum = minus_sum,
							.m = M,
							.n = N,
							.groups = GROUPS,
							.ld = LD,
							.add = add};
	before = malloc(C_BYTES);
	expected = malloc(C_BYTES);
	assert_non_null(before);
	assert_non_null(expected);
	for (int i = 0; i < M * LDC; i++)
		before[i] = product.c[i] = (float) draw(-100, 100);
	cuda_packed_by(&dev->stream.launcher, GLM_CUDA_many_q4_32, &product, GLM_CUDA_Q4, GROUP);
	wait_for_all();
	memcpy(expected, product.c, C_BYTES);
}

/* It is right, and so is all around it. */
static void
check_product(void)
{
	memcpy(product.c, before, C_BYTES);
	cuda_multiply(dev, &product, GLM_CUDA_Q4, GROUP);
	wait_for_all();
	assert_true(memcmp(product.c, expected, C_BYTES) == 0);
}

static glm_tuned
said(void)
{
	glm_tuned t;

	assert_true(cuda_wgmma_tell(dev, &t));
	assert_string_equal(t.what, "wgmma");
	return t;
}

/* Is the product done by wgmma_*?  One that is wrong is. */
static bool
is_used(void)
{
	bool used;

	mock_wgmma(true, false, false);
	memcpy(product.c, before, C_BYTES);
	cuda_multiply(dev, &product, GLM_CUDA_Q4, GROUP);
	wait_for_all();
	used = memcmp(product.c, expected, C_BYTES) != 0;
	mock_wgmma(false, false, false);
	return used;
}

static void
test_used(void **state)
{
	(void) state;
	for (int add = 0; add < 2; add++)
	{
		open_all(add);
		assert_string_equal(said().how, "0 kernels used, 0 slower");
		check_product();
		assert_false(said().dropped);
		assert_string_equal(said().how, "1 kernels used, 0 slower");
		check_product();
		assert_true(is_used());
		/* by whoever wants no tuning it is not */
		atomic_store(&dev->graphs.off, true);
		assert_false(is_used());
		give_all();
	}
}

/* One bit that differs is enough, and all of them are dropped. */
static void
test_wrong(void **state)
{
	(void) state;
	for (int add = 0; add < 2; add++)
	{
		open_all(add);
		mock_wgmma(true, false, false);
		check_product();
		assert_true(said().dropped);
		assert_string_equal(said().how, "dropped: other bits than the plain kernel");
		check_product();
		assert_false(is_used());
		give_all();
	}
}

/* One that writes nothing finds no right numbers where it should have written. */
static void
test_idle(void **state)
{
	(void) state;
	open_all(false);
	/* which may well be there, from a pass before */
	memcpy(before, expected, C_BYTES);
	mock_wgmma(false, true, false);
	check_product();
	mock_wgmma(false, false, false);
	assert_true(said().dropped);
	give_all();
}

static void
test_slower(void **state)
{
	(void) state;
	open_all(true);
	mock_wgmma(false, false, true);
	check_product();
	assert_false(said().dropped);
	assert_string_equal(said().how, "0 kernels used, 1 slower");
	assert_false(is_used());
	give_all();
}

/* What fails in a trial is no failure of the product. */
static void
test_refused(void **state)
{
	static const struct
	{
		const char *fault, *how;
	} faults[] = {
		{"cuEventCreate:1:1", "0 kernels used, 0 slower"},
		{"cuEventRecord:1:1", "dropped: the driver refuses"},
		{"cuEventSynchronize:1:1", "dropped: the driver refuses"},
		{"cuEventElapsedTime:1:1", "dropped: the driver refuses"},
		{"cuLaunchKernel:1:1", "dropped: the driver refuses"},
		{"cuMemcpyHtoDAsync:1:1", "dropped: the driver refuses"},
		{"cuMemcpyDtoHAsync:2:1", "dropped: the driver refuses"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
	{
		open_all(true);
		mock_fault(faults[i].fault);
		check_product();
		mock_fault("");
		assert_string_equal(said().how, faults[i].how);
		check_product();
		give_all();
	}
}

/* In code for other devices there is no such kernel. */
static void
test_absent(void **state)
{
	glm_tuned t;

	(void) state;
	mock_ptx_version(80);
	open_all(false);
	assert_false(cuda_wgmma_tell(dev, &t));
	check_product();
	give_all();
	mock_ptx_version(90);
}

/* Where steps are kept for a graph nothing is tried, as c is not there before its end. */
static void
test_in_graphs(void **state)
{
	(void) state;
	open_all(false);
	memcpy(product.c, before, C_BYTES);
	cuda_graphs_begin(&dev->graphs, M);
	cuda_multiply(dev, &product, GLM_CUDA_Q4, GROUP);
	assert_string_equal(said().how, "0 kernels used, 0 slower");
	cuda_graphs_flush(&dev->graphs);
	wait_for_all();
	assert_true(memcmp(product.c, expected, C_BYTES) == 0);
	give_all();
}

int
main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(test_used),	  cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_idle),	  cmocka_unit_test(test_slower),
		cmocka_unit_test(test_refused),	  cmocka_unit_test(test_absent),
		cmocka_unit_test(test_in_graphs),
	};

	return cmocka_run_group_tests(all, NULL, NULL);
}
