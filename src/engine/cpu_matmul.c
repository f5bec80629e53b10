/*
 * cpu_matmul.c - matrix products of the CPU backend.
 *
 * An item of work is a column of the result, so threads share no sum.
 */
#include "backend_cpu.h"
#include "packed.h"

typedef struct matmul_args
{
	glm_matmul op;
	void (*kernel)(const glm_matmul *op, int n0, int n1);
} matmul_args;

static void
matmul_columns(const void *arg, int thread, int begin, int end)
{
	const matmul_args *args = arg;

	(void) thread;
	args->kernel(&args->op, begin, end);
}

typedef struct packed_args
{
	glm_device		 *dev;
	const glm_tensor *w; /* [n, k], packed */
	glm_matmul		  op;
} packed_args;

/* An item is a column of C, a row of W; begin is the first of a tile. */
static void
packed_tiles(const void *arg, int thread, int begin, int end)
{
	const packed_args *args = arg;
	float			  *tile = args->dev->tiles[thread]; /* [GLM_TILE_ROWS, k] */

	for (int j = begin; j < end; j += GLM_TILE_ROWS)
	{
		glm_matmul op = args->op;

		op.n = end - j < GLM_TILE_ROWS ? end - j : GLM_TILE_ROWS;
		for (int r = 0; r < op.n; r++)
			glm_packed_row(tile + (size_t) r * (size_t) op.k, args->w, j + r);
		op.w = tile;
		op.c += j;
		op.bias = op.bias != NULL ? op.bias + j : NULL;
		args->dev->kernels->matmul[GLM_F32](&op, 0, op.n);
	}
}

void
glm_cpu_matmul(glm_device *dev, float *c, const float *a, size_t lda, const glm_tensor *w,
			   const float *bias, int n)
{
	glm_matmul op = {.a = a,
					 .w = w->data,
					 .bias = bias,
					 .c = c,
					 .m = n,
					 .n = (int) w->shape[0],
					 .k = (int) w->shape[1],
					 .lda = lda,
					 .ldc = (size_t) w->shape[0]};
	size_t	   work = (size_t) n * (size_t) op.n * (size_t) op.k;

	if (glm_is_packed(w->dtype))
	{
		packed_args args = {.dev = dev, .w = w, .op = op};

		glm_cpu_spread(dev, packed_tiles, &args, op.n, GLM_TILE_ROWS, work);
	}
	else
	{
		matmul_args args = {.op = op, .kernel = dev->kernels->matmul[w->dtype]};

		glm_cpu_spread(dev, matmul_columns, &args, op.n, GLM_MATMUL_COLUMNS, work);
	}
}
