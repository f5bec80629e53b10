/*
 * cpu_attention.c - rotary embedding and attention of the CPU backend, over the
 * KV blocks of each row's sequence.
 *
 * The heads of a group read the same keys and values, and so do rows of a prompt
 * that follow each other.  So an item of work is a *run*: neighbouring rows of one
 * sequence and the heads of one group, which read every KV block once.
 *
 * The context is cut into stretches of STRETCH positions, always from 0 on, each of
 * which, s, is computed for itself:
 *
 *     scores = Q K^T             Q scaled before
 *     max_s = max of the scores
 *     weights = exp(scores - max_s)
 *     out_s = weights V
 *     sum_s = sum of the weights
 *
 * The first one's max, out and sum are then joined with the others', one after the other:
 *
 *     max' = max(max, max_s), before = exp(max - max'), now = exp(max_s - max')
 *     out = fma(out_s, now, out * before)
 *     sum = fma(sum_s, now, sum * before)
 *
 * and at last out / sum.  Both products are weighted sums (of the rows of a block of K,
 * which is stored transposed, or V), added up from +0 in the order of head_dim and of the
 * positions.  So a row's result is the same however rows are cut into runs and prompts
 * into chunks, and up to STRETCH positions it is the plain softmax.
 *
 * Blocks lie anywhere, so the CPU cannot guess the next one: while one is computed
 * the kernel fetches the next that will be read.
 */
#include "engine/compute/backend_cpu.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/base/half.h"

#define MAX_HEAD_DIM 1024	  /* see config.c */
#define RUN_QUERIES 64		  /* of a run: enough to be worth a block's reading */
#define STRETCH 512			  /* scores of a run fit into the second-level cache */
#define STRIDE (STRETCH + 16) /* between queries' scores: no power of two */

/* Behind a query's scores: maximum and sum of the stretches that were joined, and of this one. */
#define JOINED_MAX STRETCH
#define JOINED_SUM (STRETCH + 1)
#define STRETCH_MAX (STRETCH + 2)
#define STRETCH_SUM (STRETCH + 3)

typedef struct head_args
{
	glm_device		   *dev;
	const glm_model	   *model;
	int					layer;
	float			   *qkv;  /* [n, (heads + 2 groups) * head_dim] */
	float			   *out;  /* attention: [n, heads * head_dim] */
	const glm_pass_row *rows; /* [n] */
	int					n;
	int					run_rows; /* rows of an item */
	int					splits;	  /* items that share a group's heads */
	float				scale;	  /* 1 / sqrt(head_dim) */
} head_args;

static float *
qkv_row(const head_args *op, int i)
{
	const glm_model_config *config = &op->model->config;

	return op->qkv +
		   (size_t) i * (size_t) (config->heads + 2 * config->groups) * (size_t) config->head_dim;
}

/* Byte `at` of a row's KV block; see kv_layout.h. */
static char *
kv_at(const head_args *op, const glm_pass_row *row, int block, size_t at)
{
	return (char *) glm_cpu_kv(op->dev, op->dev->pass->block[row->first_block + block]) + at;
}

/* ---- Rotary embedding and KV ------------------------------------------- */

/* Adding it leaves no bits of a fraction: the low mantissa bits are the integer. */
#define ROUND 0x1.8p23f
#define SMALLEST 1e-30f /* groups of smaller numbers are zeros */

/* code[i * stride] * scale = x[i], for the n of a group */
static float
round_group(int8_t *code, size_t stride, const float *x, int n)
{
	float max = 0, inverse;
	bool  finite = true;

	for (int i = 0; i < n; i++)
	{
		float magnitude = fabsf(x[i]);

		finite = finite && magnitude <= FLT_MAX;
		max = magnitude > max ? magnitude : max;
	}
	inverse = finite && max >= SMALLEST ? 127.0f / max : 0;
	for (int i = 0; i < n; i++)
	{
		float	 rounded = finite ? x[i] * inverse + ROUND : 0;
		uint32_t bits;

		memcpy(&bits, &rounded, sizeof bits);
		code[(size_t) i * stride] = (int8_t) bits;
	}
	/* what was broken must stay so, and not become a number */
	return !finite ? NAN : max >= SMALLEST ? max / 127.0f : 0;
}

/*
 * Rounds a head's keys (stride GLM_KV_BLOCK) or values (1) to codes in their half of
 * the block.  Scales lie as the elements do, with the number of groups for head_dim.
 */
