/*
 * config.c - config.json of a model directory: what the model is.
 *
 * The file is parsed here and read by the architecture that recognises it (arch.h).
 */
#include "engine/model/config.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/model/arch.h"

/*
 * Python wrote the file, so it is read as Python reads it: whole numbers of any
 * size, NaN, the last of keys that come twice.  Whoever wants such a value finds
 * that it is no number of his.
 */
static json_t *
parse_config(const glm_config_reader *r, const char *path)
{
	glm_buf		 text = {0};
	json_error_t why = {.line = 0};
	json_t		*root = NULL;

	if (!glm_file_read(&text, path, GLM_CONFIG_LIMIT, r->err))
	{
		glm_buf_free(&text);
		return NULL;
	}
	root = glm_json_parse(text.data ? text.data : "", text.length, true, &why);
	glm_buf_free(&text);
	if (root == NULL)
		glm_fail(r->err, GLM_BAD_FILE, "file \"%s\" has invalid JSON at line %d: %s", path,
				 why.line, why.text);
	else if (!json_is_object(root))
	{
		glm_fail(r->err, GLM_BAD_FILE, "file \"%s\" has JSON that is not an object", path);
		json_decref(root);
		root = NULL;
	}
	return root;
}

static const glm_arch *
find_arch(const glm_config_reader *r)
{
	json_t	   *type = glm_config_get(r, "model_type");
	const char *name = glm_json_text(type);
	char		known[128] = "";

	if (type == NULL)
	{
		glm_config_missing(r, "model_type");
		return NULL;
	}
	for (const glm_arch *const *arch = glm_archs; *arch != NULL; arch++)
	{
		size_t n = strlen(known);

		if ((*arch)->match(r))
			return *arch;
		snprintf(known + n, sizeof(known) - n, "%s\"%s\"", n > 0 ? ", " : "", (*arch)->name);
	}
	glm_fail(r->err, GLM_UNSUPPORTED, "\"%s\": model_type \"%.60s\" is not supported, only %s",
			 r->path, name != NULL ? name : "?", known);
	return NULL;
}

/* What no architecture may ask of the arithmetic. */
static bool
check_rotary(const glm_config_reader *r, const glm_model_config *config)
{
	if (config->rotary_style == GLM_ROTARY_PAIRS && config->rotary % 2 == 0 && config->rotary > 0 &&
		config->rotary <= config->head_dim)
		return true;
	return glm_fail(r->err, GLM_UNSUPPORTED,
					"\"%s\": a rotary embedding of %d elements of a head in %s is not supported",
					r->path, config->rotary,
					config->rotary_style == GLM_ROTARY_PAIRS ? "pairs" : "halves");
}

/* ---- Entry points ---------------------------------------------------------- */

bool
glm_config_read(glm_model_config *config, const char *dir, glm_error *err)
{
	return glm_config_read_with(config, dir, GLM_ROPE_BY_NAME, err);
}

bool
glm_config_read_with(glm_model_config *config, const char *dir, glm_rope rope, glm_error *err)
{
	glm_config_reader r = {.dir = dir, .rope = rope, .err = err};
	char			 *path;
	bool			  ok = false;

	memset(config, 0, sizeof(*config));
	if (asprintf(&path, "%s/config.json", dir) < 0)
		return glm_no_memory(err);
	r.path = path;
	r.root = parse_config(&r, path);
	if (r.root != NULL && (config->arch = find_arch(&r)) != NULL)
		ok = config->arch->read_config(&r, config) && check_rotary(&r, config);
	json_decref(r.root);
	free(path);
	return ok;
}
