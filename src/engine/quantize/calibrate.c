/*
 * calibrate.c - calibration: the texts' residual stream, taken through a model
 * layer by layer.
 *
 * The arithmetic is the backend's, as in forward.c, so that what is measured is
 * what will run.  Rows go through a layer BATCH at a time, in order; as the keys
 * and values of all rows before lie in place, a text may be cut anywhere.  Only
 * the layer at work has keys and values: the backend is told layer 0 for
 * each, which makes a KV block as small as one layer's.
 *
 * A Hessian is added to once a BATCH, as that passes over all of it; whatever
 * costs by the row goes SLICE rows at a time, with a look at the cancel flag
 * before each.
 *
 * Memory: what the texts take grows with them, by 16 KB a token in a 6B model, and
 * is known before any of it is taken.  Texts for which a job would need more than
 * it may have are refused, and the hint says how many tokens it has room for.
 */
#include "engine/quantize/calibrate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/compute/backend.h"
#include "engine/model/residency.h"
#include "engine/quantize/row_bands.h"
#include "engine/quantize/texts.h"

#define BATCH 512	  /* rows of a pass */
#define SLICE 32	  /* rows of one call of the backend */
#define HEAD_BATCH 64 /* rows whose logits are looked at together */
/*
 * Bytes of a job: with a layer of a 6B model in F16 and the chunks around it mapped,
 * a worker stays below 2 GB.
 */
#define MEMORY_MAX ((size_t) 1500 << 20)

typedef enum buffer_id
{
	NORMED,	 /* [BATCH, hidden] */
	QKV,	 /* [BATCH, (heads + 2 groups) * head_dim] */
	CONTEXT, /* [BATCH, heads * head_dim] */
	GATE_UP, /* [BATCH, 2 * ffn] */
	LAST,	 /* [HEAD_BATCH, hidden] */
	LOGITS,	 /* [HEAD_BATCH, vocab] */
	X,		 /* [tokens, hidden]: the residual stream */
	N_BUFFERS
} buffer_id;

struct glm_calibration
{
	const glm_backend *backend;
	glm_device		  *dev;
	const glm_blas	  *blas;
	glm_work		   work;
	glm_texts		   texts;
	float			  *buffer[N_BUFFERS];
	uint32_t		  *block;	  /* the KV blocks of all texts, each of one layer */
	glm_kv_table	  *table;	  /* [texts] */
	glm_residency	   residency; /* of the model that is walked through */
};

/* ---- Opening -------------------------------------------------------------- */

static void
buffer_sizes(size_t size[N_BUFFERS], const glm_model_config *config, size_t n_rows)
{
	size_t hidden = (size_t) config->hidden;
	size_t head_dim = (size_t) config->head_dim;
	size_t heads = (size_t) config->heads;

	size[NORMED] = BATCH * hidden;
	size[QKV] = BATCH * (heads + 2 * (size_t) config->groups) * head_dim;
	size[CONTEXT] = BATCH * heads * head_dim;
	size[GATE_UP] = BATCH * 2 * (size_t) config->ffn;
	size[LAST] = HEAD_BATCH * hidden;
	size[LOGITS] = HEAD_BATCH * (size_t) config->vocab;
	size[X] = n_rows * hidden;
}

/*
 * Most bytes of a layer's Hessians, or the head's, and of the matrix that is being
 * quantized.  A Hessian goes when its matrix is done.
 */
static size_t
layer_bytes(const glm_model_config *config)
{
	size_t		 hidden = (size_t) config->hidden;
	size_t		 query = (size_t) config->heads * (size_t) config->head_dim;
	size_t		 ffn = (size_t) config->ffn;
	const size_t rows[] = {query + 2 * (size_t) config->groups * (size_t) config->head_dim, hidden,
						   2 * ffn, hidden};
	const size_t cols[] = {hidden, query, hidden, ffn};
	size_t		 hessians = 0;
	size_t		 most =
		hidden * hidden * sizeof(float) + glm_row_bands_bytes((size_t) config->vocab, hidden);

	for (int i = 3; i >= 0; i--)
	{
		size_t bytes = glm_row_bands_bytes(rows[i], cols[i]);

		hessians += cols[i] * cols[i] * sizeof(float);
		if (hessians + bytes > most)
			most = hessians + bytes;
	}
	return most;
}

