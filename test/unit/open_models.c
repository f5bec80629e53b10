/*
 * open_models.c - see open_models.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "open_models.h"

#define TOKENIZER "models/tiny-chatglm3/tokenizer.model"

char				om_dir[CK_PATH];
char				om_twin[CK_PATH];
glm_models			om_models;
static glm_threads *pool;
uint32_t			om_origin;

static void
link_into(const char *target, const char *from, const char *name)
{
	char path[CK_PATH];

	ck_path(path, target, name);
	assert_int_equal(link(from, path), 0);
}

static void
copy_tokenizer(const char *target)
{
	glm_buf	  text = {0};
	glm_error err;

	assert_true(glm_file_read(&text, TOKENIZER, 10 << 20, &err));
	ck_write(target, "tokenizer.model", text.data, text.length);
	glm_buf_free(&text);
}

int
om_setup(void **state)
{
	json_t	  *config = ck_config();
	ck_weights weights;
	char	   path[CK_PATH];
	glm_error  err;

	glm_forward_options options = {.kernels = "auto", .max_rows = 1};

	(void) state;
	ck_open(om_dir);
	ck_open(om_twin);
	ck_weights_init(&weights, config, "F16");
	ck_weights_save(&weights, 0, weights.n, om_dir, OM_WEIGHTS);
	ck_path(path, om_dir, OM_WEIGHTS);
	link_into(om_twin, path, OM_WEIGHTS);
	ck_config_save(config, om_dir);
	ck_config_save(config, om_twin);
	copy_tokenizer(om_dir);
	copy_tokenizer(om_twin);
	json_decref(config);
	assert_true(glm_models_init(&om_models, 0, GLM_VERIFY_FIRST_MAP));
	options.pool = pool = glm_threads_open(1, &err);
	om_models.forward = glm_forward_open(&options, &err);
	assert_non_null(om_models.forward);
	om_origin = 1;
	return 0;
}

int
om_teardown(void **state)
{
	(void) state;
	glm_models_free(&om_models);
	glm_forward_close(om_models.forward);
	glm_threads_close(pool);
	ck_close(om_dir);
	ck_close(om_twin);
	return 0;
}

/* ---- Requests ----------------------------------------------------------------- */

glm_span
om_put(char *block, uint32_t *end, const char *text)
{
	glm_span span = {0, 0};

	if (text == NULL)
		return span;
	span.offset = *end;
	span.length = (uint32_t) strlen(text);
	strcpy(block + *end, text);
	*end += span.length + 1;
	return span;
}

/* As loader.c does it, in this thread. */
glm_served *
om_find_or_load(const glm_request *req, glm_error *err)
{
	glm_open_options options;
	glm_served		*served;
	glm_served		*loaded;

	if (!glm_models_find(&om_models, req, &options, &served, err))
		return NULL;
	if (served == NULL)
	{
		loaded = glm_models_load(&om_models, glm_request_text(req, req->model),
								 glm_request_text(req, req->path), &options, err);
		if (loaded == NULL)
			return NULL;
		assert_true(glm_models_find(&om_models, req, &options, &served, err));
		assert_ptr_equal(served, loaded);
		glm_models_release(&om_models, loaded);
	}
	else if (options.weights.verify == GLM_VERIFY_FULL &&
			 !glm_shards_verify(served->model->shards, err))
	{
		glm_models_release(&om_models, served);
		return NULL;
	}
	return served;
}

const glm_request *
om_request(glm_kind kind, const char *name, const char *path, const char *options)
{
	_Alignas(glm_request) static char block[4096];
	glm_request						 *req = (glm_request *) block;
	uint32_t						  end = sizeof(*req);

	memset(req, 0, sizeof(*req));
	req->kind = kind;
	req->origin = om_origin;
	req->model = om_put(block, &end, name);
	req->path = om_put(block, &end, path);
	req->options = om_put(block, &end, options);
	req->size = end;
	return req;
}

glm_served *
om_acquire(const char *name, const char *path, const char *options, glm_error *err)
{
	return om_find_or_load(om_request(GLM_LOAD, name, path, options), err);
}

bool
om_unload(const char *name, const char *path, glm_error *err)
{
	return glm_models_unload(&om_models, om_request(GLM_UNLOAD, name, path, NULL), err);
}

glm_served *
om_acquire_good(const char *name, const char *path, const char *options)
{
	glm_error	err = {0};
	glm_served *served = om_acquire(name, path, options, &err);

	if (served == NULL)
		fail_msg("%s", err.message);
	return served;
}

void
om_touch_all(glm_served *served)
{
	glm_error	 err;
	glm_weights *weights = glm_forward_load(om_models.forward, 0, served->model, &err);

	assert_non_null(weights);
	atomic_store(&served->weights, weights);
}

glm_model_info
om_info(const char *name)
{
	glm_model_info info[4];
	int			   n = glm_models_list(&om_models, info, 4);

	for (int i = 0; i < n; i++)
	{
		if (strcmp(info[i].name, name) == 0)
			return info[i];
	}
	fail_msg("model %s is not in the list", name);
	return info[0];
}
