/*
 * recipe.c - the options of glm_quantize, and what they make of a model's tensors.
 *
 * By default the matrices of all layers and the embedding get the width that was
 * asked for.  The output head, whose errors go straight into the choice of a
 * token, gets INT8 in an INT4 model as long as the whole stays within 4.6 bits a
 * weight; in a small model it weighs too much for that.  Norms and biases are
 * copied: they are a few thousand numbers, and every token meets each of them.
 *
 * No state: pure functions.
 */
#include "engine/quantize/recipe.h"

#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/arch.h"
#include "engine/quantize/pack.h"

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
read_method(glm_recipe *recipe, json_t *value, glm_error *err)
{
	const char *name = json_string_value(value);

	for (glm_method m = GLM_SYM; name != NULL && m <= GLM_GPTQ; m++)
		if (strcmp(name, glm_method_name(m)) == 0)
		{
			recipe->method = m;
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
read_max_tokens(glm_recipe *recipe, json_t *value, glm_error *err)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 16 || number > 1 << 20)
		return bad_option(err, "max_calibration_tokens", "a number between 16 and 1048576");
	recipe->max_tokens = (int) number;
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
read_option(glm_recipe *recipe, const char *key, json_t *value, glm_error *err)
{
	static const int widths[] = {4, 8, 0};
	static const int groups[] = {32, 64, 128, 0};
	int				 bits = 4;

	if (strcmp(key, "method") == 0)
		return read_method(recipe, value, err);
	if (strcmp(key, "bits") == 0)
	{
		if (!read_number(&bits, value, key, widths, "4 or 8", err))
			return false;
		recipe->dtype = bits == 4 ? GLM_Q4 : GLM_Q8;
		return true;
	}
	if (strcmp(key, "group_size") == 0)
		return read_number(&recipe->group, value, key, groups, "32, 64 or 128", err);
	if (strcmp(key, "max_calibration_tokens") == 0)
		return read_max_tokens(recipe, value, err);
	if (strcmp(key, "keep") == 0)
		return read_patterns(&recipe->keep, value, key, err);
	if (strcmp(key, "wide") == 0)
		return read_patterns(&recipe->wide, value, key, err);
	if (strcmp(key, "rope") == 0)
		return glm_rope_named(json_string_value(value), &recipe->rope) ||
			   bad_option(err, key, "\"chatglm2\" or \"chatglm3\"");
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
glm_recipe_read(glm_recipe *recipe, const char *options, bool calibrated, glm_error *err)
{
	const char *key;
	json_t	   *value;

	*recipe = (glm_recipe){
		.method = GLM_HQQ, .dtype = GLM_Q4, .group = DEFAULT_GROUP, .max_tokens = DEFAULT_TOKENS};
	if (options != NULL)
	{
		recipe->root = json_loads(options, JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(recipe->root))
			return glm_fail(err, GLM_BAD_ARGUMENT, "options must be a JSON object");
	}
	json_object_foreach(recipe->root, key, value)
	{
		if (json_is_null(value) && is_option(key))
			continue;
		if (!read_option(recipe, key, value, err))
			return false;
	}
	if (recipe->method == GLM_GPTQ && !calibrated)
	{
		glm_fail(err, GLM_BAD_ARGUMENT, "method \"gptq\" needs calibration texts");
		glm_advise(err, GLM_ADVICE_CALIBRATE);
		return false;
	}
	return true;
}

void
glm_recipe_free(glm_recipe *recipe)
{
	json_decref(recipe->root);
	*recipe = (glm_recipe){0};
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

/* Adds a tensor of the list to the plan. */
static bool
add_part(glm_plan *plan, const glm_model *model, const glm_tensor_entry *entry, glm_error *err)
{
	glm_recipe_part *part = &plan->part[plan->n++];

	*part = (glm_recipe_part){.layer = entry->layer, .projection = entry->projection};
	memcpy(part->name, entry->name, sizeof(part->name));
	if (!glm_shards_find(model->shards, part->name, entry->rows, entry->cols, &part->source, err))
		return false;
	if (glm_is_packed(part->source.dtype))
		return glm_fail(err, GLM_UNSUPPORTED, "model \"%s\" is quantized already", model->name);
	part->form = part->source;
	plan->source_bytes += glm_pack_bytes(&part->source);
	return true;
}

/* Adds those that the model's files have. */
static bool
add_all(glm_plan *plan, const glm_model *model, const glm_tensor_list *list, glm_error *err)
{
	plan->part = calloc((size_t) list->n, sizeof(*plan->part));
	if (plan->part == NULL)
		return glm_no_memory(err);
	for (int i = 0; i < list->n; i++)
	{
		const glm_tensor_entry *entry = &list->entry[i];

		if (entry->use == GLM_USE_NONE ||
			(entry->optional && glm_shards_file(model->shards, entry->name) == NULL))
			continue;
		if (!add_part(plan, model, entry, err))
			return false;
	}
	return true;
}

static bool
list_parts(glm_plan *plan, const glm_model *model, glm_error *err)
{
	glm_tensor_list list = {0};
	bool			ok = model->config.arch->list_tensors(&model->config, &list, err) &&
			  add_all(plan, model, &list, err);

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
set_form(glm_recipe_part *part, const glm_recipe *recipe, glm_dtype dtype)
{
	part->form.dtype = dtype;
	part->form.group = recipe->group;
	part->method = recipe->method;
	/* nothing multiplies a table, so there is no input to compensate for */
	if (part->method == GLM_GPTQ && part->projection == GLM_EMBEDDING)
		part->method = GLM_HQQ;
}

static double
bits_of(const glm_plan *plan)
{
	double bytes = 0;
	double weights = 0;

	for (int i = 0; i < plan->n; i++)
	{
		const glm_recipe_part *part = &plan->part[i];

		bytes += (double) glm_pack_bytes(&part->form);
		weights += (double) part->source.shape[0] * (double) part->source.shape[1];
	}
	return bytes * 8 / weights;
}

static void
widen_head(glm_plan *plan, const glm_recipe *recipe)
{
	glm_recipe_part *last = &plan->part[plan->n - 1];

	if (last->projection != GLM_HEAD || last->form.dtype != GLM_Q4)
		return;
	set_form(last, recipe, GLM_Q8);
	if (bits_of(plan) > BITS_MAX)
		set_form(last, recipe, GLM_Q4);
}

/* A pattern without an effect is a mistake that nobody would notice. */
static bool
check_patterns(const glm_plan *plan, json_t *patterns, const char *key, glm_error *err)
{
	size_t	i;
	json_t *pattern;

	json_array_foreach(patterns, i, pattern)
	{
		bool found = false;

		for (int j = 0; j < plan->n && !found; j++)
			found = plan->part[j].source.n_dims == 2 &&
					fnmatch(json_string_value(pattern), plan->part[j].name, 0) == 0;
		if (!found)
			return glm_fail(err, GLM_BAD_ARGUMENT,
							"pattern \"%.128s\" of option \"%s\" matches no matrix of the model",
							json_string_value(pattern), key);
	}
	return true;
}

bool
glm_plan_make(glm_plan *plan, const glm_recipe *recipe, const glm_model *model, glm_error *err)
{
	*plan = (glm_plan){0};
	if (!list_parts(plan, model, err) || !check_patterns(plan, recipe->keep, "keep", err) ||
		!check_patterns(plan, recipe->wide, "wide", err))
		return false;
	for (int i = 0; i < plan->n; i++)
	{
		glm_recipe_part *part = &plan->part[i];

		if (part->source.n_dims == 2 && !matches(recipe->keep, part->name))
			set_form(part, recipe, matches(recipe->wide, part->name) ? GLM_Q8 : recipe->dtype);
	}
	widen_head(plan, recipe);
	plan->bits = bits_of(plan);
	return true;
}

void
glm_plan_free(glm_plan *plan)
{
	free(plan->part);
	*plan = (glm_plan){0};
}
