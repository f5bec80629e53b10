/*
 * test_file.c - files as untrusted bytes: what opens, what is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixtures.h"
#include "engine/base/file.h"
#include "engine/base/json.h"

#include <cmocka.h>

static void
assert_refused(const char *name, glm_status status, const char *fragment)
{
	char		path[CK_PATH];
	struct stat st;
	glm_buf		text = {0};
	glm_error	err = {0};

	ck_path(path, fx_dir, name);
	assert_int_equal(glm_file_open(path, &st, &err), -1);
	ck_assert_error(&err, status, fragment);
	assert_non_null(strstr(err.message, path));

	memset(&err, 0, sizeof(err));
	assert_false(glm_file_read(&text, path, 100, &err));
	ck_assert_error(&err, status, fragment);
	assert_non_null(strstr(err.message, path));
	glm_buf_free(&text);
}

static void
test_contents(void **state)
{
	char		path[CK_PATH];
	char		link[CK_PATH];
	char		bytes[4];
	struct stat st;
	size_t		got;
	int			fd;
	glm_buf		text = {0};
	glm_error	err = {0};

	(void) state;
	ck_write(fx_dir, "data", "a\0b", 3);
	ck_path(path, fx_dir, "data");
	ck_path(link, fx_dir, "link");
	assert_int_equal(symlink("data", link), 0);

	fd = glm_file_open(link, &st, &err);
	assert_true(fd >= 0);
	assert_int_equal(st.st_size, 3);
	assert_true(glm_file_pread(fd, link, bytes, 2, 1, &got, &err));
	assert_int_equal(got, 2);
	assert_memory_equal(bytes, "\0b", 2);
	assert_true(glm_file_pread(fd, link, bytes, 4, 1, &got, &err));
	assert_int_equal(got, 2);
	assert_true(glm_file_pread(fd, link, bytes, 4, 3, &got, &err));
	assert_int_equal(got, 0);
	close(fd);

	assert_true(glm_file_read(&text, path, 3, &err));
	assert_int_equal(text.length, 3);
	assert_memory_equal(text.data, "a\0b", 3);
	glm_buf_free(&text);
}

static void
test_limit(void **state)
{
	char	  path[CK_PATH];
	char	 *bytes = malloc(20001);
	glm_buf	  text = {0};
	glm_error err = {0};

	(void) state;
	memset(bytes, 'x', 20001);
	ck_write(fx_dir, "large", bytes, 20001);
	ck_path(path, fx_dir, "large");
	assert_true(glm_file_read(&text, path, 20001, &err));
	assert_int_equal(text.length, 20001);
	assert_memory_equal(text.data, bytes, 20001);
	glm_buf_free(&text);

	text = (glm_buf){0};
	assert_false(glm_file_read(&text, path, 20000, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "larger than 20000 bytes");
	assert_non_null(strstr(err.message, path));
	glm_buf_free(&text);
	free(bytes);
}

/* None of these may block, either: a FIFO without a writer would. */
static void
test_refused(void **state)
{
	char path[CK_PATH];

	(void) state;
	assert_refused("missing", GLM_NO_FILE, "No such file");

	ck_path(path, fx_dir, "folder");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused("folder", GLM_NO_FILE, "not a regular file");

	ck_path(path, fx_dir, "fifo");
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused("fifo", GLM_NO_FILE, "not a regular file");

	ck_path(path, fx_dir, "loop");
	assert_int_equal(symlink("loop", path), 0);
	assert_refused("loop", GLM_NO_FILE, "symbolic links");

	ck_path(path, fx_dir, "null");
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_refused("null", GLM_NO_FILE, "not a regular file");

	ck_puts(fx_dir, "plain", "x");
	assert_refused("plain/below", GLM_NO_FILE, "Not a directory");
}

/* As root nothing is forbidden, so the errno is made up. */
static void
test_permission_is_told_apart(void **state)
{
	static const int forbidden[] = {EACCES, EPERM, EROFS};
	glm_error		 err = {0};

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		errno = forbidden[i];
		assert_false(glm_file_fail(&err, "open", "a file"));
		ck_assert_error(&err, GLM_NOT_ALLOWED, "cannot open file \"a file\"");
	}
	errno = ENOENT;
	assert_false(glm_file_fail(&err, "open", "a file"));
	assert_int_equal(err.status, GLM_NO_FILE);
}

static void
test_empty(void **state)
{
	char	  path[CK_PATH];
	glm_buf	  text = {0};
	glm_error err = {0};

	(void) state;
	ck_puts(fx_dir, "empty", "");
	ck_path(path, fx_dir, "empty");
	assert_true(glm_file_read(&text, path, 10, &err));
	assert_int_equal(text.length, 0);
	glm_buf_free(&text);
}

static void
test_plain_names(void **state)
{
	(void) state;
	assert_true(glm_plain_name("model-00001-of-00002.safetensors"));
	assert_true(glm_plain_name("a..b"));
	assert_false(glm_plain_name(""));
	assert_false(glm_plain_name("."));
	assert_false(glm_plain_name(".."));
	assert_false(glm_plain_name(".hidden"));
	assert_false(glm_plain_name("a/b"));
	assert_false(glm_plain_name("/etc/passwd"));
}

static void
test_json(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"1",
		"{} x",
		"{\"a\": 1, \"a\": 2}",
		"{\"a\": \"\\u0000\"}",
		"{\"a\\u0000\": 1}",
		"{\"a\": 123456789012345678901}",
		"{\"a\": 1e999}",
		"{\"a\": \"\xff\"}",
		"\xef\xbb\xbf{}",
	};
	char	  path[CK_PATH];
	char	 *deep = malloc(100001);
	glm_error err;
	json_t	 *root;

	(void) state;
	ck_path(path, fx_dir, "x.json");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		ck_puts(fx_dir, "x.json", bad[i]);
		memset(&err, 0, sizeof(err));
		root = glm_json_read(path, 1000, &err);
		if (root != NULL)
			fail_msg("accepted: %s", bad[i]);
		ck_assert_error(&err, GLM_BAD_FILE, path);
		assert_int_equal(glm_utf8_check(err.message, strlen(err.message)), -1);
	}

	memset(deep, '[', 100000);
	deep[100000] = '\0';
	ck_puts(fx_dir, "x.json", deep);
	assert_null(glm_json_read(path, 100000, &err));
	ck_assert_error(&err, GLM_BAD_FILE, path);
	free(deep);

	ck_write(fx_dir, "x.json", "{\"a\": 1}\0", 9);
	assert_null(glm_json_read(path, 1000, &err));

	ck_puts(fx_dir, "x.json", "{\"a\": 7}  \n");
	root = glm_json_read(path, 1000, &err);
	assert_int_equal(json_integer_value(json_object_get(root, "a")), 7);
	json_decref(root);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fx_open_dir, fx_close_dir)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_contents), CASE(test_limit),
		CASE(test_refused),	 CASE(test_permission_is_told_apart),
		CASE(test_empty),	 CASE(test_plain_names),
		CASE(test_json),
	};

	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
