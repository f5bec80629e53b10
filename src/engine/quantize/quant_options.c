/*
 * quant_options.c - the options of glm_quantize, and what they make of a model's tensors.
 *
 * By default the matrices of all layers and the embedding get the width that was
 * asked for.  The output head, whose errors go straight into the choice of a
 * token, gets INT8 in an INT4 model as long as the whole stays within 4.6 bits a
 * weight; in a small model it weighs too much for that.  Norms and biases are
 * copied: they are a few thousand numbers, and every token meets each of them.
 *
 * No state: pure functions.
 */
#include "engine/quantize/quant_options.h"

#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/arch.h"
#include "engine/model/model_options.h"

#define BITS_MAX 4.6 /* a weight, of an INT4 model, before the head is widened */
#define DEFAULT_GROUP 64
#define DEFAULT_TOKENS 16384

/* ---- Options ---------------------------------------------------------------- */

static bool
bad_option(glm_error *err, const char *key, const char *rule)
{
	return glm_fail(err, GLM_BAD_ARGUMENT, "option \"%s\" must be %s", key, rule);
}

static bool
read_method(glm_quant_options *options, json_t *value, glm_error *err)
{
	const char *name = json_string_value(value);

	for (glm_method m = GLM_SYM; name != NULL && m <= GLM_GPTQ; m++)
		if (strcmp(name, glm_method_name(m)) == 0)
		{
			options->method = m;
			return true;
		}
	return bad_option(err, "method", "\"rtn\", \"hqq\", \"gptq\" or \"sym\"");
}

static bool
read_number(int *out, json_t *value, const char *key, const int *allowed, const char *rule,
			glm_error *err)
{
	json_int_t number = json_integer_value(value);

	for (; json_is_integer(value) && *allowed != 0; allowed++)
		if (number == *allowed)
		{
			*out = *allowed;
			return true;
		}
	return bad_option(err, key, rule);
}

static bool
read_max_tokens(glm_quant_options *options, json_t *value, glm_error *err)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 16 || number > 1 << 20)
		return bad_option(err, "max_calibration_tokens", "a number between 16 and 1048576");
	options->max_tokens = (int) number;
	return true;
}

static bool
read_patterns(json_t **out, json_t *value, const char *key, glm_error *err)
{
	size_t	i;
	json_t *pattern;

	if (!json_is_array(value))
		return bad_option(err, key, "an array of patterns of tensor names");
	json_array_foreach(value, i, pattern)
	{
		if (!json_is_string(pattern))
			return bad_option(err, key, "an array of patterns of tensor names");
	}
	*out = value;
	return true;
}

static bool
read_quant_option(glm_quant_options *options, const char *key, json_t *value, glm_error *err)
{
	static const int widths[] = {4, 8, 0};
	static const int groups[] = {32, 64, 128, 0};
	int				 bits = 4;

	if (strcmp(key, "method") == 0)
		return read_method(options, value, err);
	if (strcmp(key, "bits") == 0)
	{
		if (!read_number(&bits, value, key, widths, "4 or 8", err))
			return false;
		options->dtype = bits == 4 ? GLM_Q4 : GLM_Q8;
		return true;
	}
	if (strcmp(key, "group_size") == 0)
		return read_number(&options->group, value, key, groups, "32, 64 or 128", err);
	if (strcmp(key, "max_calibration_tokens") == 0)
		return read_max_tokens(options, value, err);
	if (strcmp(key, "keep") == 0)
		return read_patterns(&options->keep, value, key, err);
	if (strcmp(key, "wide") == 0)
		return read_patterns(&options->wide, value, key, err);
	if (strcmp(key, "rope") == 0)
	{
		int rope;

		if (!glm_model_option_read(key, value, &rope, err))
			return false;
		options->rope = (glm_rope) rope;
		return true;
	}
	glm_fail(err, GLM_BAD_ARGUMENT, "unknown option \"%.64s\"", key);
	glm_advise(err, GLM_ADVICE_JOB_OPTIONS);
	return false;
}

/* Is this an option at all?  One that is null is left to its default. */
static bool
is_option(const char *key)
{
	static const char *const known[] = {
		"method", "bits", "group_size", "keep", "wide", "max_calibration_tokens", "rope"};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(key, known[i]) == 0)
			return true;
	return false;
}

bool
glm_quant_options_read(glm_quant_options *options, const char *json, bool calibrated,
					   glm_error *err)
{
	const char *key;
	json_t	   *value;

	*options = (glm_quant_options){
		.method = GLM_HQQ, .dtype = GLM_Q4, .group = DEFAULT_GROUP, .max_tokens = DEFAULT_TOKENS};
	if (json != NULL)
	{
		options->root = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(options->root))
			return glm_fail(err, GLM_BAD_ARGUMENT, "options must be a JSON object");
	}
	json_object_foreach(options->root, key, value)
	{
		if (json_is_null(value) && is_option(key))
			continue;
		if (!read_quant_option(options, key, value, err))
			return false;
	}
	if (options->method == GLM_GPTQ && !calibrated)
	{
		glm_fail(err, GLM_BAD_ARGUMENT, "method \"gptq\" needs calibration texts");
		glm_advise(err, GLM_ADVICE_CALIBRATE);
		return false;
	}
	return true;
}

void
glm_quant_options_free(glm_quant_options *options)
{
	json_decref(options->root);
	*options = (glm_quant_options){0};
}

