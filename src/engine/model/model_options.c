/*
 * model_options.c - the options of a model.
 */
#include "engine/model/model_options.h"

#include <string.h>

const char *const glm_verify_names[] = {[GLM_VERIFY_FIRST_MAP] = "first-map",
										[GLM_VERIFY_FULL] = "full",
										[GLM_VERIFY_OFF] = "off",
										NULL};

static const char *const rope_names[] = {"chatglm2", "chatglm3", NULL};

const glm_model_option glm_model_options[] = {
	{"rope", GLM_ROPE_CHATGLM2, rope_names, "\"chatglm2\" or \"chatglm3\""},
	{"verify", GLM_VERIFY_FIRST_MAP, glm_verify_names, "\"first-map\", \"full\" or \"off\""},
	{0}};

static const glm_model_option *
option_of(const char *key)
{
	const glm_model_option *option = glm_model_options;

	while (option->name != NULL && strcmp(option->name, key) != 0)
		option++;
	return option->name != NULL ? option : NULL;
}

bool
glm_model_option_read(const char *key, json_t *choice, int *value, glm_error *err)
{
	const glm_model_option *option = option_of(key);
	const char			   *name = glm_json_text(choice);

	for (int i = 0; name != NULL && option->values[i] != NULL; i++)
		if (strcmp(option->values[i], name) == 0)
		{
			*value = option->first + i;
			return true;
		}
	return glm_fail(err, GLM_BAD_ARGUMENT, "option \"%s\" must be %s", key, option->rule);
}

static bool
read_model_option(glm_open_options *options, const char *key, json_t *choice, glm_error *err)
{
	int value;

	if (option_of(key) == NULL)
	{
		glm_fail(err, GLM_BAD_ARGUMENT, "unknown key \"%.60s\" in the options of a model", key);
		glm_hint(err, "Known are: rope, verify.");
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
