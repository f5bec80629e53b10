/*
 * config_values.c - values of a config.json.
 */
#include "engine/model/config_values.h"

json_t *
glm_config_get(const glm_config_reader *r, const char *key)
{
	json_t *value = json_object_get(r->root, key);

	return json_is_null(value) ? NULL : value;
}

bool
glm_config_missing(const glm_config_reader *r, const char *key)
{
	return glm_fail(r->err, GLM_BAD_FILE, "\"%s\" has no key \"%s\"", r->path, key);
}

bool
glm_config_switch(const glm_config_reader *r, const char *key, bool standard, bool *out)
{
	json_t *value = glm_config_get(r, key);

	*out = value ? json_is_true(value) : standard;
	if (value != NULL && !json_is_boolean(value))
		return glm_fail(r->err, GLM_BAD_FILE, "\"%s\": %s is neither true nor false", r->path, key);
	return true;
}

bool
glm_config_number(const glm_config_reader *r, const char *key, int min, int max, int *out)
{
	json_t	  *value = glm_config_get(r, key);
	json_int_t n = json_integer_value(value);

	if (value == NULL)
		return glm_config_missing(r, key);
	if (!json_is_integer(value) || n < min || n > max)
		return glm_fail(r->err, GLM_BAD_FILE, "\"%s\": %s is not a whole number from %d to %d",
						r->path, key, min, max);
	*out = (int) n;
	return true;
}

bool
glm_config_real(const glm_config_reader *r, const char *key, double max, double *out)
{
	json_t *value = glm_config_get(r, key);
	double	x = json_number_value(value);

	if (value == NULL)
		return true;
	if (!json_is_number(value) || !(x > 0) || x > max)
		return glm_fail(r->err, GLM_BAD_FILE, "\"%s\": %s is not a number above 0 and at most %g",
						r->path, key, max);
	*out = x;
	return true;
}