static void
store_codes(char *half, int position, size_t stride, const glm_model *model, const float *x)
{
	int		n = model->config.head_dim, groups = glm_kv_groups(n);
	int8_t *code = (int8_t *) half + position * (stride == 1 ? n : 1);
	float  *scale = (float *) (half + glm_kv_scales(model)) + position * (stride == 1 ? groups : 1);

	for (int g = 0; g < groups; g++, x += GLM_KV_GROUP, n -= GLM_KV_GROUP)
	{
		scale[(size_t) g * stride] =
			round_group(code, stride, x, n < GLM_KV_GROUP ? n : GLM_KV_GROUP);
		code += GLM_KV_GROUP * stride;
	}
}

/* The same for all dtypes; `position` is that in the block. */
static void
store(char *half, int position, size_t stride, const glm_model *model, const float *x)
{
	int	   n = model->config.head_dim;
	size_t first = (size_t) (position * (stride == 1 ? n : 1));

	if (model->kv_dtype == GLM_I8)
		store_codes(half, position, stride, model, x);
	else if (model->kv_dtype == GLM_F16)
		for (int i = 0; i < n; i++)
			((uint16_t *) half)[first + (size_t) i * stride] = glm_f32_to_f16(x[i]);
	else
		for (int i = 0; i < n; i++)
			((float *) half)[first + (size_t) i * stride] = x[i];
}

static void
rope_store_row(const head_args *op, int i)
{
	const glm_model_config *config = &op->model->config;
	const glm_kernels	   *kernels = op->dev->kernels;
	const glm_pass_row	   *row = &op->rows[i];
	int						hd = config->head_dim, block = row->position / GLM_KV_BLOCK;
	int						place = row->position % GLM_KV_BLOCK;
	const float *angle = op->model->rope + (size_t) row->position * (size_t) config->rotary;
	float		*x = qkv_row(op, i), turned[MAX_HEAD_DIM];

	for (int h = 0; h < config->heads; h++, x += hd)
	{
		kernels->rotate(turned, x, angle, op->scale, config->rotary, hd);
		memcpy(x, turned, (size_t) hd * sizeof(float));
	}
	for (int g = 0; g < config->groups; g++, x += hd)
	{
		char *keys = kv_at(op, row, block, glm_kv_keys(op->model, op->layer, g));
		char *values = kv_at(op, row, block, glm_kv_values(op->model, op->layer, g));

		kernels->rotate(turned, x, angle, 1, config->rotary, hd);
		store(keys, place, GLM_KV_BLOCK, op->model, turned);
		store(values, place, 1, op->model, x + config->groups * hd);
	}
}

static void
rope_store_rows(const void *arg, int thread, int begin, int end)
{
	(void) thread;
	for (int i = begin; i < end; i++)
		rope_store_row(arg, i);
}

/* Turns queries and keys; stores keys and values. */
static void
rope_store(head_args *op)
{
	const glm_model_config *config = &op->model->config;

	op->scale = 1.0f / sqrtf((float) config->head_dim);
	glm_cpu_spread(op->dev, rope_store_rows, op, op->n, 1,
				   (size_t) op->n * (size_t) (config->heads + 2 * config->groups) *
					   (size_t) config->head_dim * 2);
}

/* ---- Attention --------------------------------------------------------- */

typedef struct run
{
	const head_args *op;
	int				 row;	/* the first one */
	int				 rows;	/* at positions that follow each other */
	int				 group; /* of KV */
	int				 head;	/* the first one */
	int				 heads;
	int				 queries; /* rows * heads */
	float			*q;		  /* [queries, head_dim]: row after row, head after head */
	float			*out;	  /* the same, of the stretches that were joined */
	float			*stretch; /* the same, of the stretch that is computed */
	float			*scores;  /* [queries, STRIDE] */
} run;

/* Positions from `start` on that row r of the run sees, at most `most`. */
static int
seen(const run *u, int r, int start, int most)
{
	int n = u->op->rows[u->row].position + r + 1 - start;

	return n < 0 ? 0 : n < most ? n : most;
}

static void
run_begin(const run *u)
{
	int width = u->heads * u->op->model->config.head_dim;

	for (int r = 0; r < u->rows; r++)
		memcpy(u->q + r * width, qkv_row(u->op, u->row + r) + u->head * (width / u->heads),
			   (size_t) width * sizeof(float));
}

/* The keys of the run's group in the block of this position. */
static const char *
keys_of(const run *u, int position)
{
	return kv_at(u->op, &u->op->rows[u->row], position / GLM_KV_BLOCK,
				 glm_kv_keys(u->op->model, u->op->layer, u->group));
}

