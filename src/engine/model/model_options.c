/*
 * model_options.c - the options of a model.
 */
#include "engine/model/model_options.h"

#include <stdio.h>
#include <string.h>

const glm_model_option glm_model_options[GLM_N_MODEL_OPTIONS] = {
	{"rope", GLM_ROPE_CHATGLM2, 2, {"chatglm2", "chatglm3"}},
	{"verify", GLM_VERIFY_FIRST_MAP, 3, {"first-map", "full", "off"}},
};

static const glm_model_option *
option_of(const char *key)
{
	for (int i = 0; i < GLM_N_MODEL_OPTIONS; i++)
		if (strcmp(glm_model_options[i].key, key) == 0)
			return &glm_model_options[i];
	return NULL;
}

/* "a", "b" or "c" */
static void
list_choices(char *out, size_t size, const glm_model_option *option)
{
	size_t n = 0;

	for (int i = 0; i < option->n_choices && n < size; i++)
		n += (size_t) snprintf(out + n, size - n, "%s\"%s\"",
							   i == 0					   ? ""
							   : i < option->n_choices - 1 ? ", "
														   : " or ",
							   option->choice[i]);
}

bool
glm_model_option_read(const char *key, json_t *choice, int *value, glm_error *err)
{
	const glm_model_option *option = option_of(key);
	const char			   *name = glm_json_text(choice);
	char					choices[128];

	for (int i = 0; name != NULL && i < option->n_choices; i++)
		if (strcmp(option->choice[i], name) == 0)
		{
			*value = option->first + i;
			return true;
		}
	list_choices(choices, sizeof(choices), option);
	return glm_fail(err, GLM_BAD_ARGUMENT, "option \"%s\" must be %s", key, choices);
}

static bool
read_model_option(glm_open_options *options, const char *key, json_t *choice, glm_error *err)
{
	int value;

	if (option_of(key) == NULL)
	{
		glm_fail(err, GLM_BAD_ARGUMENT, "unknown key \"%.60s\" in the options of a model", key);
		glm_hint(err, "Known are: %s, %s.", glm_model_options[0].key, glm_model_options[1].key);
		return false;
	}
	if (!glm_model_option_read(key, choice, &value, err))
		return false;
	if (strcmp(key, "rope") == 0)
		options->rope = (glm_rope) value;
	else
		options->weights.verify = (glm_verify) value;
	return true;
}

bool
glm_model_options_read(glm_open_options *options, const char *text, glm_error *err)
{
	json_t	   *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *key;
	json_t	   *value;
	bool		ok = json_is_object(root) ||
			  glm_fail(err, GLM_BAD_ARGUMENT, "the options of a model are no JSON object");

	json_object_foreach(root, key, value)
		ok = ok && read_model_option(options, key, value, err);
	json_decref(root);
	return ok;
}