/* Bytes that texts can have; in a model so wide that none are left, some nevertheless. */
static size_t
room_for_texts(const glm_model_config *config, size_t memory)
{
	size_t fixed = layer_bytes(config);
	size_t least = memory / 16;
	size_t size[N_BUFFERS];

	buffer_sizes(size, config, 0);
	for (int i = 0; i < N_BUFFERS; i++)
		fixed += size[i] * sizeof(float);
	return fixed + least < memory ? memory - fixed : least;
}

/* Units of a KV block of one layer. */
static size_t
block_units(const glm_model *model)
{
	return (glm_kv_keys(model, 1, 0) + GLM_KV_UNIT - 1) / GLM_KV_UNIT;
}

/* Refuses texts for which there is no room. */
static bool
check_room(const glm_calibration *c, const glm_model *model, size_t memory, glm_error *err)
{
	size_t limit = memory > 0 ? memory : MEMORY_MAX;
	size_t room = room_for_texts(&model->config, limit);
	size_t stream = (size_t) model->config.hidden * sizeof(float);
	size_t block = block_units(model) * GLM_KV_UNIT + sizeof(*c->block);
	size_t used = 0;

	for (size_t i = 0; i < c->texts.n_rows; i++)
	{
		const glm_row *row = &c->texts.row[i];

		used += stream + sizeof(*row);
		if (row->position % GLM_KV_BLOCK == 0)
			used += block;
		if (row->position == 0)
			used += sizeof(*c->table);
		if (used > room)
		{
			glm_fail(err, GLM_BAD_ARGUMENT,
					 "%zu tokens of calibration texts are too many for model "
					 "\"%s\": quantizing it may take %zu MB of memory",
					 c->texts.n_rows, model->name, limit >> 20);
			glm_hint(err,
					 "Set max_calibration_tokens to at most %zu; more than 16384 rarely make "
					 "a difference.",
					 i);
			return false;
		}
	}
	return true;
}

static bool
take_buffers(glm_calibration *c, const glm_model *model, glm_error *err)
{
	size_t size[N_BUFFERS];

	buffer_sizes(size, &model->config, c->texts.n_rows);
	for (int i = 0; i < N_BUFFERS; i++)
	{
		c->buffer[i] = c->backend->alloc(c->dev, size[i]);
		if (c->buffer[i] == NULL)
			return glm_no_memory(err);
	}
	return true;
}

/* Gives every text its KV blocks and every row its text's table. */
static bool
take_kv(glm_calibration *c, const glm_model *model, glm_error *err)
{
	size_t		  units = block_units(model);
	size_t		  n_blocks = 0;
	glm_kv_table *table = NULL;

	for (size_t i = 0; i < c->texts.n_rows; i++)
		n_blocks += c->texts.row[i].position % GLM_KV_BLOCK == 0;
	c->block = calloc(n_blocks, sizeof(*c->block));
	c->table = calloc((size_t) c->texts.n_texts, sizeof(*c->table));
	if (c->block == NULL || c->table == NULL)
		return glm_no_memory(err);
	if (c->backend->kv_pool(c->dev, n_blocks * units * GLM_KV_UNIT, err) == NULL)
		return false;
	for (size_t i = 0, n = 0; i < c->texts.n_rows; i++)
	{
		glm_row *row = &c->texts.row[i];

		if (row->position == 0)
		{
			table = table == NULL ? c->table : table + 1;
			table->block = &c->block[n];
		}
		if (row->position % GLM_KV_BLOCK == 0)
		{
			c->block[n] = (uint32_t) (n * units);
			n++;
			table->n_blocks++;
		}
		row->kv = table;
	}
	return true;
}