const char *
glm_method_name(glm_method method)
{
	static const char *const names[] = {[GLM_COPY] = "copy",
										[GLM_SYM] = "sym",
										[GLM_RTN] = "rtn",
										[GLM_HQQ] = "hqq",
										[GLM_GPTQ] = "gptq"};

	return names[method];
}

/* ---- The tensors of a model ---------------------------------------------------- */

/* Adds a tensor of the model's list. */
static bool
add_tensor_of(glm_quant_tensors *tensors, const glm_model *model, const glm_tensor_entry *entry,
			  glm_error *err)
{
	glm_quant_tensor *tensor = &tensors->tensor[tensors->n++];

	*tensor = (glm_quant_tensor){.layer = entry->layer, .projection = entry->projection};
	memcpy(tensor->name, entry->name, sizeof(tensor->name));
	if (!glm_shards_find(model->shards, tensor->name, entry->rows, entry->cols, &tensor->source,
						 err))
		return false;
	if (glm_is_packed(tensor->source.dtype))
		return glm_fail(err, GLM_UNSUPPORTED, "model \"%s\" is quantized already", model->name);
	tensor->form = tensor->source;
	tensors->source_bytes += glm_tensor_bytes(&tensor->source);
	return true;
}

/* Adds those that the model's files have. */
static bool
add_list(glm_quant_tensors *tensors, const glm_model *model, const glm_tensor_list *list,
		 glm_error *err)
{
	tensors->tensor = calloc((size_t) list->n, sizeof(*tensors->tensor));
	if (tensors->tensor == NULL)
		return glm_no_memory(err);
	for (int i = 0; i < list->n; i++)
	{
		const glm_tensor_entry *entry = &list->entry[i];

		if (entry->use == GLM_USE_NONE ||
			(entry->optional && glm_shards_file(model->shards, entry->name) == NULL))
			continue;
		if (!add_tensor_of(tensors, model, entry, err))
			return false;
	}
	return true;
}

static bool
add_tensors(glm_quant_tensors *tensors, const glm_model *model, glm_error *err)
{
	glm_tensor_list list = {0};
	bool			ok = model->config.arch->list_tensors(&model->config, &list, err) &&
			  add_list(tensors, model, &list, err);

	glm_tensor_list_free(&list);
	return ok;
}

/* ---- What becomes of them ------------------------------------------------------- */

static bool
matches(json_t *patterns, const char *name)
{
	size_t	i;
	json_t *pattern;

	json_array_foreach(patterns, i, pattern)
	{
		if (fnmatch(json_string_value(pattern), name, 0) == 0)
			return true;
	}
	return false;
}

static void
set_form(glm_quant_tensor *tensor, const glm_quant_options *options, glm_dtype dtype)
{
	tensor->form.dtype = dtype;
	tensor->form.group = options->group;
	tensor->method = options->method;
	/* nothing multiplies a table, so there is no input to compensate for */
	if (tensor->method == GLM_GPTQ && tensor->projection == GLM_EMBEDDING)
		tensor->method = GLM_HQQ;
}

static double
bits_of(const glm_quant_tensors *tensors)
{
	double bytes = 0;
	double weights = 0;

	for (int i = 0; i < tensors->n; i++)
	{
		const glm_quant_tensor *tensor = &tensors->tensor[i];

		bytes += (double) glm_tensor_bytes(&tensor->form);
		weights += (double) tensor->source.shape[0] * (double) tensor->source.shape[1];
	}
	return bytes * 8 / weights;
}

static void
widen_head(glm_quant_tensors *tensors, const glm_quant_options *options)
{
	glm_quant_tensor *last = &tensors->tensor[tensors->n - 1];

	if (last->projection != GLM_HEAD || last->form.dtype != GLM_Q4)
		return;
	set_form(last, options, GLM_Q8);
	if (bits_of(tensors) > BITS_MAX)
		set_form(last, options, GLM_Q4);
}

/* A pattern without an effect is a mistake that nobody would notice. */
static bool
check_patterns(const glm_quant_tensors *tensors, json_t *patterns, const char *key, glm_error *err)
{
	size_t	i;
	json_t *pattern;

	json_array_foreach(patterns, i, pattern)
	{
		bool found = false;

		for (int j = 0; j < tensors->n && !found; j++)
			found = tensors->tensor[j].source.n_dims == 2 &&
					fnmatch(json_string_value(pattern), tensors->tensor[j].name, 0) == 0;
		if (!found)
			return glm_fail(err, GLM_BAD_ARGUMENT,
							"pattern \"%.128s\" of option \"%s\" matches no matrix of the model",
							json_string_value(pattern), key);
	}
	return true;
}

bool
glm_quant_tensors_make(glm_quant_tensors *tensors, const glm_quant_options *options,
					   const glm_model *model, glm_error *err)
{
	*tensors = (glm_quant_tensors){0};
	if (!add_tensors(tensors, model, err) || !check_patterns(tensors, options->keep, "keep", err) ||
		!check_patterns(tensors, options->wide, "wide", err))
		return false;
	for (int i = 0; i < tensors->n; i++)
	{
		glm_quant_tensor *tensor = &tensors->tensor[i];

		if (tensor->source.n_dims == 2 && !matches(options->keep, tensor->name))
			set_form(tensor, options,
					 matches(options->wide, tensor->name) ? GLM_Q8 : options->dtype);
	}
	widen_head(tensors, options);
	tensors->bits = bits_of(tensors);
	return true;
}

void
glm_quant_tensors_free(glm_quant_tensors *tensors)
{
	free(tensors->tensor);
	*tensors = (glm_quant_tensors){0};
}
