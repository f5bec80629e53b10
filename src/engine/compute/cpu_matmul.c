/*
 * cpu_matmul.c - matrix products of the CPU backend.
 *
 * An item of work is sixteen columns of the product, a tile of packed weights, so threads
 * share no sum.  Products with packed weights first round their activations to 8 bits;
 * more rows than there is room for then go in slices, which no row notices.
 *
 * What is to be added, or gated, is computed a few columns of all rows at a time in a
 * thread's scratch, which the second-level cache holds, and taken from there to its place.
 */
#include "engine/compute/backend_cpu.h"

#include <string.h>

#include "engine/base/clock.h"
#include "engine/model/model.h"

#define COLUMNS GLM_TILE_ROWS /* of an item */
#define TILES_AT_ONCE 4		  /* that kernels read side by side at most: pieces are multiples */
#define SCRATCH ((size_t) 64 * 1024) /* floats: room for two items, gated, of all rows of a slice */

_Static_assert(SCRATCH / (GLM_INT8_ROWS * COLUMNS) >= 6, "items_at_once() must not be 0");

typedef struct product
{
	const glm_device *dev;
	const glm_matrix *matrix; /* [n_matrices], side by side in the product */
	int				  n_matrices;
	const glm_matrix *w; /* the one at work */
	const float		 *a; /* [n, k], rows lda floats apart */
	size_t			  lda;
	glm_int8_rows	  x; /* the same in 8 bits, for packed matrices */
	float			 *c; /* [n, width] */
	int				  width;
	int				  n;
	glm_reading		  reading; /* of w, if it is packed */
	bool			  add;
	bool			  swiglu;
} product;

/* ---- Columns -------------------------------------------------------------- */

/*
 * y[i, j] = a[i, :] w[j0 + j, :] + bias for j < columns; rows of y ldy floats apart.  Of
 * packed weights all that is in these tiles is computed, from column j0 / 16 * 16 on; where
 * j0's is is returned.
 */
static float *
produce(const product *op, const glm_matrix *w, int j0, int columns, float *y, size_t ldy)
{
	const glm_tensor *t = &w->tensor;
	size_t			  cols = (size_t) t->shape[1];
	int				  begin = glm_is_packed(t->dtype) ? j0 / COLUMNS * COLUMNS : j0;
	const float		 *bias = w->bias != NULL ? w->bias + begin : NULL;

	if (glm_is_packed(t->dtype))
	{
		int				   left = (int) t->shape[0] - begin;
		int				   tiles = (j0 + columns - begin + COLUMNS - 1) / COLUMNS;
		glm_packed_product tile = {.x = &op->x,
								   .w =
									   (const uint8_t *) t->data +
									   (size_t) (begin / COLUMNS) *
										   glm_packed_tile_bytes(t->dtype, cols, (size_t) t->group),
								   .dtype = t->dtype,
								   .n = left < tiles * COLUMNS ? left : tiles * COLUMNS,
								   .bias = bias,
								   .c = y,
								   .ldc = ldy,
								   .reading = op->reading};

		op->dev->packed->product(&tile, 0, tiles);
	}
	else
	{
		glm_matmul matmul = {.a = op->a,
							 .w = (const uint8_t *) t->data +
								  (size_t) begin * cols * (size_t) glm_dtypes[t->dtype].size,
							 .bias = bias,
							 .c = y,
							 .m = op->n,
							 .n = columns,
							 .k = (int) cols,
							 .lda = op->lda,
							 .ldc = ldy};

		op->dev->kernels->matmul[t->dtype](&matmul, 0, columns);
	}
	return y + (j0 - begin);
}

/* The matrix that a column of the product belongs to. */
static const glm_matrix *
matrix_at(const product *op, int column)
{
	const glm_matrix *w = op->matrix;

	while (w + 1 < op->matrix + op->n_matrices && w[1].offset <= column)
		w++;
	return w;
}

/* c[:, j0 ...] += the product's columns from j0 of w on */
static void
add_columns(const product *op, int j0, int columns, float *scratch)
{
	size_t		 ld = (size_t) columns + COLUMNS;
	float		*c = op->c + op->w->offset + j0;
	const float *y = produce(op, op->w, j0, columns, scratch, ld);

	for (int i = 0; i < op->n; i++)
		op->dev->kernels->add(c + (size_t) i * (size_t) op->width, y + (size_t) i * ld,
							  (size_t) columns);
}

/* c[:, j0 ...] = SiLU(gates) * ups, gates from column j0 of w on */
static void
gate_columns(const product *op, int j0, int columns, float *scratch)
{
	size_t			  room = (size_t) columns + COLUMNS, ld = 2 * room;
	int				  column = op->w->offset + j0;
	const glm_matrix *other = matrix_at(op, op->width + column);
	float			 *gate = produce(op, op->w, j0, columns, scratch, ld);
	const float		 *up =
		produce(op, other, op->width + column - other->offset, columns, scratch + room, ld);

	for (int i = 0; i < op->n; i++)
	{
		op->dev->kernels->swiglu(gate + (size_t) i * ld, up + (size_t) i * ld, columns);
		memcpy(op->c + (size_t) i * (size_t) op->width + column, gate + (size_t) i * ld,
			   (size_t) columns * sizeof(float));
	}
}

