/*
 * cpu_matmul.c - matrix products of the CPU backend.
 *
 * An item of work is a column of the result (packed weights: a tile of sixteen),
 * so threads share no sum.  Products with packed weights first round their
 * activations to 8 bits, into memory that prepare() took; more rows than that
 * holds go in parts, which no row notices.
 */
#include "engine/compute/backend_cpu.h"

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

static void
plain_matmul(glm_device *dev, float *c, const float *a, size_t lda, const glm_tensor *w,
			 const float *bias, int n)
{
	matmul_args args = {.op = {.a = a,
							   .w = w->data,
							   .bias = bias,
							   .c = c,
							   .m = n,
							   .n = (int) w->shape[0],
							   .k = (int) w->shape[1],
							   .lda = lda,
							   .ldc = (size_t) w->shape[0]},
						.kernel = dev->kernels->matmul[w->dtype]};

	glm_cpu_spread(dev, matmul_columns, &args, args.op.n, GLM_MATMUL_COLUMNS,
				   (size_t) n * (size_t) args.op.n * (size_t) args.op.k);
}

/* ---- Packed weights ----------------------------------------------------- */

typedef struct packed_args
{
	const glm_packed_kernels *kernels;
	const float				 *a; /* [m, cols], rows lda floats apart */
	size_t					  lda;
	glm_int8_rows			  x;
	glm_packed_product		  op;
} packed_args;

static void
quantize_rows(const void *arg, int thread, int begin, int end)
{
	const packed_args *args = arg;

	(void) thread;
	args->kernels->quantize(&args->x, args->a, args->lda, begin, end);
}

static void
product_tiles(const void *arg, int thread, int begin, int end)
{
	const packed_args *args = arg;

	(void) thread;
	args->kernels->product(&args->op, begin, end);
}

/* At most GLM_INT8_ROWS rows. */
static void
packed_part(glm_device *dev, float *c, const float *a, size_t lda, const glm_tensor *w,
			const float *bias, int n)
{
	size_t		cols = (size_t) w->shape[1], rows = (size_t) w->shape[0];
	packed_args args = {
		.kernels = dev->packed,
		.a = a,
		.lda = lda,
		.x = dev->int8,
		.op = {
			.w = w->data, .dtype = w->dtype, .n = (int) rows, .bias = bias, .c = c, .ldc = rows}};

	args.x.m = n;
	args.x.block = glm_int8_block(n, dev->packed->rows);
	args.x.cols = (int) cols;
	args.x.group = w->group;
	args.x.groups = (int) glm_packed_groups(cols, (size_t) w->group);
	args.op.x = &args.x;
	glm_cpu_spread(dev, quantize_rows, &args, n, 1, (size_t) n * cols);
	glm_cpu_spread(dev, product_tiles, &args, (int) glm_packed_tiles(rows), 2,
				   (size_t) n * rows * cols / 4);
}

void
glm_cpu_matmul(glm_device *dev, float *c, const float *a, size_t lda, const glm_tensor *w,
			   const float *bias, int n)
{
	int part = glm_int8_block(n, GLM_INT8_ROWS); /* parts alike in size */

	if (!glm_is_packed(w->dtype))
	{
		plain_matmul(dev, c, a, lda, w, bias, n);
		return;
	}
	for (int i = 0; i < n; i += part)
		packed_part(dev, c + (size_t) i * (size_t) w->shape[0], a + (size_t) i * lda, lda, w, bias,
					n - i < part ? n - i : part);
}
