/*
 * backend_cpu.c - the backend for the CPU: kernel table plus compute pool.
 *
 * Every operation is done when it is called.  It is a body that computes a range of
 * independent items (columns of a product, rows, heads of rows), and cpu_spread.c runs
 * that over the pool.  How a range is cut never changes a result, because no sum crosses
 * an item.
 *
 * The arithmetic is the kernel tables'.  Weights stay where they are mapped; to make a
 * model resident is to hold all of it (model/residency.h), and takes what its passes need
 * beside, so that no other model's pass can be in the way.
 */
#include "engine/compute/backend_cpu.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/model/model.h"

/* ---- The device --------------------------------------------------------- */

static int
cpu_find(glm_device_info *info, int max)
{
	if (max > 0)
	{
		*info = (glm_device_info){0};
		info->host_memory = true;
		info->devices = 1;
		snprintf(info->name, sizeof(info->name), "CPU");
	}
	return 1;
}

static glm_device *
cpu_open(const int *which, int n, const char *kernels, glm_threads *pool, glm_arithmetic arithmetic,
		 glm_error *err)
{
	const glm_kernels *table = glm_kernels_find(kernels, err);
	glm_device		  *dev;

	(void) which;
	(void) n;
	(void) arithmetic; /* always exact */
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
	glm_tuning_init(&dev->tuning, dev->packed);
	return dev;
}

static void
cpu_close(glm_device *dev)
{
	if (dev == NULL)
		return;
	if (dev->kv != NULL)
		munmap(dev->kv, dev->kv_bytes);
	free(dev);
}

static void
cpu_info(const glm_device *dev, int place, glm_device_info *info)
{
	(void) place;
	cpu_find(info, 1);
	snprintf(info->kernels, sizeof(info->kernels), "%s", dev->kernels->name);
}

static void
cpu_set_tuning(glm_device *dev, bool on)
{
	glm_tuning_set(&dev->tuning, on);
}

static int
cpu_tuned(const glm_device *dev, glm_tuned *out, int max, uint64_t *cost_ns)
{
	*cost_ns = atomic_load(&dev->tuning.cost_ns);
	return glm_tuning_report(&dev->tuning, out, max);
}

/* ---- Weights ------------------------------------------------------------- */

/* Floats of a thread's scratch. */
static size_t
scratch_floats(const glm_model *model)
{
	size_t attention = glm_cpu_attention_scratch(&model->config);
	size_t matmul = glm_cpu_matmul_scratch();

	return attention > matmul ? attention : matmul;
}

/*
 * Columns of the widest packed matrix, 0 when none is packed.  Of a projection's matrices
 * those that are packed share the activations in 8 bits, and so the size of their groups.
 */
static bool
find_packed(const glm_model *model, size_t *columns, glm_error *err)
{
	*columns = 0;
	for (int l = GLM_NO_LAYER; l < model->config.layers; l++)
		for (int p = 0; p < GLM_EMBEDDING; p++)
		{
			int				  n, group = 0;
			const glm_matrix *matrix = glm_model_matrices(model, (glm_projection) p, l, &n);

			for (int i = 0; i < n; i++)
			{
				const glm_tensor *t = &matrix[i].tensor;

				if (!glm_is_packed(t->dtype))
					continue;
				if (group != 0 && group != t->group)
					return glm_fail(err, GLM_UNSUPPORTED,
									"matrices of model \"%s\" that are multiplied together differ "
									"in their group sizes",
									model->name);
				group = t->group;
				*columns = (size_t) t->shape[1] > *columns ? (size_t) t->shape[1] : *columns;
			}
		}
	return true;
}

/* With whatever groups they are rounded, they fill up to this. */
static size_t
int8_width(size_t columns)
{
	const size_t widest_group = 128;

	return glm_packed_groups(columns, widest_group) * widest_group;
}

static size_t
int8_groups(size_t columns)
{
	const size_t smallest_group = 32;

	return int8_width(columns) / smallest_group * GLM_INT8_ROWS;
}

