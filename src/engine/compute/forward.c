/*
 * forward.c - the forward pass: rows of tokens in, logits out.
 *
 *     x = embedding[token]
 *     for each layer:
 *         x += dense(attention(rope(qkv(rmsnorm(x)))))
 *         x += down(swiglu(gate_up(rmsnorm(x))))
 *     logits = output(rmsnorm(x))           for the rows that want them
 *
 * A pass mixes rows of any sequences of one model: single rows that decode and
 * chunks of prompts.  The KV of all rows is stored before attention reads it, so
 * a row of a chunk sees the rows before it; what lies behind its own position
 * it never reads.
 *
 * RoPE turns the first `rotary` elements of each head, in pairs (2i, 2i + 1): pair i of
 * position p by the angle p * base^(-2i / rotary).  model->rope holds the cosine and sine
 * of each, [context, rotary / 2, 2].
 *
 * Buffers belong to the glm_forward and are taken in glm_forward_prepare, never
 * in a pass.  What attention, the feed-forward part and the head need at different
 * times lies in the same memory, and the feed-forward part, whose rows are the
 * widest, takes FFN_ROWS of them at a time: a 6B's 512 rows at once would be 56 MB.
 * Between layers there is a pause, which may end the pass: what it stored is stored again.
 * One thread (the engine's) calls all of this.
 */
#include "engine/compute/backend.h"

#include <stdlib.h>

/*
 * Rows of the feed-forward part at a time: the default prefill_budget and max_sequences
 * in one.  With 128 a pass of 256 took 6 to 11 % longer, as it reads the weights twice.
 */
#define FFN_ROWS 320

/* The buffers of a pass; the sizes say how many floats each has. */
typedef enum buffer_id
{
	X,		/* [rows, hidden]: the residual stream */
	NORMED, /* [rows, hidden]: normed x, then a block's output */
	SHARED, /* one after the other:
								 * qkv [rows, (heads + 2 groups) * head_dim], then attention's
								 * output [rows, heads * head_dim];
								 * gate_up [FFN_ROWS, 2 * ffn], swiglu leaves its result in the gates;
								 * logits [rows that want them, vocab] */
	N_BUFFERS
} buffer_id;

struct glm_forward
{
	const glm_backend *backend;
	glm_device		  *dev;
	int				   max_rows;
	float			  *buffer[N_BUFFERS];
	size_t			   size[N_BUFFERS];
};

