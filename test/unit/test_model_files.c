/*
 * test_model_files.c - what a model's directory is: the identity of its files, and the hash
 * of their contents.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixtures.h"
#include "engine/base/hash.h"
#include "engine/model/model_files.h"
#include "engine/weights/packed.h"

#include <cmocka.h>

#define WEIGHTS "model.safetensors"

static int
open_directory(void **state)
{
	fx_open_dir(state);
	ck_puts(fx_dir, "config.json", "{}");
	ck_puts(fx_dir, "tokenizer.model", "tokens");
	ck_puts(fx_dir, WEIGHTS, "weights");
	return 0;
}

static void
identity_of(char identity[GLM_MODEL_HASH], bool *packed)
{
	glm_error err = {0};

	if (!glm_model_identity(fx_dir, identity, packed, &err))
		fail_msg("%s", err.message);
	assert_int_equal(strlen(identity), GLM_MODEL_HASH - 1);
}

static void
hash_of(char hash[GLM_MODEL_HASH])
{
	glm_error err = {0};

	if (!glm_model_hash(fx_dir, hash, &err))
		fail_msg("%s", err.message);
}

/* Does the directory have this identity still? */
static bool
is_still(const char *identity)
{
	char now[GLM_MODEL_HASH];
	bool packed;

	identity_of(now, &packed);
	return glm_same_identity(now, identity);
}

static void
hash_text(const char *text, char hex[GLM_MODEL_HASH])
{
	glm_hash  hash;
	glm_error err;

	assert_true(glm_hash_memory(text, strlen(text), &hash, &err));
	glm_hash_text(&hash, hex);
}

/* ---- Identity ------------------------------------------------------------------------ */

static void
set_time(const char *name, long ns)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000, .tv_nsec = ns}};
	char			path[CK_PATH];

	ck_path(path, fx_dir, name);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void
test_identity(void **state)
{
	char identity[GLM_MODEL_HASH];
	char path[CK_PATH];
	char other[CK_PATH];
	bool packed;

	(void) state;
	set_time(WEIGHTS, 1);
	identity_of(identity, &packed);
	assert_false(packed);
	assert_true(is_still(identity));

	/* a nanosecond, a byte, another file of the same name, one more, one less */
	set_time(WEIGHTS, 2);
	assert_false(is_still(identity));
	set_time(WEIGHTS, 1);
	assert_true(is_still(identity));
	ck_puts(fx_dir, WEIGHTS, "weights!");
	set_time(WEIGHTS, 1);
	assert_false(is_still(identity));

	identity_of(identity, &packed);
	ck_path(path, fx_dir, WEIGHTS);
	ck_path(other, fx_dir, "copy");
	assert_int_equal(rename(path, other), 0);
	ck_puts(fx_dir, WEIGHTS, "weights!");
	set_time(WEIGHTS, 1);
	assert_false(is_still(identity));

	identity_of(identity, &packed);
	ck_puts(fx_dir, "more.safetensors", "");
	assert_false(is_still(identity));
	identity_of(identity, &packed);
	ck_path(path, fx_dir, "tokenizer.model");
	assert_int_equal(unlink(path), 0);
	assert_false(is_still(identity));
}

static void
test_other_files_do_not_count(void **state)
{
	char identity[GLM_MODEL_HASH];
	char hash[GLM_MODEL_HASH];
	char now[GLM_MODEL_HASH];
	bool packed;

	(void) state;
	identity_of(identity, &packed);
	hash_of(hash);
	ck_puts(fx_dir, "README.md", "read me");
	ck_puts(fx_dir, ".hidden.safetensors", "");
	ck_puts(fx_dir, "weights.bin", "");
	assert_true(is_still(identity));
	hash_of(now);
	assert_string_equal(now, hash);
}

static void
test_what_is_no_model(void **state)
{
	char	  identity[GLM_MODEL_HASH];
	char	  hash[GLM_MODEL_HASH];
	char	  path[CK_PATH];
	bool	  packed;
	glm_error err;

	(void) state;
	assert_false(glm_same_identity("", ""));
	assert_false(glm_model_identity("/nonexistent", identity, &packed, &err));
	ck_assert_error(&err, GLM_NO_FILE, "/nonexistent");
	ck_path(path, fx_dir, "dangling.safetensors");
	assert_int_equal(symlink("/nonexistent", path), 0);
	assert_false(glm_model_identity(fx_dir, identity, &packed, &err));
	ck_assert_error(&err, GLM_NO_FILE, "dangling.safetensors");
	assert_false(glm_model_hash(fx_dir, hash, &err));
	ck_assert_error(&err, GLM_NO_FILE, "dangling.safetensors");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_false(glm_model_hash(fx_dir, hash, &err));
	ck_assert_error(&err, GLM_NO_FILE, "not a regular file");
	assert_int_equal(rmdir(path), 0);
	ck_path(path, fx_dir, "config.json");
	assert_int_equal(unlink(path), 0);
	assert_false(glm_model_identity(fx_dir, identity, &packed, &err));
	ck_assert_error(&err, GLM_NO_FILE, "holds no config.json");
}