static const char *
values_of(const run *u, int position)
{
	return kv_at(u->op, &u->op->rows[u->row], position / GLM_KV_BLOCK,
				 glm_kv_values(u->op->model, u->op->layer, u->group));
}

static void
run_scores(const run *u, int start)
{
	const glm_model *model = u->op->model;
	glm_weighted_sum product = {.ldy = STRIDE,
								.p = u->q,
								.ldp = (size_t) model->config.head_dim,
								.dtype = model->kv_dtype,
								.down = true,
								.m = u->queries,
								.n = model->config.head_dim,
								.width = GLM_KV_BLOCK};
	int				 end = start + seen(u, u->rows - 1, start, STRETCH);

	for (int p = start; p < end; p += GLM_KV_BLOCK)
	{
		const char *keys = keys_of(u, p);

		product.v = keys;
		product.scale = (const float *) (keys + glm_kv_scales(model));
		product.next = p + GLM_KV_BLOCK < end ? keys_of(u, p + GLM_KV_BLOCK) : values_of(u, start);
		product.y = u->scores + p - start;
		u->op->dev->kernels->weighted_sum(&product);
	}
}

/* Turns the scores of the stretch at `start` into weights. */
static void
run_weights(const run *u, int start)
{
	for (int i = 0; i < u->queries; i++)
	{
		float *scores = u->scores + i * STRIDE;
		int	   n = seen(u, i / u->heads, start, STRETCH);

		if (n == 0)
			continue;
		scores[STRETCH_MAX] = -INFINITY;
		scores[STRETCH_SUM] = u->op->dev->kernels->softmax(scores, n, &scores[STRETCH_MAX]);
	}
}

/* What is read after the values of the block at `start`, if the first row sees it. */
static const char *
after_values(const run *u, int start)
{
	int next = start + GLM_KV_BLOCK;

	if (next > u->op->rows[u->row].position)
		return NULL;
	return next % STRETCH == 0 ? keys_of(u, next) : values_of(u, next);
}

/* Adds the values of the block at `start` for the rows [r0, r1), which see n of its positions. */
static void
add_values(const run *u, int start, int r0, int r1, int n)
{
	const glm_model *model = u->op->model;
	int				 first = r0 * u->heads, hd = model->config.head_dim;
	const char		*values = values_of(u, start);
	glm_weighted_sum sum = {.y = u->stretch + first * hd,
							.ldy = (size_t) hd,
							.p = u->scores + first * STRIDE + start % STRETCH,
							.ldp = STRIDE,
							.v = values,
							.dtype = model->kv_dtype,
							.scale = (const float *) (values + glm_kv_scales(model)),
							.next = after_values(u, start),
							.m = (r1 - r0) * u->heads,
							.n = n,
							.width = hd,
							.add = start % STRETCH > 0};

	if (n > 0)
		u->op->dev->kernels->weighted_sum(&sum);
}

static void
run_values(const run *u, int start)
{
	for (int p = start; p < start + seen(u, u->rows - 1, start, STRETCH); p += GLM_KV_BLOCK)
	{
		if (seen(u, 0, p, GLM_KV_BLOCK) == GLM_KV_BLOCK)
			add_values(u, p, 0, u->rows, GLM_KV_BLOCK);
		else
			for (int r = 0; r < u->rows; r++)
				add_values(u, p, r, r + 1, seen(u, r, p, GLM_KV_BLOCK));
	}
}

/* Joins a query's stretch with those before: max and sum are behind its scores. */
static void
join(const glm_kernels *kernels, float *scores, float *out, const float *stretch, int head_dim)
{
	float factor[2] = {scores[JOINED_MAX], scores[STRETCH_MAX]};

	scores[JOINED_MAX] = -INFINITY;
	kernels->softmax(factor, 2, &scores[JOINED_MAX]); /* exp(max - max'), exp(max_s - max') */
	kernels->join(out, factor[0], stretch, factor[1], head_dim);
	kernels->join(&scores[JOINED_SUM], factor[0], &scores[STRETCH_SUM], factor[1], 1);
}

static void
run_join(const run *u, int start)
{
	int hd = u->op->model->config.head_dim;

	for (int i = 0; i < u->queries; i++)
	{
		float *scores = u->scores + i * STRIDE, *out = u->out + i * hd;

		if (start == 0)
		{
			scores[JOINED_MAX] = scores[STRETCH_MAX];
			scores[JOINED_SUM] = scores[STRETCH_SUM];
			memcpy(out, u->stretch + i * hd, (size_t) hd * sizeof(float));
		}
		else if (seen(u, i / u->heads, start, STRETCH) > 0)
			join(u->op->dev->kernels, scores, out, u->stretch + i * hd, hd);
	}
}

