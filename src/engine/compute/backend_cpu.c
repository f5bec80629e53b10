/*
 * backend_cpu.c - the backend for the CPU: kernel table plus compute pool.
 *
 * Every operation is a body that computes a range of independent items (columns
 * of a product, rows, heads of rows); spread() runs it over the pool.  Threads
 * take pieces of the range as they get to them, so a thread that started late
 * does less.  Small operations run on the calling thread alone: handing out a
 * few microseconds of work costs more than it saves.  How a range is cut never
 * changes a result, because no sum crosses an item.
 *
 * The arithmetic is the kernel tables'.
 *
 * Used by the engine thread only; the pool's threads see one operation at a time.
 */
#include "engine/compute/backend_cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/half.h"
#include "engine/weights/packed.h"

/*
 * Multiply-adds that are worth the pool: a microsecond or two.  Below, handing out
 * takes what it saves, and the other cores are better left to the server's processes.
 */
#define WORK_MIN ((size_t) 96 * 1024)

/*
 * A thread takes its SHARE of what is left, so that pieces get smaller and all
 * threads end together, down to pieces of so many multiply-adds: taking one costs
 * some 0.2 microseconds where cores share it.
 */
#define SHARE(threads) (2 * (threads))
#define PIECE_WORK ((size_t) 128 * 1024)

/* ---- Spreading over the pool ------------------------------------------- */

typedef struct spread_job
{
	glm_range_body body;
	const void	  *arg;
	int			   n_items;
	int			   grain; /* pieces are multiples of it */
	int			   least; /* items taken at a time */
	_Atomic int	   next;  /* first item not taken */
} spread_job;

static void
spread_part(void *arg, int index, int count)
{
	spread_job *job = arg;

	for (;;)
	{
		int begin = atomic_load_explicit(&job->next, memory_order_relaxed);
		int end;
		int piece;

		/* not fetch_add: it could run past INT_MAX */
		do
		{
			if (begin >= job->n_items)
				return;
			piece = (job->n_items - begin) / SHARE(count) / job->grain * job->grain;
			piece = piece > job->least ? piece : job->least;
			end = job->n_items - begin > piece ? begin + piece : job->n_items;
		} while (!atomic_compare_exchange_weak(&job->next, &begin, end));
		job->body(job->arg, index, begin, end);
	}
}

void
glm_cpu_spread(glm_device *dev, glm_range_body body, const void *arg, int n_items, int grain,
			   size_t work)
{
	int		   threads = glm_threads_count(dev->pool);
	int		   pieces = work / PIECE_WORK < (size_t) n_items ? (int) (work / PIECE_WORK) : n_items;
	spread_job job = {.body = body, .arg = arg, .n_items = n_items, .grain = grain};

	if (threads == 1 || n_items <= grain || work < WORK_MIN)
	{
		body(arg, 0, 0, n_items);
		return;
	}
	job.least = n_items / (pieces < threads ? threads : pieces) / grain * grain;
	if (job.least < grain)
		job.least = grain;
	glm_threads_run(dev->pool, spread_part, &job);
}

/* ---- Opening and memory ------------------------------------------------ */

static void
cpu_close(glm_device *dev)
{
	if (dev == NULL)
		return;
	for (int i = 0; dev->scores != NULL && i < glm_threads_count(dev->pool); i++)
		free(dev->scores[i]);
	free(dev->scores);
	if (dev->kv != NULL)
		munmap(dev->kv, dev->kv_bytes);
	free(dev->int8.code);
	free(dev->int8.scale);
	free(dev->int8.minus_sum);
	free(dev);
}

