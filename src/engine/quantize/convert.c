/*
 * convert.c - from a model directory to a packed one.
 *
 * One tensor after the other is read, quantized and written, in the order of
 * the file; with calibration, the texts take a step through the original layer
 * before its matrices are converted, and leave the Hessians of their inputs
 * behind.  What was written is opened again before it gets its name: so a target
 * that appears is one that loads, and the perplexity is that of what it holds.
 *
 * Memory: a band of a matrix (row_bands.c); with calibration also the texts'
 * residual stream and the Hessians of a layer's inputs, each only until its
 * matrix is done.  The widest matrix of a 6B model has one of 750 MB.  calibrate.c
 * refuses texts for which the sum would be too much.
 *
 * One thread calls this; the work's pool computes.
 */
#include "engine/quantize/convert.h"

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/quantize/calibrate.h"
#include "engine/quantize/pack.h"
#include "engine/quantize/quant_options.h"
#include "engine/quantize/row_bands.h"

#define PIECE ((size_t) 16 << 20) /* of a tensor that is copied */

typedef struct conversion
{
	const glm_quantize_job *job;
	glm_quant_options		options;
	glm_quant_tensors		tensors;
	glm_model			   *model;
	glm_pack			   *pack;
	glm_blas				blas;
	glm_calibration		   *calibration;				/* NULL: none */
	float				   *hessian[GLM_N_PROJECTIONS]; /* of the layer at work; NULL: none */
	glm_loss				weights;					/* of all that is quantized */
	double					before;						/* perplexities */
	double					after;
	glm_quantized		   *report; /* [tensors.n + 1] */
	int						n_report;
} conversion;

static bool prepare_conversion(conversion *c, glm_error *err);
static bool convert_all(conversion *c, glm_error *err);
static bool publish(conversion *c, glm_error *err);

/* ---- Entry ------------------------------------------------------------------ */

static void
free_hessians(conversion *c)
{
	for (int i = 0; i < GLM_N_PROJECTIONS; i++)
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
	glm_quant_tensors_free(&c->tensors);
	glm_model_close(c->model);
	glm_quant_options_free(&c->options);
	/* pieces of up to 32 MB come from the heap, which would keep a hundred MB of them */
	malloc_trim(0);
}

bool
glm_convert(const glm_quantize_job *job, glm_quantized **report, int *n, glm_error *err)
{
	conversion c = {.job = job, .before = NAN, .after = NAN};
	bool	   ok = prepare_conversion(&c, err) && convert_all(&c, err) && publish(&c, err);

	clean_up(&c);
	if (!ok)
	{
		free(c.report);
		return false;
	}
	*report = c.report;
	*n = c.n_report;
	return true;
}

static void
tell_progress(const conversion *c, const char *phase, const char *tensor, uint64_t bytes)
{
	c->job->progress(c->job->arg, phase, tensor, bytes);
}

/* Checks all that can be wrong before the long work begins. */
static bool
prepare_conversion(conversion *c, glm_error *err)
{
	const glm_quantize_job *job = c->job;
	glm_pack_tensor		   *packed_tensors;
	bool					ok;

	if (!glm_quant_options_read(&c->options, job->options, job->texts != NULL, err))
		return false;
	c->model = glm_model_open_with(job->name, job->path,
								   &(glm_open_options){.rope = c->options.rope}, err);
	if (c->model == NULL || !glm_quant_tensors_make(&c->tensors, &c->options, c->model, err))
		return false;
	if (job->texts != NULL)
	{
		if (!glm_blas_open(&c->blas, err))
			return false;
		c->calibration = glm_calibration_open(c->model, job->texts, c->options.max_tokens,
											  job->memory, job->kernels, &c->blas, &job->work, err);
		if (c->calibration == NULL)
			return false;
	}
	/* with calibration, the weights are passed over thrice */
	tell_progress(c, "opening", "", c->tensors.source_bytes * (c->calibration != NULL ? 3 : 1));
	c->pack = glm_pack_open(job->target, err);
	if (c->pack == NULL)
		return false;
	c->report = calloc((size_t) c->tensors.n + 1, sizeof(*c->report));
	packed_tensors = calloc((size_t) c->tensors.n, sizeof(*packed_tensors));
	if (c->report == NULL || packed_tensors == NULL)
	{
		free(packed_tensors);
		return glm_no_memory(err);
	}
	for (int i = 0; i < c->tensors.n; i++)
		packed_tensors[i] = (glm_pack_tensor){c->tensors.tensor[i].name, c->tensors.tensor[i].form};
	ok = glm_pack_plan(c->pack, packed_tensors, c->tensors.n, GLM_PACK_FILE_MAX, err);
	free(packed_tensors);
	return ok;
}