glm_calibration *
glm_calibration_open(const glm_model *model, const char *texts, int max_tokens, size_t memory,
					 const char *kernels, const glm_blas *blas, const glm_work *work,
					 glm_error *err)
{
	glm_calibration *c = calloc(1, sizeof(*c));

	if (c == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	c->backend = &glm_backend_cpu;
	c->blas = blas;
	c->work = *work;
	if (glm_texts_read(&c->texts, model, texts, max_tokens, work, err) &&
		check_room(c, model, memory, err))
	{
		c->dev = c->backend->open(kernels, work->pool, err);
		if (c->dev != NULL && take_buffers(c, model, err) && take_kv(c, model, err))
			return c;
	}
	glm_calibration_close(c);
	return NULL;
}

void
glm_calibration_close(glm_calibration *c)
{
	if (c == NULL)
		return;
	if (c->dev != NULL)
	{
		for (int i = 0; i < N_BUFFERS; i++)
			c->backend->free(c->dev, c->buffer[i]);
		c->backend->close(c->dev);
	}
	glm_residency_close(&c->residency);
	free(c->block);
	free(c->table);
	glm_texts_free(&c->texts);
	free(c);
}

int
glm_calibration_tokens(const glm_calibration *c)
{
	return (int) c->texts.n_rows;
}

/* The one matrix of a projection. */
static const glm_matrix *
matrix_of(const glm_model *model, glm_projection projection, int layer)
{
	int n;

	return glm_model_matrices(model, projection, layer, &n);
}

/* ---- Layers ---------------------------------------------------------------- */

/* Rows from `at` that a pass takes. */
static int
batch_of(const glm_calibration *c, size_t at, int most)
{
	size_t left = c->texts.n_rows - at;

	return left < (size_t) most ? (int) left : most;
}

static bool
stopped(const glm_calibration *c, glm_error *err)
{
	return glm_work_cancelled(&c->work) &&
		   !glm_fail(err, GLM_CANCELLED, "the request was cancelled");
}

bool
glm_calibration_start(glm_calibration *c, const glm_model *model, glm_error *err)
{
	size_t hidden = (size_t) model->config.hidden;

	glm_residency_close(&c->residency);
	if (!c->backend->prepare(c->dev, model, err) ||
		!glm_residency_open(&c->residency, model, err) ||
		!glm_residency_touch(&c->residency, GLM_SEGMENT_EMBEDDING, err))
		return false;
	for (size_t at = 0; at < c->texts.n_rows; at += BATCH)
		c->backend->embed(c->dev, c->buffer[X] + at * hidden,
						  &matrix_of(model, GLM_EMBEDDING, GLM_NO_LAYER)->tensor, c->texts.row + at,
						  batch_of(c, at, BATCH));
	glm_residency_release(&c->residency, GLM_SEGMENT_EMBEDDING);
	return true;
}

/* Adds the n rows of x, ldx floats apart, to the Hessian of an input. */
static bool
observe(glm_calibration *c, float *const *hessian, glm_projection input, const glm_matrix *w,
		const float *x, size_t ldx, int n, glm_error *err)
{
	if (hessian == NULL || hessian[input] == NULL)
		return true;
	return glm_hessian_add(hessian[input], (int) w->tensor.shape[1], x, ldx, n, c->blas, &c->work,
						   err);
}

/* y [n, rows of w] = x [n, columns of w] w^T + bias; rows of x lie ldx floats apart */
static bool
multiply(const glm_calibration *c, float *y, const float *x, size_t ldx, const glm_matrix *w, int n,
		 glm_error *err)
{
	for (int at = 0; at < n; at += SLICE)
	{
		if (stopped(c, err))
			return false;
		c->backend->matmul(c->dev, y + (size_t) at * (size_t) w->tensor.shape[0],
						   x + (size_t) at * ldx, ldx, &w->tensor, w->bias,
						   n - at < SLICE ? n - at : SLICE);
	}
	return true;
}

/* context [n, heads * head_dim] = attention of n rows of qkv, whose KV is stored */
static bool
attend(const glm_calibration *c, const glm_model *model, float *context, const float *qkv,
	   const glm_row *rows, int n, glm_error *err)
{
	size_t width = (size_t) glm_model_width(model, GLM_QKV);
	size_t context_width = (size_t) model->config.heads * (size_t) model->config.head_dim;

	for (int at = 0; at < n; at += SLICE)
	{
		if (stopped(c, err))
			return false;
		c->backend->attention(c->dev, model, 0, context + (size_t) at * context_width,
							  qkv + (size_t) at * width, rows + at,
							  n - at < SLICE ? n - at : SLICE);
	}
	return true;
}

/* x += dense(attention(rope(qkv(rmsnorm(x))))) */
static bool
attention_block(glm_calibration *c, const glm_model *model, int l, float *x, const glm_row *rows,
				int n, float *const *hessian, glm_error *err)
{
	const glm_backend *be = c->backend;
	float *const	  *buf = c->buffer;
	int				   hidden = model->config.hidden;
	const glm_matrix  *in = matrix_of(model, GLM_QKV, l), *out = matrix_of(model, GLM_DENSE, l);
	size_t			   width = (size_t) out->tensor.shape[1];

	be->rmsnorm(c->dev, buf[NORMED], x, glm_model_norm(model, GLM_ATTN_NORM, l), n, hidden,
				model->config.norm_eps);
	if (!observe(c, hessian, GLM_QKV, in, buf[NORMED], (size_t) hidden, n, err))
		return false;
	if (!multiply(c, buf[QKV], buf[NORMED], (size_t) hidden, in, n, err))
		return false;
	be->rope_store(c->dev, model, 0, buf[QKV], rows, n);
	if (!attend(c, model, buf[CONTEXT], buf[QKV], rows, n, err) ||
		!observe(c, hessian, GLM_DENSE, out, buf[CONTEXT], width, n, err) ||
		!multiply(c, buf[NORMED], buf[CONTEXT], width, out, n, err))
		return false;
	be->add(c->dev, x, buf[NORMED], n, hidden);
	return true;
}

/* x += down(swiglu(gate_up(rmsnorm(x)))) */
static bool
ffn_block(glm_calibration *c, const glm_model *model, int l, float *x, int n, float *const *hessian,
		  glm_error *err)
{
	const glm_backend *be = c->backend;
	float *const	  *buf = c->buffer;
	int				   hidden = model->config.hidden;
	const glm_matrix  *in = matrix_of(model, GLM_GATE_UP, l), *out = matrix_of(model, GLM_DOWN, l);
	size_t			   width = 2 * (size_t) model->config.ffn;

	be->rmsnorm(c->dev, buf[NORMED], x, glm_model_norm(model, GLM_FFN_NORM, l), n, hidden,
				model->config.norm_eps);
	if (!observe(c, hessian, GLM_GATE_UP, in, buf[NORMED], (size_t) hidden, n, err) ||
		!multiply(c, buf[GATE_UP], buf[NORMED], (size_t) hidden, in, n, err))
		return false;
	be->swiglu(c->dev, buf[GATE_UP], n, model->config.ffn);
	if (!observe(c, hessian, GLM_DOWN, out, buf[GATE_UP], width, n, err) ||
		!multiply(c, buf[NORMED], buf[GATE_UP], width, out, n, err))
		return false;
	be->add(c->dev, x, buf[NORMED], n, hidden);
	return true;
}

bool
glm_calibration_layer(glm_calibration *c, const glm_model *model, int l, float *const *hessian,
					  glm_error *err)
{
	size_t hidden = (size_t) model->config.hidden;

	if (!glm_residency_touch(&c->residency, l, err))
		return false;
	for (size_t at = 0; at < c->texts.n_rows; at += BATCH)
	{
		int	   n = batch_of(c, at, BATCH);
		float *x = c->buffer[X] + at * hidden;

		if (!attention_block(c, model, l, x, c->texts.row + at, n, hessian, err) ||
			!ffn_block(c, model, l, x, n, hessian, err))
			return false;
	}
	glm_residency_release(&c->residency, l);
	return true;
}

/* ---- The head --------------------------------------------------------------- */

/* y = the head's input for n rows of x; both [n, hidden] */
static void
final_norm(glm_calibration *c, const glm_model *model, float *y, const float *x, int n)
{
	size_t		 hidden = (size_t) model->config.hidden;
	const float *norm = glm_model_norm(model, GLM_FINAL_NORM, GLM_NO_LAYER);

	if (norm == NULL)
		memcpy(y, x, (size_t) n * hidden * sizeof(float));
	else
		c->backend->rmsnorm(c->dev, y, x, norm, n, model->config.hidden, model->config.norm_eps);
}

/* -ln p(token) by logits [vocab] */
static double
surprise(const float *logits, int vocab, int32_t token)
{
	double top = logits[0];
	double sum = 0;

	for (int i = 1; i < vocab; i++)
		top = logits[i] > top ? logits[i] : top;
	for (int i = 0; i < vocab; i++)
		sum += exp(logits[i] - top);
	return top + log(sum) - logits[token];
}

/* Adds the surprise of what follows the rows of a batch, and counts it. */
static bool
judge(glm_calibration *c, const glm_model *model, size_t at, int n, double *sum, size_t *count,
	  glm_error *err)
{
	const glm_row *rows = c->texts.row + at;
	size_t		   hidden = (size_t) model->config.hidden;
	size_t		   vocab = (size_t) model->config.vocab;
	int			   wanted = 0;

	for (int i = 0; i < n; i++)
		wanted += rows[i].logits;
	if (wanted == 0)
		return true;
	c->backend->gather(c->dev, c->buffer[LAST], c->buffer[X] + at * hidden, rows, n,
					   model->config.hidden);
	final_norm(c, model, c->buffer[NORMED], c->buffer[LAST], wanted);
	if (!multiply(c, c->buffer[LOGITS], c->buffer[NORMED], hidden,
				  matrix_of(model, GLM_HEAD, GLM_NO_LAYER), wanted, err))
		return false;
	for (int i = 0, j = 0; i < n; i++)
		if (rows[i].logits)
			*sum +=
				surprise(c->buffer[LOGITS] + (size_t) j++ * vocab, (int) vocab, rows[i + 1].token);
	*count += (size_t) wanted;
	return true;
}

bool
glm_calibration_end(glm_calibration *c, const glm_model *model, float *hessian, double *perplexity,
					glm_error *err)
{
	size_t hidden = (size_t) model->config.hidden;
	double sum = 0;
	size_t count = 0;

	if (!glm_residency_touch(&c->residency, GLM_SEGMENT_OUTPUT, err))
		return false;
	for (size_t at = 0; hessian != NULL && at < c->texts.n_rows; at += BATCH)
	{
		int n = batch_of(c, at, BATCH);

		final_norm(c, model, c->buffer[NORMED], c->buffer[X] + at * hidden, n);
		if (!glm_hessian_add(hessian, model->config.hidden, c->buffer[NORMED], hidden, n, c->blas,
							 &c->work, err))
			return false;
	}
	for (size_t at = 0; at < c->texts.n_rows; at += HEAD_BATCH)
	{
		if (!judge(c, model, at, batch_of(c, at, HEAD_BATCH), &sum, &count, err))
			return false;
	}
	glm_residency_release(&c->residency, GLM_SEGMENT_OUTPUT);
	*perplexity = count > 0 ? exp(sum / (double) count) : NAN;
	return isfinite(sum) ||
		   glm_fail(err, GLM_NOT_FINITE,
					"model \"%s\" computes NaN or infinity on the calibration texts", model->name);
}