static glm_device *
cpu_open(const char *kernels, glm_threads *pool, glm_error *err)
{
	const glm_kernels *table = glm_kernels_find(kernels, err);
	glm_device		  *dev;

	if (table == NULL)
		return NULL;
	dev = calloc(1, sizeof(*dev));
	if (dev == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	dev->kernels = table;
	dev->packed = glm_packed_find(table->name);
	dev->pool = pool;
	dev->scores = calloc((size_t) glm_threads_count(pool), sizeof(*dev->scores));
	if (dev->scores == NULL)
	{
		cpu_close(dev);
		glm_no_memory(err);
		return NULL;
	}
	return dev;
}

static const char *
cpu_kernels(const glm_device *dev)
{
	return dev->kernels->name;
}

static float *
cpu_alloc(glm_device *dev, size_t n)
{
	void *x;

	(void) dev;
	if (n > SIZE_MAX / sizeof(float) || posix_memalign(&x, 64, n * sizeof(float)) != 0)
		return NULL;
	return x;
}

static void
cpu_free(glm_device *dev, float *x)
{
	(void) dev;
	free(x);
}

/* Nothing is reserved: pages that no block touches cost nothing. */
static void *
cpu_kv_pool(glm_device *dev, size_t bytes, glm_error *err)
{
	void *pool = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (pool == MAP_FAILED)
	{
		glm_fail(err, GLM_NO_ROOM, "could not reserve %zu bytes for the KV cache", bytes);
		return NULL;
	}
	/* no huge pages: blocks of many sequences then meet in the same sets of the cache */
	dev->kv = pool;
	dev->kv_bytes = bytes;
	return pool;
}

static void
cpu_kv_copy(glm_device *dev, uint32_t to, uint32_t from, size_t bytes)
{
	memcpy(glm_cpu_kv(dev, to), glm_cpu_kv(dev, from), bytes);
}

static float *
cpu_read(glm_device *dev, float *x, size_t n)
{
	(void) dev;
	(void) n;
	return x;
}

/* Makes the threads' arrays, each of *length floats, at least `need` long. */
static bool
grow(glm_device *dev, float **arrays, size_t *length, size_t need, glm_error *err)
{
	if (need <= *length)
		return true;
	for (int i = 0; i < glm_threads_count(dev->pool); i++)
	{
		float *array = cpu_alloc(dev, need);

		if (array == NULL)
			return glm_no_memory(err);
		free(arrays[i]);
		arrays[i] = array;
	}
	*length = need;
	return true;
}

/* Columns of the widest packed matrix that is multiplied, 0 when none is packed. */
static size_t
packed_columns(const glm_model *model)
{
	size_t most = 0;

	for (int i = 0; i < model->n_matrices; i++)
	{
		const glm_matrix *m = &model->matrix[i];

		if (m->projection != GLM_EMBEDDING && glm_is_packed(m->tensor.dtype) &&
			(size_t) m->tensor.shape[1] > most)
			most = (size_t) m->tensor.shape[1];
	}
	return most;
}

/* Room for activations in 8 bits, for products with packed weights of `cols` columns. */
static bool
grow_int8(glm_device *dev, size_t cols, glm_error *err)
{
	const size_t   widest_group = 128, smallest_group = 32;
	size_t		   width = glm_packed_groups(cols, widest_group) * widest_group;
	size_t		   groups = width / smallest_group * GLM_INT8_ROWS;
	glm_int8_rows *x = &dev->int8;
	glm_int8_rows  bigger = {0};

	if (width <= dev->int8_cols)
		return true;
	bigger.code = malloc(GLM_INT8_ROWS * width);
	bigger.scale = malloc(groups * sizeof(*bigger.scale));
	bigger.minus_sum = malloc(groups * sizeof(*bigger.minus_sum));
	if (bigger.code == NULL || bigger.scale == NULL || bigger.minus_sum == NULL)
	{
		free(bigger.code);
		free(bigger.scale);
		free(bigger.minus_sum);
		return glm_no_memory(err);
	}
	free(x->code);
	free(x->scale);
	free(x->minus_sum);
	*x = bigger;
	dev->int8_cols = width;
	return true;
}

/* Room for the attention of the longest sequence and for the widest packed product. */
static bool
cpu_prepare(glm_device *dev, const glm_model *model, glm_error *err)
{
	return grow(dev, dev->scores, &dev->scores_length, glm_cpu_attention_scratch(&model->config),
				err) &&
		   grow_int8(dev, packed_columns(model), err);
}

/* ---- Rows -------------------------------------------------------------- */

static void
widen(float *y, const glm_tensor *table, int64_t row)
{
	size_t		   n = (size_t) table->shape[1];
	size_t		   size = table->dtype == GLM_F32 ? 4 : 2;
	const uint8_t *x = (const uint8_t *) table->data + (size_t) row * n * size;

	if (table->dtype == GLM_F32)
	{
		memcpy(y, x, n * size);
		return;
	}
	for (size_t i = 0; i < n; i++)
	{
		uint16_t half;

		memcpy(&half, x + i * size, sizeof half);
		y[i] = table->dtype == GLM_F16 ? glm_f16_to_f32(half) : glm_bf16_to_f32(half);
	}
}

static void
cpu_embed(glm_device *dev, float *x, const glm_tensor *table, const glm_row *rows, int n)
{
	(void) dev;
	for (int i = 0; i < n; i++)
	{
		float *y = x + (size_t) i * (size_t) table->shape[1];

		if (glm_is_packed(table->dtype))
			glm_packed_row(y, table, rows[i].token);
		else
			widen(y, table, rows[i].token);
	}
}

typedef struct rmsnorm_args
{
	const glm_kernels *kernels;
	float			  *y;	   /* [n, width] */
	const float		  *x;	   /* [n, width] */
	const float		  *weight; /* [width] */
	int				   width;
	float			   eps;
} rmsnorm_args;

static void
rmsnorm_rows(const void *arg, int thread, int begin, int end)
{
	const rmsnorm_args *op = arg;
	size_t				width = (size_t) op->width;

	(void) thread;
	for (int i = begin; i < end; i++)
	{
		const float *x = op->x + (size_t) i * width;
		float		 sum = op->kernels->square_sum(x, op->width);

		op->kernels->scale(op->y + (size_t) i * width, x,
						   1.0f / sqrtf(sum / (float) op->width + op->eps), op->weight, op->width);
	}
}

static void
cpu_rmsnorm(glm_device *dev, float *y, const float *x, const float *weight, int n, int width,
			float eps)
{
	rmsnorm_args op = {
		.kernels = dev->kernels, .y = y, .x = x, .weight = weight, .width = width, .eps = eps};

	glm_cpu_spread(dev, rmsnorm_rows, &op, n, 1, (size_t) n * (size_t) width);
}

typedef struct swiglu_args
{
	const glm_kernels *kernels;
	float			  *x; /* [n, 2 * ffn] */
	int				   ffn;
} swiglu_args;

static void
swiglu_rows(const void *arg, int thread, int begin, int end)
{
	const swiglu_args *op = arg;

	(void) thread;
	for (int i = begin; i < end; i++)
	{
		float *gate = op->x + (size_t) i * 2 * (size_t) op->ffn;

		op->kernels->swiglu(gate, gate + op->ffn, op->ffn);
	}
}

static void
cpu_swiglu(glm_device *dev, float *x, int n, int ffn)
{
	swiglu_args op = {.kernels = dev->kernels, .x = x, .ffn = ffn};

	/* an exponential and a division are worth some eight multiply-adds */
	glm_cpu_spread(dev, swiglu_rows, &op, n, 1, (size_t) n * (size_t) ffn * 8);
}

static void
cpu_add(glm_device *dev, float *x, const float *y, int n, int width)
{
	dev->kernels->add(x, y, (size_t) n * (size_t) width);
}

static void
cpu_gather(glm_device *dev, float *y, const float *x, const glm_row *rows, int n, int width)
{
	(void) dev;
	for (int i = 0; i < n; i++)
	{
		if (!rows[i].logits)
			continue;
		memcpy(y, x + (size_t) i * (size_t) width, (size_t) width * sizeof(float));
		y += width;
	}
}

const glm_backend glm_backend_cpu = {
	.abi = GLM_BACKEND_ABI,
	.name = "cpu",
	.open = cpu_open,
	.close = cpu_close,
	.kernels = cpu_kernels,
	.prepare = cpu_prepare,
	.alloc = cpu_alloc,
	.free = cpu_free,
	.kv_pool = cpu_kv_pool,
	.kv_copy = cpu_kv_copy,
	.read = cpu_read,
	.embed = cpu_embed,
	.rmsnorm = cpu_rmsnorm,
	.matmul = glm_cpu_matmul,
	.rope_store = glm_cpu_rope_store,
	.attention = glm_cpu_attention,
	.swiglu = cpu_swiglu,
	.add = cpu_add,
	.gather = cpu_gather,
};