/* ---- One tensor -------------------------------------------------------------- */

static bool
copy_data(conversion *c, const glm_quant_tensor *tensor, glm_error *err)
{
	const uint8_t *data = tensor->source.data;
	uint64_t	   left = glm_tensor_bytes(&tensor->source);

	while (left > 0)
	{
		size_t n = left < PIECE ? (size_t) left : PIECE;

		if (!glm_work_goes_on(&c->job->work, err) || !glm_pack_put(c->pack, data, n, err))
			return false;
		data += n;
		left -= n;
	}
	return true;
}

/* Matrices of one projection share their inputs, and so a Hessian. */
static bool
shares_hessian(const glm_quant_tensor *a, const glm_quant_tensor *b)
{
	return a->layer == b->layer && a->projection == b->projection && a->method != GLM_COPY &&
		   b->method != GLM_COPY;
}

static bool
is_last_of_projection(const conversion *c, const glm_quant_tensor *tensor)
{
	for (const glm_quant_tensor *t = tensor + 1; t < c->tensors.tensor + c->tensors.n; t++)
		if (shares_hessian(t, tensor))
			return false;
	return true;
}

static bool
convert_matrix(conversion *c, const glm_quant_tensor *tensor, glm_quantized *report, glm_error *err)
{
	float  **hessian = tensor->projection != GLM_EMBEDDING ? &c->hessian[tensor->projection] : NULL;
	bool	 judged = hessian != NULL && *hessian != NULL;
	glm_loss weights = {0};
	glm_loss outputs = {0};

	if (!glm_row_bands_convert(c->pack, tensor, judged ? *hessian : NULL, &c->blas, &c->job->work,
							   &weights, &outputs, err))
		return false;
	report->weight_error = glm_loss_error(&weights);
	if (judged)
		report->output_error = glm_loss_error(&outputs);
	if (judged && is_last_of_projection(c, tensor))
	{
		free(*hessian);
		*hessian = NULL;
	}
	c->weights.lost += weights.lost;
	c->weights.square += weights.square;
	return true;
}

/* Converts or copies a tensor and reports on it. */
static bool
convert_tensor(conversion *c, const glm_quant_tensor *tensor, glm_error *err)
{
	glm_quantized *report = &c->report[c->n_report++];
	double		   weights = (double) tensor->source.shape[0] * (double) tensor->source.shape[1];
	bool		   ok;

	snprintf(report->name, sizeof(report->name), "%s", tensor->name);
	snprintf(report->method, sizeof(report->method), "%s", glm_method_name(tensor->method));
	report->bits = (double) glm_tensor_bytes(&tensor->form) * 8 / weights;
	report->output_error = report->perplexity_before = report->perplexity_after = NAN;
	tell_progress(c, "quantizing", tensor->name, 0);
	if (!glm_shards_hold(c->model->shards, &tensor->source, err))
		return false;
	ok = tensor->method == GLM_COPY ? copy_data(c, tensor, err)
									: convert_matrix(c, tensor, report, err);
	glm_shards_drop(c->model->shards, &tensor->source);
	if (ok)
		tell_progress(c, "quantizing", tensor->name, glm_tensor_bytes(&tensor->source));
	return ok;
}

/* ---- The model ----------------------------------------------------------------- */

/* Bytes of a layer's matrices, or of what belongs to no layer. */
static uint64_t
layer_source_bytes(const glm_quant_tensors *tensors, int layer)
{
	uint64_t bytes = 0;

	for (int i = 0; i < tensors->n; i++)
		if (tensors->tensor[i].layer == layer)
			bytes += glm_tensor_bytes(&tensors->tensor[i].source);
	return bytes;
}

/* A Hessian for every projection of the layer of which a matrix is going to be quantized. */
static bool
take_hessians(conversion *c, int layer, glm_error *err)
{
	for (int i = 0; i < c->tensors.n; i++)
	{
		const glm_quant_tensor *tensor = &c->tensors.tensor[i];
		size_t					cols = (size_t) tensor->source.shape[1];

		if (tensor->layer != layer || tensor->projection == GLM_EMBEDDING ||
			tensor->method == GLM_COPY || c->hessian[tensor->projection] != NULL)
			continue;
		c->hessian[tensor->projection] = calloc(cols * cols, sizeof(float));
		if (c->hessian[tensor->projection] == NULL)
			return glm_no_memory(err);
	}
	return true;
}