glm_forward *
glm_forward_open(const char *kernels, glm_threads *pool, int max_rows, glm_error *err)
{
	glm_forward *fwd = calloc(1, sizeof(*fwd));

	if (fwd == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	fwd->backend = &glm_backend_cpu;
	fwd->max_rows = max_rows;
	fwd->dev = fwd->backend->open(kernels, pool, err);
	if (fwd->dev == NULL)
	{
		free(fwd);
		return NULL;
	}
	return fwd;
}

void
glm_forward_close(glm_forward *fwd)
{
	if (fwd == NULL)
		return;
	for (int i = 0; i < N_BUFFERS; i++)
		fwd->backend->free(fwd->dev, fwd->buffer[i]);
	fwd->backend->close(fwd->dev);
	free(fwd);
}

const char *
glm_forward_kernels(const glm_forward *fwd)
{
	return fwd->backend->kernels(fwd->dev);
}

bool
glm_forward_kv_pool(glm_forward *fwd, size_t bytes, glm_error *err)
{
	return fwd->backend->kv_pool(fwd->dev, bytes, err) != NULL;
}

void
glm_forward_kv_copy(void *arg, uint32_t to, uint32_t from, size_t bytes)
{
	glm_forward *fwd = arg;

	fwd->backend->kv_copy(fwd->dev, to, from, bytes);
}

/* ---- Buffers ----------------------------------------------------------- */

/* The one matrix of a projection. */
static const glm_matrix *
matrix_of(const glm_model *model, glm_projection projection, int layer)
{
	int n;

	return glm_model_matrices(model, projection, layer, &n);
}

/* Floats of n rows of qkv, so many that what follows them is aligned. */
static size_t
qkv_size(const glm_model *model, int n)
{
	return ((size_t) n * (size_t) glm_model_width(model, GLM_QKV) + 15) / 16 * 16;
}

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static void
sizes_of(const glm_model *model, int max_rows, size_t size[N_BUFFERS])
{
	const glm_model_config *config = &model->config;
	size_t					rows = (size_t) max_rows, ffn_rows = rows < FFN_ROWS ? rows : FFN_ROWS;

	size[X] = rows * (size_t) config->hidden;
	size[NORMED] = rows * (size_t) config->hidden;
	size[SHARED] =
		qkv_size(model, max_rows) + rows * (size_t) config->heads * (size_t) config->head_dim;
	size[SHARED] = larger(size[SHARED], ffn_rows * 2 * (size_t) config->ffn);
	/* only rows that want logits have some; memory that is not touched costs none */
	size[SHARED] = larger(size[SHARED], rows * (size_t) config->vocab);
}

/*
 * A buffer that cannot grow stays as it was, so that the models which were
 * prepared before still run.
 */
bool
glm_forward_prepare(glm_forward *fwd, const glm_model *model, glm_error *err)
{
	size_t size[N_BUFFERS];

	sizes_of(model, fwd->max_rows, size);
	for (int i = 0; i < N_BUFFERS; i++)
	{
		float *bigger;

		if (size[i] <= fwd->size[i])
			continue;
		bigger = fwd->backend->alloc(fwd->dev, size[i]);
		if (bigger == NULL)
			return glm_no_memory(err);
		fwd->backend->free(fwd->dev, fwd->buffer[i]);
		fwd->buffer[i] = bigger;
		fwd->size[i] = size[i];
	}
	return fwd->backend->prepare(fwd->dev, model, err);
}

/* ---- The pass ---------------------------------------------------------- */

/* Do all rows name a token, a position and a KV block that exist? */
static bool
check_rows(const glm_forward *fwd, const glm_model *model, const glm_row *rows, int n_rows,
		   glm_error *err)
{
	if (n_rows < 1 || n_rows > fwd->max_rows)
		return glm_fail(err, GLM_INTERNAL, "a pass of %d rows; it may have 1 to %d", n_rows,
						fwd->max_rows);
	for (int i = 0; i < n_rows; i++)
	{
		const glm_row *row = &rows[i];

		if (row->token < 0 || row->token >= model->config.vocab)
			return glm_fail(err, GLM_BAD_ARGUMENT,
							"token id %d is not in the vocabulary of model \"%s\" (0 to %d)",
							row->token, model->name, model->config.vocab - 1);
		if (row->position < 0 || row->position >= model->config.context)
			return glm_fail(err, GLM_TOO_LONG,
							"position %d is outside the context of model \"%s\" (%d tokens)",
							row->position, model->name, model->config.context);
		if (row->position / GLM_KV_BLOCK >= row->kv->n_blocks)
			return glm_fail(err, GLM_INTERNAL, "no KV block for position %d", row->position);
	}
	return true;
}

static int
count_logits(const glm_row *rows, int n_rows)
{
	int n = 0;

	for (int i = 0; i < n_rows; i++)
		n += rows[i].logits;
	return n;
}

/* x += dense(attention(rope(qkv(rmsnorm(x))))) */
static void
attention_block(glm_forward *fwd, const glm_model *model, int l, const glm_row *rows, int n)
{
	const glm_backend	   *be = fwd->backend;
	const glm_model_config *config = &model->config;
	const glm_matrix	   *in = matrix_of(model, GLM_QKV, l);
	const glm_matrix	   *out = matrix_of(model, GLM_DENSE, l);
	float *const		   *buf = fwd->buffer;
	float				   *qkv = buf[SHARED], *context = qkv + qkv_size(model, n);
	int						hidden = config->hidden;
	size_t					context_width = (size_t) out->tensor.shape[1];

	be->rmsnorm(fwd->dev, buf[NORMED], buf[X], glm_model_norm(model, GLM_ATTN_NORM, l), n, hidden,
				config->norm_eps);
	be->matmul(fwd->dev, qkv, buf[NORMED], (size_t) hidden, &in->tensor, in->bias, n);
	be->rope_store(fwd->dev, model, l, qkv, rows, n);
	be->attention(fwd->dev, model, l, context, qkv, rows, n);
	be->matmul(fwd->dev, buf[NORMED], context, context_width, &out->tensor, out->bias, n);
	be->add(fwd->dev, buf[X], buf[NORMED], n, hidden);
}

/* normed = down(swiglu(gate_up(normed))), for n rows of it */
static void
feed_forward(glm_forward *fwd, const glm_model *model, int l, float *normed, int n)
{
	const glm_backend *be = fwd->backend;
	const glm_matrix  *in = matrix_of(model, GLM_GATE_UP, l), *out = matrix_of(model, GLM_DOWN, l);
	float			  *gate_up = fwd->buffer[SHARED];
	size_t hidden = (size_t) model->config.hidden, gate_up_width = 2 * (size_t) model->config.ffn;

	be->matmul(fwd->dev, gate_up, normed, hidden, &in->tensor, in->bias, n);
	be->swiglu(fwd->dev, gate_up, n, model->config.ffn);
	be->matmul(fwd->dev, normed, gate_up, gate_up_width, &out->tensor, out->bias, n);
}

/* x += down(swiglu(gate_up(rmsnorm(x)))) */
static void
ffn_block(glm_forward *fwd, const glm_model *model, int l, int n)
{
	const glm_backend	   *be = fwd->backend;
	const glm_model_config *config = &model->config;
	float *const		   *buf = fwd->buffer;
	int						hidden = config->hidden;
	int parts = (n + FFN_ROWS - 1) / FFN_ROWS, part = (n + parts - 1) / parts; /* alike in size */

	be->rmsnorm(fwd->dev, buf[NORMED], buf[X], glm_model_norm(model, GLM_FFN_NORM, l), n, hidden,
				config->norm_eps);
	for (int i = 0; i < n; i += part)
		feed_forward(fwd, model, l, buf[NORMED] + (size_t) i * (size_t) hidden,
					 n - i < part ? n - i : part);
	be->add(fwd->dev, buf[X], buf[NORMED], n, hidden);
}

/* The output head for the rows that want logits; the others end here. */
static void
output_head(glm_forward *fwd, const glm_model *model, const glm_row *rows, int n_rows, int n)
{
	const glm_backend	   *be = fwd->backend;
	const glm_model_config *config = &model->config;
	float *const		   *buf = fwd->buffer;
	int						hidden = config->hidden;
	float				   *last = buf[NORMED];
	const float			   *norm = glm_model_norm(model, GLM_FINAL_NORM, GLM_NO_LAYER);
	const glm_matrix	   *head = matrix_of(model, GLM_HEAD, GLM_NO_LAYER);

	be->gather(fwd->dev, last, buf[X], rows, n_rows, hidden);
	if (norm != NULL)
	{
		/* x itself has been read, so its buffer takes the result */
		be->rmsnorm(fwd->dev, buf[X], last, norm, n, hidden, config->norm_eps);
		last = buf[X];
	}
	be->matmul(fwd->dev, buf[SHARED], last, (size_t) hidden, &head->tensor, head->bias, n);
}

bool
glm_forward_run(glm_forward *fwd, const glm_model *model, const glm_row *rows, int n_rows,
				float **logits, glm_error *err)
{
	int n_logits = count_logits(rows, n_rows);

	if (!check_rows(fwd, model, rows, n_rows, err))
		return false;
	fwd->backend->embed(fwd->dev, fwd->buffer[X],
						&matrix_of(model, GLM_EMBEDDING, GLM_NO_LAYER)->tensor, rows, n_rows);
	for (int l = 0; l < model->config.layers; l++)
	{
		if (!glm_pause(err))
			return false;
		attention_block(fwd, model, l, rows, n_rows);
		ffn_block(fwd, model, l, n_rows);
	}
	if (n_logits > 0)
		output_head(fwd, model, rows, n_rows, n_logits);
	*logits = fwd->backend->read(fwd->dev, fwd->buffer[SHARED],
								 (size_t) n_logits * (size_t) model->config.vocab);
	return true;
}
