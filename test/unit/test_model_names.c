/*
 * test_model_names.c - which open model a name means: of several origins, of files that change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "open_models.h"

/* ---- Names ---------------------------------------------------------------------------- */

static int
count_models(void)
{
	glm_model_info info[8];

	return glm_models_list(&om_models, info, 8);
}

/* Uses a model once, on behalf of an origin; how many requests it has had. */
static int
use_once(uint32_t who, const char *name, const char *path)
{
	glm_served *served;

	om_origin = who;
	served = om_acquire_good(name, path, NULL);
	glm_models_release(&om_models, served);
	return (int) served->requests;
}

/* Two origins call two directories by one name: neither pushes the other's out. */
static void
test_one_name_two_paths(void **state)
{
	glm_error err = {0};

	(void) state;
	for (int i = 1; i <= 5; i++)
	{
		assert_int_equal(use_once(1, "a", om_dir), i);
		assert_int_equal(use_once(2, "a", om_twin), i);
	}
	assert_int_equal(count_models(), 2);
	om_origin = 1;
	assert_true(om_unload("a", om_dir, &err));
	assert_false(om_unload("a", om_dir, &err));
	ck_assert_error(&err, GLM_NO_MODEL, "\"a\"");
	assert_int_equal(use_once(2, "a", om_twin), 6);
	assert_int_equal(count_models(), 1);
}

/* Within one origin a name that means another directory now replaces what it meant. */
static void
test_name_changes_meaning(void **state)
{
	glm_served *held;

	(void) state;
	assert_int_equal(use_once(1, "a", om_dir), 1);
	assert_int_equal(use_once(1, "a", om_twin), 1);
	assert_int_equal(count_models(), 1);
	assert_int_equal(use_once(2, "a", om_twin), 2);
	assert_int_equal(use_once(1, "a", om_dir), 1); /* the twin is another's still */
	assert_int_equal(use_once(2, "a", om_twin), 3);
	assert_int_equal(count_models(), 2);
	om_origin = 2;
	held = om_acquire_good("a", om_twin, NULL);
	assert_int_equal(use_once(2, "a", om_dir), 2); /* not even in use it is anybody's now */
	assert_int_equal(count_models(), 1);
	glm_models_release(&om_models, held);
	assert_int_equal(use_once(2, "b", om_dir), 1); /* another name, another model */
	assert_int_equal(count_models(), 2);
}

/* Without a path: only what no other origin has named. */
static void
test_unload_without_path(void **state)
{
	glm_error err = {0};

	(void) state;
	use_once(1, "a", om_dir);
	use_once(2, "a", om_twin);
	use_once(3, "a", om_twin);
	om_origin = 4;
	assert_false(om_unload("a", NULL, &err));
	om_origin = 2;
	assert_false(om_unload("a", NULL, &err));
	assert_false(om_unload("b", NULL, &err));
	assert_int_equal(count_models(), 2);
	om_origin = 3;
	assert_true(om_unload("a", NULL, &err));
	assert_int_equal(count_models(), 1);
	om_origin = 1;
	assert_true(om_unload("a", NULL, &err));
	assert_int_equal(count_models(), 0);
}

/* The limit counts them all, and who was used longest ago leaves, whoever used it. */
static void
test_limit_over_origins(void **state)
{
	(void) state;
	use_once(1, "a", om_dir);
	om_models.memory_limit = (size_t) (om_info("a").size_bytes * 5 / 2);
	use_once(2, "a", om_twin);
	use_once(1, "a", om_dir);
	use_once(3, "b", om_dir);
	assert_int_equal(count_models(), 2);
	assert_int_equal(use_once(1, "a", om_dir), 3);
	assert_int_equal(use_once(2, "a", om_twin), 1);
}
/* ---- Which files ------------------------------------------------------------------ */

/* The model of a request that wants these files. */
static glm_served *
acquire_files(const char *identity, glm_error *err)
{
	glm_request *req = (glm_request *) om_request(GLM_LOAD, "a", om_dir, NULL);
	uint32_t	 end = req->size;

	req->identity = om_put((char *) req, &end, identity);
	req->size = end;
	return om_find_or_load(req, err);
}

static void
identity_of_dir(char identity[GLM_MODEL_HASH])
{
	bool	  packed;
	glm_error err;

	assert_true(glm_model_identity(om_dir, identity, &packed, &err));
}

/* Files that were replaced are opened for whoever wants them, and for others when they must. */
static void
test_wanted_files(void **state)
{
	char		before[GLM_MODEL_HASH];
	char		after[GLM_MODEL_HASH];
	glm_buf		text = {0};
	char		path[CK_PATH];
	glm_error	err;
	glm_served *old;
	glm_served *served;

	(void) state;
	identity_of_dir(before);
	old = acquire_files(before, &err);
	assert_non_null(old);
	assert_string_equal(old->model->identity, before);

	ck_path(path, om_dir, "config.json");
	assert_true(glm_file_read(&text, path, 1 << 20, &err));
	assert_int_equal(unlink(path), 0);
	glm_buf_puts(&text, "\n");
	ck_write(om_dir, "config.json", text.data, text.length);
	glm_buf_free(&text);
	identity_of_dir(after);
	assert_string_not_equal(before, after);

	/* the open model is what it was, with the files that it was opened with */
	served = acquire_files(before, &err);
	assert_ptr_equal(served, old);
	glm_models_release(&om_models, served);
	served = om_acquire_good("a", om_dir, NULL);
	assert_ptr_equal(served, old);
	glm_models_release(&om_models, served);

	served = acquire_files(after, &err);
	assert_non_null(served);
	assert_ptr_not_equal(served, old);
	assert_string_equal(served->model->identity, after);
	assert_true(old->dead);
	glm_models_release(&om_models, old);
	assert_null(acquire_files(before, &err));
	ck_assert_error(&err, GLM_NO_MODEL, "have changed");
	glm_models_release(&om_models, served);
}
#define CASE(test) cmocka_unit_test_setup_teardown(test, om_setup, om_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_one_name_two_paths),	CASE(test_name_changes_meaning),
		CASE(test_unload_without_path), CASE(test_limit_over_origins),
		CASE(test_wanted_files),
	};

	return cmocka_run_group_tests_name("model names", tests, NULL, NULL);
}
