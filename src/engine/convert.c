/*
 * convert.c - from a model directory to a packed one.
 *
 * One tensor after the other is read, quantized and written, in the order of
 * the file; with calibration, the texts take a step through the original layer
 * before its matrices are converted, and leave the Hessians of their inputs
 * behind.  What was written is opened again before it gets its name: so a target
 * that appears is one that loads, and the perplexity is that of what it holds.
 *
 * Memory: a matrix without calibration is converted STRIPE bytes of fp32 at a
 * time.  One with calibration is taken whole, since gptq factors the Hessian
 * once; the largest of a 6B model and its Hessian are 1 GB.
 *
 * One thread calls this; the work's pool computes.
 */
#include "convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calibrate.h"
#include "half.h"
#include "pack.h"
#include "recipe.h"

#define STRIPE ((size_t) 64 << 20)
#define PIECE ((size_t) 16 << 20)	/* of a tensor that is copied */

typedef struct conversion
{
	const glm_order *order;
	glm_recipe	recipe;
	glm_plan	plan;
	glm_model  *model;
	glm_pack   *pack;
	glm_blas	blas;
	glm_calibration *calibration;	/* NULL: none */
	float	   *hessian[GLM_N_INPUTS];	/* of the layer at work; NULL: none */
	double		lost;			/* squared error of all quantized weights */
	double		square;			/* their squares */
	double		before;			/* perplexities */
	double		after;
	glm_quantized *row;			/* [plan.n + 1] */
	int			n_rows;
} conversion;

static bool prepare(conversion *c, glm_error *err);
static bool convert_all(conversion *c, glm_error *err);
static bool finish(conversion *c, glm_error *err);

/* ---- Entry ------------------------------------------------------------------ */

static void
free_hessians(conversion *c)
{
	for (int i = 0; i < GLM_N_INPUTS; i++)
	{
		free(c->hessian[i]);
		c->hessian[i] = NULL;
	}
}

static void
clean_up(conversion *c)
{
	free_hessians(c);
	glm_calibration_close(c->calibration);
	glm_pack_close(c->pack);
	glm_plan_free(&c->plan);
	glm_model_close(c->model);
	glm_recipe_free(&c->recipe);
}

bool
glm_convert(const glm_order *order, glm_quantized **rows, int *n, glm_error *err)
{
	conversion	c = {.order = order, .before = NAN, .after = NAN};
	bool		ok = prepare(&c, err) && convert_all(&c, err) && finish(&c, err);

	clean_up(&c);
	if (!ok)
	{
		free(c.row);
		return false;
	}
	*rows = c.row;
	*n = c.n_rows;
	return true;
}

static void
tell(const conversion *c, const char *phase, const char *tensor, uint64_t bytes)
{
	c->order->tell(c->order->arg, phase, tensor, bytes);
}

static bool
stopped(const conversion *c, glm_error *err)
{
	return glm_work_cancelled(&c->order->work) &&
		!glm_fail(err, GLM_CANCELLED, "the request was cancelled");
}

/* Checks all that can be wrong before the long work begins. */
static bool
prepare(conversion *c, glm_error *err)
{
	const glm_order *order = c->order;
	glm_pack_tensor *tensors;
	bool		ok;

	if (!glm_recipe_read(&c->recipe, order->options, order->texts != NULL, err))
		return false;
	c->model = glm_model_open(order->name, order->path, err);
	if (c->model == NULL || !glm_plan_make(&c->plan, &c->recipe, c->model, err))
		return false;
	if (order->texts != NULL)
	{
		if (!glm_blas_open(&c->blas, err))
			return false;
		c->calibration = glm_calibration_open(c->model, order->texts, c->recipe.max_tokens,
											  order->kernels, &c->blas, &order->work, err);
		if (c->calibration == NULL)
			return false;
	}
	/* with calibration, the weights are passed over thrice */
	tell(c, "opening", "", c->plan.source_bytes * (c->calibration != NULL ? 3 : 1));
	c->pack = glm_pack_open(order->target, err);
	if (c->pack == NULL)
		return false;
	c->row = calloc((size_t) c->plan.n + 1, sizeof(*c->row));
	tensors = calloc((size_t) c->plan.n, sizeof(*tensors));
	if (c->row == NULL || tensors == NULL)
	{
		free(tensors);
		return glm_no_memory(err);
	}
	for (int i = 0; i < c->plan.n; i++)
		tensors[i] = (glm_pack_tensor) {c->plan.part[i].name, c->plan.part[i].form};
	ok = glm_pack_plan(c->pack, tensors, c->plan.n, GLM_PACK_FILE_MAX, err);
	free(tensors);
	return ok;
}