static void
run_end(const run *u)
{
	int hd = u->op->model->config.head_dim, heads = u->op->model->config.heads;

	for (int r = 0; r < u->rows; r++)
	{
		float *out =
			u->op->out + ((size_t) (u->row + r) * (size_t) heads + (size_t) u->head) * (size_t) hd;

		memcpy(out, u->out + r * u->heads * hd, (size_t) (u->heads * hd) * sizeof(float));
		for (int h = 0; h < u->heads; h++)
			u->op->dev->kernels->divide(out + h * hd,
										u->scores[(r * u->heads + h) * STRIDE + JOINED_SUM], hd);
	}
}

static void
attend(const run *u)
{
	int end = u->op->rows[u->row + u->rows - 1].position + 1;

	run_begin(u);
	for (int start = 0; start < end; start += STRETCH)
	{
		run_scores(u, start);
		run_weights(u, start);
		run_values(u, start);
		run_join(u, start);
	}
	run_end(u);
}

/* Queries of the largest run. */
static int
run_most(const glm_model_config *config)
{
	int heads = config->heads / config->groups;

	return heads > RUN_QUERIES ? heads : RUN_QUERIES;
}

/* Floats that a run needs. */
size_t
glm_cpu_attention_scratch(const glm_model_config *config)
{
	return (size_t) run_most(config) * (STRIDE + 3 * (size_t) config->head_dim);
}

/* Rows from `row` on, before `end`, that are one run. */
static int
run_length(const head_args *op, int row, int end)
{
	const glm_pass_row *first = &op->rows[row];
	int					n = 1;

	while (row + n < end && op->rows[row + n].sequence == first->sequence &&
		   op->rows[row + n].position == first->position + n)
		n++;
	return n;
}

/* An item is some rows and some of one group's heads; the heads run fastest. */
static void
attention_items(const void *arg, int thread, int begin, int end)
{
	const head_args *op = arg;
	int				 hd = op->model->config.head_dim, groups = op->model->config.groups;
	int				 heads = op->model->config.heads / groups;

	for (int item = begin; item < end; item++)
	{
		int split = item % op->splits, group = item / op->splits % groups;
		int row = item / op->splits / groups * op->run_rows;
		int last = row + op->run_rows < op->n ? row + op->run_rows : op->n;
		int head = heads * split / op->splits;
		run u = {.op = op, .group = group};

		u.heads = heads * (split + 1) / op->splits - head;
		u.head = group * heads + head;
		for (; row < last; row += u.rows)
		{
			u.row = row;
			u.rows = run_length(op, row, last);
			u.queries = u.rows * u.heads;
			u.q = op->dev->weights->scratch[thread];
			u.out = u.q + u.queries * hd;
			u.stretch = u.out + u.queries * hd;
			u.scores = u.stretch + u.queries * hd;
			attend(&u);
		}
	}
}

/* Attends to the keys and values that are stored. */
static void
attend_all(head_args *op)
{
	const glm_model_config *config = &op->model->config;
	int						heads = config->heads / config->groups, n = op->n;
	int						threads = glm_threads_count(op->dev->pool);
	size_t					positions = 0;

	for (int i = 0; i < n; i++)
		positions += (size_t) op->rows[i].position + 1;
	/* long runs where there are many rows, several items for a thread where few */
	op->run_rows =
		n / (2 * threads) < run_most(config) / heads ? n / (2 * threads) : run_most(config) / heads;
	op->run_rows = op->run_rows < 1 ? 1 : op->run_rows;
	while (op->splits < heads && n * config->groups * op->splits < threads)
		op->splits++;
	glm_cpu_spread(op->dev, attention_items, op,
				   (n + op->run_rows - 1) / op->run_rows * config->groups * op->splits, 1,
				   positions * (size_t) config->heads * (size_t) config->head_dim * 2);
}

void
glm_cpu_attention(glm_device *dev, glm_mem out, glm_mem qkv, int layer, int first, int n)
{
	head_args op = {.dev = dev,
					.model = dev->weights->model,
					.layer = layer,
					.qkv = (float *) qkv.at,
					.out = (float *) out.at,
					.rows = dev->pass->row + first,
					.n = n,
					.splits = 1};

	rope_store(&op);
	attend_all(&op);
}
