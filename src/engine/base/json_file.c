/*
 * json_file.c - JSON out of files nobody vouches for: one object a file.
 *
 * No state: pure functions.
 */
#include "engine/base/file.h"
#include "engine/base/json.h"

json_t *
glm_json_object(const void *bytes, size_t n, const char *path, glm_error *err)
{
	json_error_t why;
	json_t		*root = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &why);

	if (root == NULL)
	{
		if (json_error_code(&why) == json_error_out_of_memory)
			glm_no_memory(err);
		else
			glm_fail(err, GLM_BAD_FILE, "file \"%s\" has invalid JSON at line %d: %s", path,
					 why.line, why.text);
		return NULL;
	}
	if (!json_is_object(root))
	{
		glm_fail(err, GLM_BAD_FILE, "file \"%s\" has JSON that is not an object", path);
		json_decref(root);
		return NULL;
	}
	return root;
}

json_t *
glm_json_read(const char *path, size_t limit, glm_error *err)
{
	glm_buf text = {0};
	json_t *root = NULL;

	if (glm_file_read(&text, path, limit, err))
		root = glm_json_object(text.data ? text.data : "", text.length, path, err);
	glm_buf_free(&text);
	return root;
}