/* ---- One matrix -------------------------------------------------------------- */

/* Rows [first, first + rows) of a tensor on their way to fp32. */
typedef struct stripe
{
	const glm_tensor *source;
	size_t		first;
	int			rows;
	float	   *w;				/* [rows, cols] */
	double	   *square;			/* [pieces]: sums of squares */
} stripe;

static bool
widen_piece(void *arg, int index)
{
	stripe	   *s = arg;
	size_t		cols = (size_t) s->source->shape[1];
	int			begin = index * GLM_QUANT_ROWS;
	int			end = s->rows - begin < GLM_QUANT_ROWS ? s->rows : begin + GLM_QUANT_ROWS;
	size_t		n = (size_t) (end - begin) * cols;
	float	   *y = s->w + (size_t) begin * cols;
	size_t		size = s->source->dtype == GLM_F32 ? 4 : 2;
	const uint8_t *x = (const uint8_t *) s->source->data + (s->first + (size_t) begin) * cols * size;
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint16_t	half;

		if (size == 4)
			memcpy(&y[i], x + i * 4, 4);
		else
		{
			memcpy(&half, x + i * 2, 2);
			y[i] = s->source->dtype == GLM_F16 ? glm_f16_to_f32(half) : glm_bf16_to_f32(half);
		}
		sum += (double) y[i] * y[i];
	}
	s->square[index] = sum;
	return true;
}

/* Fills s->w; *square is the sum of all squares. */
static bool
widen(const conversion *c, stripe *s, double *square, glm_error *err)
{
	int			pieces = (s->rows + GLM_QUANT_ROWS - 1) / GLM_QUANT_ROWS;
	bool		ok;

	s->square = calloc((size_t) pieces, sizeof(*s->square));
	if (s->square == NULL)
		return glm_no_memory(err);
	ok = glm_work_run(&c->order->work, widen_piece, s, pieces, err);
	*square = 0;
	for (int i = 0; i < pieces; i++)
		*square += s->square[i];
	free(s->square);
	return ok;
}

static bool
quantize(conversion *c, const glm_recipe_part *part, const float *w, float *hessian,
		 glm_quant_matrix *q, glm_error *err)
{
	const glm_work *work = &c->order->work;

	switch (part->method)
	{
		case GLM_SYM:
			return glm_quantize(q, GLM_ROUND_PLAIN, w, work, err);
		case GLM_RTN:
			return glm_quantize(q, GLM_ROUND_RTN, w, work, err);
		case GLM_GPTQ:
			return glm_quantize_gptq(q, w, hessian, &c->blas, work, err);
		default:
			return glm_quantize(q, GLM_ROUND_HQQ, w, work, err);
	}
}

static bool
put_tiles(conversion *c, const glm_quant_matrix *q, glm_error *err)
{
	size_t		bytes = glm_packed_bytes(q->dtype, (size_t) q->rows, (size_t) q->cols,
										 (size_t) q->group);
	uint8_t    *tiles = aligned_alloc(64, bytes);
	bool		ok;

	if (tiles == NULL)
		return glm_no_memory(err);
	glm_quant_write(tiles, q);
	ok = glm_pack_put(c->pack, tiles, bytes, err);
	free(tiles);
	return ok;
}

/* Converts a stripe; adds its squared error to *lost and its squares to *square. */
static bool
convert_stripe(conversion *c, const glm_recipe_part *part, stripe *s, float *hessian,
			   glm_quantized *row, double *lost, double *square, glm_error *err)
{
	const glm_work *work = &c->order->work;
	int			cols = (int) part->source.shape[1];
	glm_quant_matrix q = {0};
	double		squares = 0;
	double		error = 0;
	bool		ok;

	ok = widen(c, s, &squares, err) &&
		glm_quant_open(&q, part->form.dtype, s->rows, cols, part->form.group, err) &&
		quantize(c, part, s->w, hessian, &q, err) &&
		glm_quant_weight_error(&error, &q, s->w, work, err) &&
		(hessian == NULL ||
		 glm_quant_output_error(&row->output_error, &q, s->w, hessian, &c->blas, work, err)) &&
		put_tiles(c, &q, err);
	glm_quant_close(&q);
	if (ok)
	{
		*lost += error * error * squares;
		*square += squares;
	}
	return ok;
}