static void
cpu_need(const glm_device *dev, int place, const glm_model *model, int max_rows,
		 glm_footprint *need)
{
	size_t columns = 0;

	(void) place;
	(void) max_rows;
	find_packed(model, &columns, NULL);
	need->bytes = scratch_floats(model) * sizeof(float) * (size_t) glm_threads_count(dev->pool) +
				  int8_width(columns) * GLM_INT8_ROWS +
				  int8_groups(columns) * (sizeof(float) + sizeof(int32_t));
	need->room = UINT64_MAX;
	need->kv_block_bytes = model->kv_block_bytes;
}

static void
cpu_unload(glm_device *dev, glm_weights *w)
{
	(void) dev;
	for (int i = 0; w->scratch != NULL && i < w->n_threads; i++)
		free(w->scratch[i]);
	free(w->scratch);
	free(w->int8.code);
	free(w->int8.scale);
	free(w->int8.minus_sum);
	glm_residency_close(&w->residency);
	free(w);
}

/* Room for attention, for columns of products, and for activations in 8 bits. */
static bool
take_scratch(glm_weights *w, glm_error *err)
{
	glm_int8_rows *x = &w->int8;
	size_t		   floats = scratch_floats(w->model), columns;
	bool		   ok;

	if (!find_packed(w->model, &columns, err))
		return false;
	w->scratch = calloc((size_t) w->n_threads, sizeof(*w->scratch));
	ok = w->scratch != NULL;
	for (int i = 0; ok && i < w->n_threads; i++)
		ok = posix_memalign((void **) &w->scratch[i], 64, floats * sizeof(float)) == 0;
	if (ok && columns > 0)
	{
		x->code = malloc(GLM_INT8_ROWS * int8_width(columns));
		x->scale = malloc(int8_groups(columns) * sizeof(*x->scale));
		x->minus_sum = malloc(int8_groups(columns) * sizeof(*x->minus_sum));
		ok = x->code != NULL && x->scale != NULL && x->minus_sum != NULL;
	}
	return ok || glm_no_memory(err);
}

/* glm_residency_hold() asks glm_pause() in between, so go_on is not needed. */
static bool
make_resident(glm_weights *w, int segment, glm_error *err)
{
	return segment == GLM_ALL_SEGMENTS ? glm_residency_hold(&w->residency, err)
									   : glm_residency_touch(&w->residency, segment, err);
}

static glm_weights *
cpu_load(glm_device *dev, int place, const glm_model *model, int segment, int max_rows,
		 glm_go_on go_on, void *arg, glm_error *err)
{
	glm_weights *w = calloc(1, sizeof(*w));

	(void) place;
	(void) max_rows;
	(void) go_on;
	(void) arg;
	if (w == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	w->model = model;
	w->n_threads = glm_threads_count(dev->pool);
	if (take_scratch(w, err) && glm_residency_open(&w->residency, model, err) &&
		make_resident(w, segment, err))
		return w;
	cpu_unload(dev, w);
	return NULL;
}

static bool
cpu_refresh(glm_device *dev, glm_weights *w, glm_go_on go_on, void *arg, glm_error *err)
{
	(void) dev;
	(void) go_on;
	(void) arg;
	return glm_residency_hold(&w->residency, err);
}

/* ---- Memory ------------------------------------------------------------- */

static glm_mem
cpu_alloc(glm_device *dev, int place, size_t bytes, glm_error *err)
{
	void *x;

	(void) dev;
	(void) place;
	if (posix_memalign(&x, 64, bytes) != 0)
	{
		glm_no_memory(err);
		return GLM_NO_MEM;
	}
	return (glm_mem){(uintptr_t) x};
}

static void
cpu_free(glm_device *dev, glm_mem m)
{
	(void) dev;
	free((void *) m.at);
}

/* Nothing is reserved: pages that no block touches cost nothing. */
static glm_mem
cpu_kv_pool(glm_device *dev, int place, size_t bytes, glm_error *err)
{
	void *pool = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void) place;
	if (pool == MAP_FAILED)
	{
		glm_fail(err, GLM_NO_ROOM, "could not reserve %zu bytes for the KV cache", bytes);
		return GLM_NO_MEM;
	}
	/* no huge pages: blocks of many sequences then meet in the same sets of the cache */
	dev->kv = pool;
	dev->kv_bytes = bytes;
	return (glm_mem){(uintptr_t) pool};
}

