/*
 * calibrate.c - calibration: the texts' residual stream, taken through a model
 * layer by layer.
 *
 * The way through a layer is compute/layer_walk.c's, as in a forward pass, so that what is
 * measured is what will run.  Rows go through a layer BATCH at a time, in order; as the keys
 * and values of all rows before lie in place, a text may be cut anywhere.  Only
 * the layer at work has keys and values: the device is told place 0 for
 * each, which makes a KV block as small as one layer's.  Only its weights are resident, too.
 *
 * It is the CPU that calibrates, whatever serves: it gives the same bits, its memory can be
 * looked at, and the other's is the sequences'.
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

#include "engine/compute/layer_walk.h"
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
	NORMED, /* [BATCH, hidden] */
	SHARED, /* what a walk of BATCH rows needs */
	LAST,	/* [HEAD_BATCH, hidden] */
	LOGITS, /* [HEAD_BATCH, vocab] */
	X,		/* [tokens, hidden]: the residual stream */
	N_BUFFERS
} buffer_id;

struct glm_calibration
{
	const glm_backend *backend;
	glm_device		  *dev;
	const glm_blas	  *blas;
	glm_work		   work;
	glm_texts		   texts;
	glm_mem			   buffer[N_BUFFERS];
	uint32_t		  *block; /* the KV blocks of all texts, each of one layer */
	size_t			   n_blocks;
	float *const	  *hessian;	 /* of the layer at work, by projection; NULL: none */
	double			   surprise; /* of the tokens that were judged */
	size_t			   n_judged;
};

/* ---- Opening -------------------------------------------------------------- */