/* Says whose weights an error is about; the quantizer knows rows only. */
static bool
name_tensor(const glm_recipe_part *part, size_t first, glm_error *err)
{
	glm_error	why = *err;

	if (why.status != GLM_NOT_FINITE && why.status != GLM_UNSUPPORTED)
		return false;
	return glm_fail(err, why.status, "tensor \"%s\", from row %zu on: %.200s",
					part->name, first, why.message);
}

static bool
convert_matrix(conversion *c, const glm_recipe_part *part, glm_quantized *row, glm_error *err)
{
	size_t		rows = (size_t) part->source.shape[0];
	size_t		cols = (size_t) part->source.shape[1];
	float	   *hessian = part->input < GLM_N_INPUTS ? c->hessian[part->input] : NULL;
	size_t		most = STRIPE / sizeof(float) / cols / GLM_QUANT_ROWS * GLM_QUANT_ROWS;
	stripe		s = {.source = &part->source};
	double		lost = 0;
	double		square = 0;
	bool		ok = true;

	if (most < GLM_QUANT_ROWS)
		most = GLM_QUANT_ROWS;
	if (hessian != NULL || most > rows)
		most = rows;
	s.w = malloc(most * cols * sizeof(float));
	if (s.w == NULL)
		return glm_no_memory(err);
	for (; ok && s.first < rows; s.first += most)
	{
		s.rows = (int) (rows - s.first < most ? rows - s.first : most);
		ok = !stopped(c, err) &&
			(convert_stripe(c, part, &s, hessian, row, &lost, &square, err) ||
			 name_tensor(part, s.first, err));
	}
	free(s.w);
	row->weight_error = square > 0 ? sqrt(lost / square) : 0;
	c->lost += lost;
	c->square += square;
	return ok;
}

static bool
copy_data(conversion *c, const glm_recipe_part *part, glm_error *err)
{
	const uint8_t *data = part->source.data;
	uint64_t	left = glm_pack_bytes(&part->source);

	while (left > 0)
	{
		size_t		n = left < PIECE ? (size_t) left : PIECE;

		if (stopped(c, err) || !glm_pack_put(c->pack, data, n, err))
			return false;
		data += n;
		left -= n;
	}
	return true;
}

/* Converts or copies a tensor and reports on it. */
static bool
convert_part(conversion *c, const glm_recipe_part *part, glm_error *err)
{
	glm_quantized *row = &c->row[c->n_rows++];
	double		weights = (double) part->source.shape[0] * (double) part->source.shape[1];
	bool		ok;

	snprintf(row->name, sizeof(row->name), "%s", part->name);
	snprintf(row->method, sizeof(row->method), "%s", glm_method_name(part->method));
	row->bits = (double) glm_pack_bytes(&part->form) * 8 / weights;
	row->output_error = row->perplexity_before = row->perplexity_after = NAN;
	tell(c, "quantizing", part->name, 0);
	if (!glm_shards_hold(c->model->shards, &part->source, err))
		return false;
	ok = part->method == GLM_COPY ? copy_data(c, part, err) : convert_matrix(c, part, row, err);
	glm_shards_drop(c->model->shards, &part->source);
	if (ok)
		tell(c, "quantizing", part->name, glm_pack_bytes(&part->source));
	return ok;
}

/* ---- The model ----------------------------------------------------------------- */

/* Bytes of a layer's matrices, or of what belongs to no layer. */
static uint64_t
bytes_of(const glm_plan *plan, int layer)
{
	uint64_t	bytes = 0;

	for (int i = 0; i < plan->n; i++)
		if (plan->part[i].layer == layer)
			bytes += glm_pack_bytes(&plan->part[i].source);
	return bytes;
}

/* A Hessian for every matrix of the layer that is going to be quantized. */
static bool
take_hessians(conversion *c, int layer, glm_error *err)
{
	for (int i = 0; i < c->plan.n; i++)
	{
		const glm_recipe_part *part = &c->plan.part[i];
		size_t		cols = (size_t) part->source.shape[1];

		if (part->layer != layer || part->input == GLM_IN_NONE || part->method == GLM_COPY)
			continue;
		c->hessian[part->input] = calloc(cols * cols, sizeof(float));
		if (c->hessian[part->input] == NULL)
			return glm_no_memory(err);
	}
	return true;
}