static void
test_too_many_files(void **state)
{
	char	  identity[GLM_MODEL_HASH];
	char	  name[64];
	bool	  packed;
	glm_error err;

	(void) state;
	for (int i = 0; i < 1030; i++)
	{
		snprintf(name, sizeof(name), "model-%05d.safetensors", i);
		ck_puts(fx_dir, name, "");
	}
	assert_false(glm_model_identity(fx_dir, identity, &packed, &err));
	ck_assert_error(&err, GLM_UNSUPPORTED, "more than 1024");
}

/* ---- Contents ------------------------------------------------------------------------ */

/* What sha256sum prints of the three files, hashed. */
static void
expected_hash(const char *config, const char *weights, char hash[GLM_MODEL_HASH])
{
	char config_hash[GLM_MODEL_HASH];
	char weights_hash[GLM_MODEL_HASH];
	char tokens_hash[GLM_MODEL_HASH];
	char lines[400];

	hash_text(config, config_hash);
	hash_text(weights, weights_hash);
	hash_text("tokens", tokens_hash);
	snprintf(lines, sizeof(lines), "%s  config.json\n%s  " WEIGHTS "\n%s  tokenizer.model\n",
			 config_hash, weights_hash, tokens_hash);
	hash_text(lines, hash);
}

static void
test_plain_hash(void **state)
{
	char hash[GLM_MODEL_HASH];
	char expected[GLM_MODEL_HASH];

	(void) state;
	hash_of(hash);
	expected_hash("{}", "weights", expected);
	assert_string_equal(hash, expected);
	/* of the contents alone, so another time does not matter */
	set_time(WEIGHTS, 5);
	hash_of(hash);
	assert_string_equal(hash, expected);
	ck_puts(fx_dir, WEIGHTS, "weightz");
	hash_of(hash);
	expected_hash("{}", "weightz", expected);
	assert_string_equal(hash, expected);
}

static void
test_packed_hash(void **state)
{
	char hash[GLM_MODEL_HASH];
	char expected[GLM_MODEL_HASH];
	char identity[GLM_MODEL_HASH];
	bool packed;

	(void) state;
	ck_puts(fx_dir, GLM_MANIFEST, "a manifest");
	identity_of(identity, &packed);
	assert_true(packed);
	hash_text("a manifest", expected);
	hash_of(hash);
	assert_string_equal(hash, expected);
	/* the manifest has the hashes of the others, which are not read, but they are the files */
	ck_puts(fx_dir, WEIGHTS, "others");
	hash_of(hash);
	assert_string_equal(hash, expected);
	assert_false(is_still(identity));
}

static void
test_options(void **state)
{
	char	  hash[GLM_MODEL_HASH];
	char	  plain[GLM_MODEL_HASH];
	char	  line[GLM_MODEL_HASH + 32];
	char	  expected[GLM_MODEL_HASH];
	glm_error err;

	(void) state;
	hash_of(plain);
	strcpy(hash, plain);
	assert_true(glm_model_hash_with("{\"verify\": \"off\"}", hash, &err));
	assert_string_equal(hash, plain);
	assert_true(glm_model_hash_with("{\"rope\": \"chatglm3\"}", hash, &err));
	snprintf(line, sizeof(line), "%s  rope=chatglm3\n", plain);
	hash_text(line, expected);
	assert_string_equal(hash, expected);
	assert_false(glm_model_hash_with("{\"rope\": \"?\"}", hash, &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "rope");
}

/* ---- Pauses -------------------------------------------------------------------------- */

static bool
end_third(void *arg, glm_error *err)
{
	int *pauses = arg;

	return ++*pauses < 3 || glm_fail(err, GLM_CANCELLED, "enough");
}

static void
test_can_be_ended(void **state)
{
	char	  hash[GLM_MODEL_HASH];
	char	  path[CK_PATH];
	int		  pauses = 0;
	glm_error err;

	(void) state;
	ck_path(path, fx_dir, WEIGHTS);
	assert_int_equal(truncate(path, 64 << 20), 0);
	glm_pause_with(end_third, &pauses);
	assert_false(glm_model_hash(fx_dir, hash, &err));
	glm_pause_with(NULL, NULL);
	ck_assert_error(&err, GLM_CANCELLED, "enough");
	assert_int_equal(pauses, 3);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_directory, fx_close_dir)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_identity),		 CASE(test_other_files_do_not_count),
		CASE(test_what_is_no_model), CASE(test_too_many_files),
		CASE(test_plain_hash),		 CASE(test_packed_hash),
		CASE(test_options),			 CASE(test_can_be_ended),
	};

	return cmocka_run_group_tests_name("model files", tests, NULL, NULL);
}