static void
buffer_sizes(size_t size[N_BUFFERS], const glm_model *model, size_t n_rows)
{
	size_t hidden = (size_t) model->config.hidden;

	size[NORMED] = BATCH * hidden;
	size[SHARED] = glm_walk_shared(model, BATCH);
	size[LAST] = HEAD_BATCH * hidden;
	size[LOGITS] = HEAD_BATCH * (size_t) model->config.vocab;
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
room_for_texts(const glm_model *model, size_t memory)
{
	size_t fixed = layer_bytes(&model->config);
	size_t least = memory / 16;
	size_t size[N_BUFFERS];

	buffer_sizes(size, model, 0);
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
	size_t room = room_for_texts(model, limit);
	size_t stream = (size_t) model->config.hidden * sizeof(float);
	size_t block = block_units(model) * GLM_KV_UNIT + sizeof(*c->block);
	size_t used = 0;

	for (size_t i = 0; i < c->texts.n_rows; i++)
	{
		const glm_pass_row *row = &c->texts.row[i];

		used += stream + sizeof(*row);
		if (row->position % GLM_KV_BLOCK == 0)
			used += block;
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

	buffer_sizes(size, model, c->texts.n_rows);
	for (int i = 0; i < N_BUFFERS; i++)
	{
		c->buffer[i] = c->backend->alloc(c->dev, 0, size[i] * sizeof(float), err);
		if (c->buffer[i].at == 0)
			return false;
	}
	return true;
}

/* Gives every text its KV blocks, one behind the other, and every row its text's. */
static bool
take_kv(glm_calibration *c, const glm_model *model, glm_error *err)
{
	size_t units = block_units(model);
	size_t n = 0;

	for (size_t i = 0; i < c->texts.n_rows; i++)
		c->n_blocks += c->texts.row[i].position % GLM_KV_BLOCK == 0;
	c->block = calloc(c->n_blocks, sizeof(*c->block));
	if (c->block == NULL)
		return glm_no_memory(err);
	for (size_t i = 0; i < c->texts.n_rows; i++)
	{
		glm_pass_row *row = &c->texts.row[i];

		row->first_block = row->position == 0 ? (int32_t) n : row[-1].first_block;
		if (row->position % GLM_KV_BLOCK != 0)
			continue;
		c->block[n] = (uint32_t) (n * units);
		n++;
	}
	return c->backend->kv_pool(c->dev, 0, c->n_blocks * units * GLM_KV_UNIT, err).at != 0;
}

/* Opens the CPU. */
static bool
open_cpu(glm_calibration *c, const char *kernels, glm_threads *pool, glm_error *err)
{
	glm_device_choice choice;

	if (!glm_backend_find("cpu", NULL, &choice, err))
		return false;
	c->backend = choice.backend;
	c->dev = c->backend->open(choice.which, choice.n, kernels, pool, GLM_EXACT, err);
	return c->dev != NULL;
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
	c->blas = blas;
	c->work = *work;
	if (glm_texts_read(&c->texts, model, texts, max_tokens, work, err) &&
		check_room(c, model, memory, err) && open_cpu(c, kernels, work->pool, err) &&
		take_buffers(c, model, err) && take_kv(c, model, err))
		return c;
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
	free(c->block);
	glm_texts_free(&c->texts);
	free(c);
}

int
glm_calibration_tokens(const glm_calibration *c)
{
	return (int) c->texts.n_rows;
}

/* ---- Batches --------------------------------------------------------------- */

/* The `most` rows from `at` on, or what is left of them, as a pass. */
static glm_pass
batch_at(const glm_calibration *c, size_t at, int most)
{
	size_t	 left = c->texts.n_rows - at;
	glm_pass pass = {.row = c->texts.row + at,
					 .n_rows = left < (size_t) most ? (int) left : most,
					 .block = c->block,
					 .n_blocks = c->n_blocks};

	for (int i = 0; i < pass.n_rows; i++)
	{
		pass.n_logits += pass.row[i].want == GLM_WANT_LOGITS;
		if (pass.row[i].position >= pass.longest)
			pass.longest = pass.row[i].position + 1;
	}
	return pass;
}

/* The residual stream from row `at` on. */
static glm_mem
stream_at(const glm_calibration *c, const glm_model *model, size_t at)
{
	return glm_at(c->buffer[X], at * (size_t) model->config.hidden);
}

static bool
is_wanted(void *arg, glm_error *err)
{
	const glm_calibration *c = arg;

	return !glm_work_cancelled(&c->work) ||
		   glm_fail(err, GLM_CANCELLED, "the request was cancelled");
}

/* What is done with a batch, whose pass has been begun. */
typedef bool (*batch_body)(glm_calibration *c, const glm_model *model, const glm_pass *pass,
						   size_t at, int layer, glm_error *err);

/* Takes all rows, `most` at a time, through a segment, which is resident meanwhile. */
static bool
run_batches(glm_calibration *c, const glm_model *model, int segment, int most, batch_body body,
			glm_error *err)
{
	glm_weights		*w = c->backend->load(c->dev, 0, model, segment, most, is_wanted, c, err);
	glm_device_state state;
	bool			 ok = w != NULL;

	for (size_t at = 0; ok && at < c->texts.n_rows; at += (size_t) most)
	{
		glm_pass pass = batch_at(c, at, most);

		c->backend->begin(c->dev, w, &pass);
		ok = body(c, model, &pass, at, segment, err);
		c->backend->end(c->dev);
		ok = ok && c->backend->wait(c->dev, 0, &state, err);
	}
	if (w != NULL)
		c->backend->unload(c->dev, w);
	return ok;
}

/* ---- Layers ---------------------------------------------------------------- */

static bool
embed_batch(glm_calibration *c, const glm_model *model, const glm_pass *pass, size_t at, int layer,
			glm_error *err)
{
	(void) pass;
	(void) layer;
	(void) err;
	c->backend->embed(c->dev, stream_at(c, model, at));
	return true;
}

bool
glm_calibration_start(glm_calibration *c, const glm_model *model, glm_error *err)
{
	return run_batches(c, model, GLM_SEGMENT_EMBEDDING, BATCH, embed_batch, err);
}

/* Adds the input of a projection to its Hessian. */
static bool
observe(void *arg, glm_projection projection, glm_mem x, int width, int n, glm_error *err)
{
	glm_calibration *c = arg;

	if (c->hessian == NULL || c->hessian[projection] == NULL)
		return true;
	return glm_hessian_add(c->hessian[projection], width, (const float *) x.at, (size_t) width, n,
						   c->blas, &c->work, err);
}

static bool
walk_batch(glm_calibration *c, const glm_model *model, const glm_pass *pass, size_t at, int layer,
		   glm_error *err)
{
	const glm_observer observer = {.go_on = is_wanted, .input = observe, .arg = c};
	const glm_walk	   walk = {.backend = c->backend,
							   .dev = c->dev,
							   .model = model,
							   .x = stream_at(c, model, at),
							   .normed = c->buffer[NORMED],
							   .shared = c->buffer[SHARED],
							   .n = pass->n_rows,
							   .slice = SLICE,
							   .observer = &observer};

	return glm_layer_walk(&walk, layer, 0, err);
}

bool
glm_calibration_layer(glm_calibration *c, const glm_model *model, int l, float *const *hessian,
					  glm_error *err)
{
	bool ok;

	c->hessian = hessian;
	ok = run_batches(c, model, l, BATCH, walk_batch, err);
	c->hessian = NULL;
	return ok;
}

/* ---- The head --------------------------------------------------------------- */

/* The head's input for n rows of x [n, hidden]; in `to`, if there is a norm. */
static glm_mem
final_norm(glm_calibration *c, const glm_model *model, glm_mem to, glm_mem x, int n)
{
	if (glm_model_norm(model, GLM_FINAL_NORM, GLM_NO_LAYER) == NULL)
		return x;
	c->backend->rmsnorm(c->dev, to, x, GLM_FINAL_NORM, GLM_NO_LAYER, n);
	return to;
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

/* logits [n, vocab] of what the head is given, x [n, hidden] */
static bool
apply_head(glm_calibration *c, const glm_model *model, glm_mem logits, glm_mem x, int n,
		   glm_error *err)
{
	size_t hidden = (size_t) model->config.hidden, vocab = (size_t) model->config.vocab;

	for (int at = 0; at < n; at += SLICE)
	{
		if (!is_wanted(c, err))
			return false;
		c->backend->matmul(c->dev, glm_at(logits, (size_t) at * vocab),
						   glm_at(x, (size_t) at * hidden), hidden, GLM_HEAD, GLM_NO_LAYER,
						   n - at < SLICE ? n - at : SLICE, false, false);
	}
	return true;
}

/* Adds the inputs of the head to its Hessian. */
static bool
observe_head(glm_calibration *c, const glm_model *model, const glm_pass *pass, size_t at, int layer,
			 glm_error *err)
{
	glm_mem x = final_norm(c, model, c->buffer[NORMED], stream_at(c, model, at), pass->n_rows);

	(void) layer;
	return observe(c, GLM_HEAD, x, model->config.hidden, pass->n_rows, err);
}

/* Adds the surprise of what follows the rows of a batch, and counts it. */
static bool
judge_batch(glm_calibration *c, const glm_model *model, const glm_pass *pass, size_t at, int layer,
			glm_error *err)
{
	size_t		 vocab = (size_t) model->config.vocab;
	const float *logits = (const float *) c->buffer[LOGITS].at;
	glm_mem		 x;

	(void) layer;
	if (pass->n_logits == 0)
		return true;
	c->backend->gather(c->dev, c->buffer[LAST], stream_at(c, model, at), GLM_WANT_LOGITS);
	x = final_norm(c, model, c->buffer[NORMED], c->buffer[LAST], pass->n_logits);
	if (!apply_head(c, model, c->buffer[LOGITS], x, pass->n_logits, err))
		return false;
	for (int i = 0; i < pass->n_rows; i++)
	{
		if (pass->row[i].want != GLM_WANT_LOGITS)
			continue;
		c->surprise += surprise(logits, (int) vocab, pass->row[i + 1].token);
		c->n_judged++;
		logits += vocab;
	}
	return true;
}

bool
glm_calibration_end(glm_calibration *c, const glm_model *model, float *hessian, double *perplexity,
					glm_error *err)
{
	float *hessians[GLM_N_PROJECTIONS] = {[GLM_HEAD] = hessian};
	bool   ok;

	c->hessian = hessians;
	c->surprise = 0;
	c->n_judged = 0;
	ok = (hessian == NULL || run_batches(c, model, GLM_SEGMENT_OUTPUT, BATCH, observe_head, err)) &&
		 run_batches(c, model, GLM_SEGMENT_OUTPUT, HEAD_BATCH, judge_batch, err);
	c->hessian = NULL;
	*perplexity = c->n_judged > 0 ? exp(c->surprise / (double) c->n_judged) : NAN;
	return ok && (isfinite(c->surprise) ||
				  glm_fail(err, GLM_NOT_FINITE,
						   "model \"%s\" computes NaN or infinity on the calibration texts",
						   model->name));
}