/* The texts' step through a layer; -1: through the head. */
static bool
calibrate(conversion *c, int layer, glm_error *err)
{
	char		name[32];

	if (c->calibration == NULL)
		return true;
	free_hessians(c);
	snprintf(name, sizeof(name), layer < 0 ? "head" : "layer %d", layer);
	tell(c, "calibrating", name, 0);
	if (!take_hessians(c, layer, err) ||
		!(layer >= 0 ? glm_calibration_layer(c->calibration, c->model, layer, c->hessian, err) :
		  glm_calibration_end(c->calibration, c->model, c->hessian[GLM_IN_OUTPUT], &c->before, err)))
		return false;
	if (layer >= 0)
		glm_model_release(c->model, layer);
	tell(c, "calibrating", name, bytes_of(&c->plan, layer));
	return true;
}

/* The first part, the embedding, comes before the layers; the others of no layer behind. */
static bool
convert_all(conversion *c, glm_error *err)
{
	int			at = -1;
	int			layers = c->model->config.layers;
	int			i = 1;

	if (c->calibration != NULL && !glm_calibration_start(c->calibration, c->model, err))
		return false;
	glm_model_release(c->model, GLM_PART_EMBEDDING);
	if (!convert_part(c, &c->plan.part[0], err))
		return false;
	while (at < layers)
	{
		at++;
		if (!calibrate(c, at < layers ? at : -1, err))
			return false;
		for (; i < c->plan.n && (at == layers || c->plan.part[i].layer == at); i++)
			if (!convert_part(c, &c->plan.part[i], err))
				return false;
	}
	glm_model_release(c->model, GLM_PART_OUTPUT);
	free_hessians(c);
	return true;
}

static bool
copy_files(conversion *c, glm_error *err)
{
	static const char *const names[] = {
		"config.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
		"generation_config.json"
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!glm_pack_copy(c->pack, c->order->path, names[i], err))
			return false;
	return true;
}

/* Takes the texts through what was written. */
static bool
evaluate(conversion *c, const glm_model *packed, glm_error *err)
{
	if (!glm_calibration_start(c->calibration, packed, err))
		return false;
	for (int l = 0; l < packed->config.layers; l++)
	{
		char		name[32];

		snprintf(name, sizeof(name), "layer %d", l);
		tell(c, "evaluating", name, 0);
		if (!glm_calibration_layer(c->calibration, packed, l, NULL, err))
			return false;
		glm_model_release(packed, l);
		tell(c, "evaluating", name, bytes_of(&c->plan, l));
	}
	if (!glm_calibration_end(c->calibration, packed, NULL, &c->after, err))
		return false;
	tell(c, "evaluating", "head", bytes_of(&c->plan, -1));
	return true;
}

/* The row of the whole model. */
static void
sum_up(conversion *c)
{
	glm_quantized *total = &c->row[c->n_rows++];
	double		output = 0;
	int			n = 0;

	snprintf(total->method, sizeof(total->method), "%s", glm_method_name(c->recipe.method));
	for (int i = 0; i < c->plan.n; i++)
	{
		if (isfinite(c->row[i].output_error))
		{
			output += c->row[i].output_error;
			n++;
		}
	}
	total->bits = c->plan.bits;
	total->weight_error = c->square > 0 ? sqrt(c->lost / c->square) : 0;
	total->output_error = n > 0 ? output / n : NAN;
	total->perplexity_before = c->before;
	total->perplexity_after = c->after;
}

static bool
finish(conversion *c, glm_error *err)
{
	const glm_pack_info info = {
		.dtype = c->recipe.dtype, .group = c->recipe.group,
		.method = glm_method_name(c->recipe.method), .bits_per_weight = c->plan.bits
	};
	glm_model  *packed;
	bool		ok;

	tell(c, "writing", "", 0);
	if (stopped(c, err) || !copy_files(c, err) || !glm_pack_seal(c->pack, &info, err))
		return false;
	packed = glm_model_open(c->order->name, glm_pack_path(c->pack), err);
	if (packed == NULL)
		return false;
	ok = c->calibration == NULL || evaluate(c, packed, err);
	glm_model_close(packed);
	if (!ok || stopped(c, err))
		return false;
	sum_up(c);
	return glm_pack_publish(c->pack, err);
}