static void
cpu_kv_copy(glm_device *dev, int place, uint32_t to, uint32_t from, size_t bytes)
{
	(void) place;
	memcpy(glm_cpu_kv(dev, to), glm_cpu_kv(dev, from), bytes);
}

static void
cpu_write(glm_device *dev, glm_mem to, const void *from, size_t bytes)
{
	(void) dev;
	memcpy((void *) to.at, from, bytes);
}

static void
cpu_read(glm_device *dev, void *to, glm_mem from, size_t bytes)
{
	(void) dev;
	memcpy(to, (const void *) from.at, bytes);
}

/* ---- Rows -------------------------------------------------------------- */

static void
cpu_begin(glm_device *dev, const glm_weights *weights, const glm_pass *pass)
{
	dev->weights = weights;
	dev->pass = pass;
}

/* Row `row` of a table as fp32. */
static void
look_up(float *y, const glm_tensor *table, int64_t row)
{
	size_t n = (size_t) table->shape[1];
	size_t bytes = n * (size_t) glm_dtypes[table->dtype].size;

	if (glm_is_packed(table->dtype))
		glm_packed_row(y, table, row);
	else
		glm_widen(y, (const uint8_t *) table->data + (size_t) row * bytes, table->dtype, n);
}

static void
cpu_embed(glm_device *dev, glm_mem x)
{
	const glm_pass	 *pass = dev->pass;
	int				  n;
	const glm_tensor *table =
		&glm_model_matrices(dev->weights->model, GLM_EMBEDDING, GLM_NO_LAYER, &n)->tensor;

	for (int i = 0; i < pass->n_rows; i++)
		look_up((float *) x.at + (size_t) i * (size_t) table->shape[1], table, pass->row[i].token);
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
cpu_rmsnorm(glm_device *dev, glm_mem y, glm_mem x, glm_norm norm, int layer, int n)
{
	const glm_model *model = dev->weights->model;
	rmsnorm_args	 op = {.kernels = dev->kernels,
						   .y = (float *) y.at,
						   .x = (const float *) x.at,
						   .weight = glm_model_norm(model, norm, layer),
						   .width = model->config.hidden,
						   .eps = model->config.norm_eps};

	glm_cpu_spread(dev, rmsnorm_rows, &op, n, 1, (size_t) n * (size_t) op.width);
}

static void
cpu_gather(glm_device *dev, glm_mem y, glm_mem x, glm_want want)
{
	size_t		 width = (size_t) dev->weights->model->config.hidden;
	float		*to = (float *) y.at;
	const float *from = (const float *) x.at;

	for (int i = 0; i < dev->pass->n_rows; i++, from += width)
	{
		if (dev->pass->row[i].want != want)
			continue;
		memcpy(to, from, width * sizeof(float));
		to += width;
	}
}

/* ---- The end of a pass ------------------------------------------------------ */

static void
cpu_end(glm_device *dev)
{
	dev->weights = NULL;
	dev->pass = NULL;
}

static bool
cpu_ready(glm_device *dev, int place)
{
	(void) dev;
	(void) place;
	return true;
}

static bool
cpu_wait(glm_device *dev, int place, glm_device_state *state, glm_error *err)
{
	(void) dev;
	(void) place;
	(void) err;
	*state = GLM_DEVICE_FINE;
	return true;
}

const glm_backend glm_backend_cpu = {
	.abi = GLM_ABI,
	.name = "cpu",
	.find = cpu_find,
	.open = cpu_open,
	.close = cpu_close,
	.info = cpu_info,
	.set_tuning = cpu_set_tuning,
	.tuned = cpu_tuned,
	.need = cpu_need,
	.load = cpu_load,
	.refresh = cpu_refresh,
	.unload = cpu_unload,
	.alloc = cpu_alloc,
	.free = cpu_free,
	.kv_pool = cpu_kv_pool,
	.kv_copy = cpu_kv_copy,
	.write = cpu_write,
	.read = cpu_read,
	.begin = cpu_begin,
	.embed = cpu_embed,
	.rmsnorm = cpu_rmsnorm,
	.matmul = glm_cpu_matmul,
	.attention = glm_cpu_attention,
	.gather = cpu_gather,
	.pick = NULL,
	.end = cpu_end,
	.ready = cpu_ready,
	.wait = cpu_wait,
};