/* Columns of w that are columns of c: with swiglu, gates only. */
static int
columns_of_product(const product *op)
{
	int rows = (int) op->w->tensor.shape[0], left = op->width - op->w->offset;

	return rows < left ? rows : left;
}

/* Items whose columns a thread's scratch holds for all rows, so many that kernels leave none over. */
static int
items_at_once(const product *op)
{
	int lines = (int) (SCRATCH / ((size_t) op->n * COLUMNS));
	int items = op->swiglu ? lines / 2 - 1 : lines - 1;

	return items >= TILES_AT_ONCE ? items / TILES_AT_ONCE * TILES_AT_ONCE : items / 2 * 2;
}

static void
product_items(const void *arg, int thread, int begin, int end)
{
	const product *op = arg;
	float		  *scratch = op->dev->weights->scratch[thread];
	bool		   direct = !op->add && !op->swiglu;
	int			   step = direct ? end - begin : items_at_once(op);
	int			   most = columns_of_product(op);

	for (int item = begin; item < end; item += step)
	{
		int j0 = item * COLUMNS, last = item + step < end ? item + step : end;
		int columns = (last * COLUMNS < most ? last * COLUMNS : most) - j0;

		if (op->swiglu)
			gate_columns(op, j0, columns, scratch);
		else if (op->add)
			add_columns(op, j0, columns, scratch);
		else
			produce(op, op->w, j0, columns, op->c + op->w->offset + j0, (size_t) op->width);
	}
}

/* ---- Rows ------------------------------------------------------------------ */

static void
quantize_rows(const void *arg, int thread, int begin, int end)
{
	const product *op = arg;

	(void) thread;
	op->dev->packed->quantize(&op->x, op->a, op->lda, begin, end);
}

/* Rounds the rows to 8 bits, if any matrix is packed; all that are have one group size. */
static void
quantize(product *op, glm_device *dev)
{
	const glm_matrix *w = op->matrix, *end = op->matrix + op->n_matrices;

	while (w < end && !glm_is_packed(w->tensor.dtype))
		w++;
	if (w == end)
		return;
	op->x = dev->weights->int8;
	op->x.m = op->n;
	op->x.block = glm_int8_block(op->n, dev->packed->rows);
	op->x.cols = (int) w->tensor.shape[1];
	op->x.group = w->tensor.group;
	op->x.groups = (int) glm_packed_groups((size_t) op->x.cols, (size_t) op->x.group);
	glm_cpu_spread(dev, quantize_rows, op, op->n, 1, (size_t) op->n * (size_t) op->x.cols);
}

/* The columns that w has in the product, by packed weights: timed. */
static void
multiply_packed(product *op, glm_device *dev, int layer, int columns, size_t work)
{
	const glm_tensor *t = &op->w->tensor;
	size_t			  bytes =
		glm_packed_bytes(t->dtype, (size_t) columns, (size_t) t->shape[1], (size_t) t->group) *
		(op->swiglu ? 2 : 1);
	int64_t begin;

	op->reading = glm_tuning_reading(&dev->tuning, t->dtype, op->n, layer, bytes);
	begin = glm_now_ns();
	glm_cpu_spread(dev, product_items, op, (columns + COLUMNS - 1) / COLUMNS, TILES_AT_ONCE,
				   work / 4);
	glm_tuning_count(&dev->tuning, t->dtype, op->n, layer, bytes, glm_now_ns() - begin);
}

/* At most GLM_INT8_ROWS rows. */
static void
multiply_slice(product *op, glm_device *dev, int layer)
{
	quantize(op, dev);
	for (int i = 0; i < op->n_matrices && op->matrix[i].offset < op->width; i++)
	{
		size_t work = (size_t) op->n * (size_t) op->matrix[i].tensor.shape[1];
		int	   columns;

		op->w = &op->matrix[i];
		columns = columns_of_product(op);
		work *= (size_t) columns * (op->swiglu ? 2 : 1);
		if (glm_is_packed(op->w->tensor.dtype))
			multiply_packed(op, dev, layer, columns, work);
		else
			glm_cpu_spread(dev, product_items, op, (columns + COLUMNS - 1) / COLUMNS, 1, work);
	}
}

size_t
glm_cpu_matmul_scratch(void)
{
	return SCRATCH;
}

void
glm_cpu_matmul(glm_device *dev, glm_mem c, glm_mem a, size_t lda, glm_projection projection,
			   int layer, int n, bool add, bool swiglu)
{
	const glm_model *model = dev->weights->model;
	int				 slice = glm_int8_block(n, GLM_INT8_ROWS); /* alike in size */
	product			 op = {.dev = dev, .lda = lda, .add = add, .swiglu = swiglu};

	op.matrix = glm_model_matrices(model, projection, layer, &op.n_matrices);
	op.width = glm_model_width(model, projection) / (swiglu ? 2 : 1);
	for (int i = 0; i < n; i += slice)
	{
		op.n = n - i < slice ? n - i : slice;
		op.a = (const float *) a.at + (size_t) i * lda;
		op.c = (float *) c.at + (size_t) i * (size_t) op.width;
		multiply_slice(&op, dev, layer);
	}
}