/* The texts' step through a layer; -1: through the head. */
static bool
calibrate_layer(conversion *c, int layer, glm_error *err)
{
	char name[32];

	if (c->calibration == NULL)
		return true;
	free_hessians(c);
	snprintf(name, sizeof(name), layer < 0 ? "head" : "layer %d", layer);
	tell_progress(c, "calibrating", name, 0);
	if (!take_hessians(c, layer, err) ||
		!(layer >= 0 ? glm_calibration_layer(c->calibration, c->model, layer, c->hessian, err)
					 : glm_calibration_end(c->calibration, c->model, c->hessian[GLM_HEAD],
										   &c->before, err)))
		return false;
	tell_progress(c, "calibrating", name, layer_source_bytes(&c->tensors, layer));
	return true;
}

/* The first tensor, the embedding, comes before the layers; the others of no layer behind. */
static bool
convert_all(conversion *c, glm_error *err)
{
	int at = -1;
	int layers = c->model->config.layers;
	int i = 1;

	if (c->calibration != NULL && !glm_calibration_start(c->calibration, c->model, err))
		return false;
	if (!convert_tensor(c, &c->tensors.tensor[0], err))
		return false;
	while (at < layers)
	{
		at++;
		if (!calibrate_layer(c, at < layers ? at : -1, err))
			return false;
		for (; i < c->tensors.n && (at == layers || c->tensors.tensor[i].layer == at); i++)
			if (!convert_tensor(c, &c->tensors.tensor[i], err))
				return false;
	}
	free_hessians(c);
	return true;
}

static bool
copy_files(conversion *c, glm_error *err)
{
	static const char *const names[] = {"config.json", "tokenizer.model", "tokenizer_config.json",
										"special_tokens_map.json", "generation_config.json"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!glm_pack_copy(c->pack, c->job->path, names[i], err))
			return false;
	return true;
}

/* Takes the texts through what was written. */
static bool
evaluate_packed(conversion *c, const glm_model *packed, glm_error *err)
{
	if (!glm_calibration_start(c->calibration, packed, err))
		return false;
	for (int l = 0; l < packed->config.layers; l++)
	{
		char name[32];

		snprintf(name, sizeof(name), "layer %d", l);
		tell_progress(c, "evaluating", name, 0);
		if (!glm_calibration_layer(c->calibration, packed, l, NULL, err))
			return false;
		tell_progress(c, "evaluating", name, layer_source_bytes(&c->tensors, l));
	}
	if (!glm_calibration_end(c->calibration, packed, NULL, &c->after, err))
		return false;
	tell_progress(c, "evaluating", "head", layer_source_bytes(&c->tensors, -1));
	return true;
}

/* The report on the whole model. */
static void
sum_up(conversion *c)
{
	glm_quantized *total = &c->report[c->n_report++];
	double		   output = 0;
	int			   n = 0;

	snprintf(total->method, sizeof(total->method), "%s", glm_method_name(c->options.method));
	for (int i = 0; i < c->tensors.n; i++)
	{
		if (isfinite(c->report[i].output_error))
		{
			output += c->report[i].output_error;
			n++;
		}
	}
	total->bits = c->tensors.bits;
	total->weight_error = glm_loss_error(&c->weights);
	total->output_error = n > 0 ? output / n : NAN;
	total->perplexity_before = c->before;
	total->perplexity_after = c->after;
}

static bool
publish(conversion *c, glm_error *err)
{
	const glm_pack_info info = {.dtype = c->options.dtype,
								.group = c->options.group,
								.method = glm_method_name(c->options.method),
								.bits_per_weight = c->tensors.bits};
	glm_model		   *packed;
	bool				ok;

	tell_progress(c, "writing", "", 0);
	if (!glm_work_goes_on(&c->job->work, err) || !copy_files(c, err) ||
		!glm_pack_seal(c->pack, &info, err))
		return false;
	packed = glm_model_open_with(c->job->name, glm_pack_path(c->pack),
								 &(glm_open_options){.rope = c->options.rope}, err);
	if (packed == NULL)
		return false;
	ok = c->calibration == NULL || evaluate_packed(c, packed, err);
	glm_calibration_close(c->calibration);
	c->calibration = NULL;
	glm_model_close(packed);
	if (!ok || !glm_work_goes_on(&c->job->work, err))
		return false;
	sum_up(c);
	return glm_pack_publish(c->pack, err);
}
