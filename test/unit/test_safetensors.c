/*
 * test_safetensors.c - weight files: what is read, and all that is refused.
 *
 * The bad files are written here, each with one thing wrong.  Two sweeps cut a
 * good file at every length and change every byte of its header; whatever then
 * still opens must lie inside the file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixtures.h"
#include "engine/weights/weights.h"

#include <cmocka.h>

#define ONE "model.safetensors"
#define INDEX "model.safetensors.index.json"

static glm_shards *
open_good(const char *path)
{
	glm_error	err = {0};
	glm_shards *s = glm_shards_open(path, NULL, &err);

	if (s == NULL)
		fail_msg("%s", err.message);
	return s;
}

/* The directory is refused with this status and a message with both fragments. */
static void
assert_refused(glm_status status, const char *fragment, const char *name)
{
	glm_error err = {0};

	assert_null(glm_shards_open(fx_dir, NULL, &err));
	ck_assert_error(&err, status, fragment);
	ck_assert_error(&err, status, name);
}

/* ---- What is read --------------------------------------------------------- */

static const char mixed[] =
	"{\"__metadata__\": {\"format\": \"pt\"},"
	" \"flag\": {\"dtype\": \"BOOL\", \"shape\": [3], \"data_offsets\": [0, 3]},"
	" \"m\": {\"dtype\": \"F32\", \"shape\": [2, 3], \"data_offsets\": [3, 27]},"
	" \"v\": {\"dtype\": \"BF16\", \"shape\": [4], \"data_offsets\": [31, 39]},"
	" \"h\": {\"data_offsets\": [27, 31], \"shape\": [1, 2], \"dtype\": \"F16\"},"
	" \"none\": {\"dtype\": \"F16\", \"shape\": [0, 5], \"data_offsets\": [39, 39]},"
	" \"scalar\": {\"dtype\": \"F32\", \"shape\": [], \"data_offsets\": [39, 43]},"
	" \"cube\": {\"dtype\": \"U8\", \"shape\": [1, 2, 2], \"data_offsets\": [43, 47]}}   ";

static int
first_byte(const glm_shards *s, const glm_tensor *t)
{
	glm_error err = {0};
	int		  byte;

	assert_true(glm_shards_hold(s, t, &err));
	byte = *(const uint8_t *) t->data;
	glm_shards_drop(s, t);
	return byte;
}

static void
test_single(void **state)
{
	glm_error	err = {0};
	glm_tensor	t;
	glm_shards *s;

	(void) state;
	ck_raw(fx_dir, ONE, mixed, 47);
	s = open_good(fx_dir);
	assert_int_equal(glm_shards_bytes(s), 8 + strlen(mixed) + 47);

	/* the data are 0, 1, 2, ...: the first byte of a tensor is its offset */
	assert_true(glm_shards_find(s, "m", 2, 3, &t, &err));
	assert_int_equal(t.dtype, GLM_F32);
	assert_int_equal(t.n_dims, 2);
	assert_int_equal(t.shape[0], 2);
	assert_int_equal(t.shape[1], 3);
	assert_int_equal(first_byte(s, &t), 3);
	assert_true(glm_shards_find(s, "v", 4, 0, &t, &err));
	assert_int_equal(t.dtype, GLM_BF16);
	assert_int_equal(t.n_dims, 1);
	assert_int_equal(t.shape[0], 4);
	assert_int_equal(t.shape[1], 1);
	assert_int_equal(first_byte(s, &t), 31);
	assert_true(glm_shards_find(s, "h", 1, 2, &t, &err));
	assert_int_equal(t.dtype, GLM_F16);
	assert_int_equal(first_byte(s, &t), 27);
	assert_non_null(strstr(glm_shards_file(s, "h"), "/" ONE));
	assert_null(glm_shards_file(s, "__metadata__"));
	glm_shards_close(s);
}

static void
test_find(void **state)
{
	static const struct
	{
		const char *name;
		int64_t		rows;
		int64_t		cols;
		glm_status	status;
		const char *fragment;
	} bad[] = {
		{"x", 1, 1, GLM_BAD_FILE, "no tensor \"x\""},
		{"", 1, 1, GLM_BAD_FILE, "no tensor"},
		{"m", 3, 2, GLM_BAD_FILE, "has shape [2, 3], but config.json makes it [3, 2]"},
		{"m", 2, 0, GLM_BAD_FILE, "has shape [2, 3], but config.json makes it [2]"},
		{"v", 4, 1, GLM_BAD_FILE, "has shape [4], but config.json makes it [4, 1]"},
		{"v", 5, 0, GLM_BAD_FILE, "has shape [4], but"},
		{"scalar", 1, 0, GLM_BAD_FILE, "has shape [], but"},
		{"flag", 3, 0, GLM_UNSUPPORTED, "is BOOL"},
		{"cube", 1, 2, GLM_UNSUPPORTED, "is U8"},
	};
	glm_shards *s;

	(void) state;
	ck_raw(fx_dir, ONE, mixed, 47);
	s = open_good(fx_dir);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		glm_tensor t;
		glm_error  err = {0};

		assert_false(glm_shards_find(s, bad[i].name, bad[i].rows, bad[i].cols, &t, &err));
		ck_assert_error(&err, bad[i].status, bad[i].fragment);
		ck_assert_error(&err, bad[i].status, fx_dir);
	}
	glm_shards_close(s);
}

/* A file under any name, behind a link as in Hugging Face's cache. */
static void
test_only_file(void **state)
{
	char		path[CK_PATH];
	glm_shards *s;

	(void) state;
	ck_raw(fx_dir, "blob", "{}", 0);
	ck_puts(fx_dir, ".hidden.safetensors", "x");
	ck_puts(fx_dir, "pytorch_model.bin", "x");
	ck_path(path, fx_dir, "weights.safetensors");
	assert_int_equal(symlink("blob", path), 0);
	s = open_good(fx_dir);
	assert_int_equal(glm_shards_bytes(s), 10);
	glm_shards_close(s);
}

static void
assert_same_bytes(const char *model, const char *const *files, int n)
{
	glm_shards *s = open_good(model);
	uint64_t	bytes = 0;
	char		path[CK_PATH];
	struct stat st;

	for (int i = 0; i < n; i++)
	{
		ck_path(path, model, files[i]);
		assert_int_equal(stat(path, &st), 0);
		bytes += (uint64_t) st.st_size;
	}
	assert_int_equal(glm_shards_bytes(s), bytes);
	glm_shards_close(s);
}

static void
test_golden(void **state)
{
	static const char *const a[] = {"model-00001-of-00002.safetensors",
									"model-00002-of-00002.safetensors"};
	static const char *const b[] = {ONE};
	char					 path[CK_PATH];

	(void) state;
	if (ck_golden() == NULL)
		skip();
	ck_path(path, ck_golden(), "chatglm3-a");
	assert_same_bytes(path, a, 2);
	ck_path(path, ck_golden(), "chatglm3-b");
	assert_same_bytes(path, b, 1);
}

/* ---- Bad headers ---------------------------------------------------------- */

#define T(name, dtype, shape, offsets)                                                             \
	"\"" name "\": {\"dtype\": \"" dtype "\", \"shape\": " shape ", \"data_offsets\": " offsets "}"

static const struct
{
	const char *header;
	size_t		data_size;
	glm_status	status;
	const char *fragment;
} bad_headers[] = {
	{"", 0, GLM_BAD_FILE, "invalid JSON"},
	{"{\"a\": ", 0, GLM_BAD_FILE, "invalid JSON"},
	{"[]", 0, GLM_BAD_FILE, "not an object"},
	{"{}", 1, GLM_BAD_FILE, "1 bytes behind"},
	{"{\"a\": 1}", 0, GLM_BAD_FILE, "\"a\""},
	{"{\"a\": {}}", 0, GLM_BAD_FILE, "no dtype"},
	{"{\"__metadata__\": 1}", 0, GLM_BAD_FILE, "__metadata__"},
	{"{\"__metadata__\": {\"a\": 1}}", 0, GLM_BAD_FILE, "\"a\" is not a string"},
	{"{" T("a", "F99", "[1]", "[0, 4]") "}", 4, GLM_UNSUPPORTED, "\"F99\""},
	{"{" T("a", "f32", "[1]", "[0, 4]") "}", 4, GLM_UNSUPPORTED, "\"f32\""},
	{"{\"a\": {\"dtype\": 4, \"shape\": [1], \"data_offsets\": [0, 4]}}", 4, GLM_BAD_FILE, "dtype"},
	{"{\"a\": {\"dtype\": \"F32\", \"data_offsets\": [0, 4]}}", 4, GLM_BAD_FILE, "shape"},
	{"{\"a\": {\"dtype\": \"F32\", \"shape\": [1]}}", 4, GLM_BAD_FILE, "data_offsets"},
	{"{" T("a", "F32", "1", "[0, 4]") "}", 4, GLM_BAD_FILE, "shape"},
	{"{" T("a", "F32", "[-1]", "[0, 4]") "}", 4, GLM_BAD_FILE, "shape"},
	{"{" T("a", "F32", "[1.0]", "[0, 4]") "}", 4, GLM_BAD_FILE, "shape"},
	{"{" T("a", "F32", "[\"1\"]", "[0, 4]") "}", 4, GLM_BAD_FILE, "shape"},
	/* 2^32 * 2^32 elements, and 2^62 elements of 4 bytes: both are 0 in 64 bits */
	{"{" T("a", "F32", "[4294967296, 4294967296]", "[0, 0]") "}", 0, GLM_BAD_FILE, "shape"},
	{"{" T("a", "F32", "[4611686018427387904]", "[0, 0]") "}", 0, GLM_BAD_FILE, "shape"},
	{"{" T("a", "F32", "[9223372036854775808]", "[0, 0]") "}", 0, GLM_BAD_FILE, "invalid JSON"},
	{"{" T("a", "F32", "[1]", "[0]") "}", 4, GLM_BAD_FILE, "data_offsets"},
	{"{" T("a", "F32", "[1]", "[0, 4, 8]") "}", 4, GLM_BAD_FILE, "data_offsets"},
	{"{" T("a", "F32", "[1]", "[0, 4.0]") "}", 4, GLM_BAD_FILE, "data_offsets"},
	{"{" T("a", "F32", "[1]", "{\"0\": 0}") "}", 4, GLM_BAD_FILE, "data_offsets"},
	{"{" T("a", "F32", "[1]", "[-4, 0]") "}", 4, GLM_BAD_FILE, "data_offsets"},
	{"{" T("a", "F32", "[1]", "[4, 0]") "}", 4, GLM_BAD_FILE, "data_offsets"},
	{"{" T("a", "F32", "[2]", "[0, 8]") "}", 4, GLM_BAD_FILE, "data_offsets"},
	{"{" T("a", "F32", "[1]", "[9223372036854775800, 9223372036854775804]") "}", 4, GLM_BAD_FILE,
	 "data_offsets"},
	{"{" T("a", "F32", "[2]", "[0, 4]") "}", 4, GLM_BAD_FILE, "need 8"},
	{"{" T("a", "F16", "[1]", "[0, 4]") "}", 4, GLM_BAD_FILE, "need 2"},
	{"{" T("a", "F32", "[1]", "[0, 4]") "}", 8, GLM_BAD_FILE, "4 bytes behind"},
	{"{" T("a", "F32", "[1]", "[0, 4]") ", " T("b", "F32", "[1]", "[0, 4]") "}", 4, GLM_BAD_FILE,
	 "overlap"},
	{"{" T("a", "F32", "[2]", "[2, 10]") ", " T("b", "F32", "[1]", "[0, 4]") "}", 10, GLM_BAD_FILE,
	 "\"b\" and \"a\""},
	{"{" T("a", "F32", "[1]", "[0, 4]") ", " T("a", "F32", "[1]", "[4, 8]") "}", 8, GLM_BAD_FILE,
	 "duplicate"},
	{"{" T("a\\u0000b", "F32", "[1]", "[0, 4]") "}", 4, GLM_BAD_FILE, "invalid JSON"},
};

static void
test_bad_headers(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(bad_headers) / sizeof(bad_headers[0]); i++)
	{
		ck_raw(fx_dir, ONE, bad_headers[i].header, bad_headers[i].data_size);
		assert_refused(bad_headers[i].status, bad_headers[i].fragment, fx_dir);
	}
}

static void
test_absurd_length(void **state)
{
	static const uint8_t huge[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'};
	static const uint8_t much[16] = {9, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
	char				 path[CK_PATH];
	FILE				*f;

	(void) state;
	ck_write(fx_dir, ONE, huge, sizeof(huge));
	assert_refused(GLM_BAD_FILE, "18446744073709551615 bytes", ONE);
	ck_write(fx_dir, ONE, much, sizeof(much));
	assert_refused(GLM_BAD_FILE, "9 bytes in a file of 16", ONE);
	ck_write(fx_dir, ONE, "{}", 2);
	assert_refused(GLM_BAD_FILE, "too short", ONE);
	ck_write(fx_dir, ONE, "", 0);
	assert_refused(GLM_BAD_FILE, "is empty", ONE);

	/* 128 MB of header that are really there (in a sparse file) */
	ck_write(fx_dir, ONE, "\0\0\0\x08\0\0\0\0", 8);
	ck_path(path, fx_dir, ONE);
	f = fopen(path, "r+b");
	assert_int_equal(fseek(f, (128 << 20) + 8, SEEK_SET), 0);
	fputc('x', f);
	fclose(f);
	assert_refused(GLM_BAD_FILE, "more than", ONE);
}

/* ---- Sweeps over a good file ---------------------------------------------- */

/* Reads every byte of every tensor a header may name; faults if one is outside. */
static unsigned
touch_all(const glm_shards *s)
{
	static const char *const names[] = {"flag", "m", "v", "h", "none", "scalar", "cube"};
	unsigned				 sum = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (int64_t rows = 0; rows < 10; rows++)
			for (int64_t cols = 0; cols < 10; cols++)
			{
				glm_tensor t;
				glm_error  err;

				if (!glm_shards_find(s, names[i], rows, cols, &t, &err))
					continue;
				assert_true(glm_shards_hold(s, &t, &err));
				for (size_t j = 0; j < glm_tensor_bytes(&t); j++)
					sum += ((const uint8_t *) t.data)[j];
				glm_shards_drop(s, &t);
			}
	return sum;
}

static void
test_truncated(void **state)
{
	uint8_t bytes[8 + sizeof(mixed) - 1 + 47] = {0};

	(void) state;
	bytes[0] = (uint8_t) ((sizeof(mixed) - 1) & 0xff);
	bytes[1] = (uint8_t) ((sizeof(mixed) - 1) >> 8);
	memcpy(bytes + 8, mixed, sizeof(mixed) - 1);
	for (size_t n = 0; n < sizeof(bytes); n++)
	{
		ck_write(fx_dir, ONE, bytes, n);
		assert_refused(GLM_BAD_FILE, ONE, fx_dir);
	}
	ck_write(fx_dir, ONE, bytes, sizeof(bytes));
	glm_shards_close(open_good(fx_dir));
}

static void
test_changed_bytes(void **state)
{
	static const char put[] = {'0', '9', '"', ',', '-', '[', '}', '\0', '\xff'};
	char			  header[sizeof(mixed)];
	int				  opened = 0;
	int				  refused = 0;

	(void) state;
	for (size_t at = 0; at < sizeof(mixed) - 1; at++)
	{
		for (size_t k = 0; k < sizeof(put); k++)
		{
			glm_error	err = {0};
			glm_shards *s;

			memcpy(header, mixed, sizeof(mixed));
			header[at] = put[k];
			ck_raw(fx_dir, ONE, header, 47);
			s = glm_shards_open(fx_dir, NULL, &err);
			if (s != NULL)
			{
				assert_true(touch_all(s) > 0);
				opened++;
			}
			else
			{
				assert_true(err.status == GLM_BAD_FILE || err.status == GLM_UNSUPPORTED);
				refused++;
			}
			glm_shards_close(s);
		}
	}
	assert_true(opened > 0);
	assert_true(refused > opened);
}

/* ---- Bad directories ------------------------------------------------------- */

static void
test_no_weights(void **state)
{
	char	  path[CK_PATH];
	glm_error err = {0};

	(void) state;
	assert_refused(GLM_NO_FILE, "no *.safetensors file", fx_dir);
	ck_puts(fx_dir, "pytorch_model-00001-of-00007.bin", "x");
	assert_null(glm_shards_open(fx_dir, NULL, &err));
	ck_assert_error(&err, GLM_UNSUPPORTED, "pytorch_model");
	assert_int_equal(err.advice, GLM_ADVICE_CONVERT_PYTORCH);
	ck_raw(fx_dir, "a.safetensors", "{}", 0);
	ck_raw(fx_dir, "b.safetensors", "{}", 0);
	assert_refused(GLM_NO_FILE, "2 *.safetensors files", INDEX);

	ck_path(path, fx_dir, "missing");
	assert_null(glm_shards_open(path, NULL, &err));
	ck_assert_error(&err, GLM_NO_FILE, path);
}

static void
test_odd_files(void **state)
{
	char path[CK_PATH];

	(void) state;
	ck_path(path, fx_dir, ONE);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(GLM_NO_FILE, "not a regular file", ONE);
	assert_int_equal(remove(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(GLM_NO_FILE, "not a regular file", ONE);
	assert_int_equal(remove(path), 0);
	assert_int_equal(symlink(ONE, path), 0);
	assert_refused(GLM_NO_FILE, "symbolic links", ONE);

	/* an index that cannot be opened does not count as none */
	assert_int_equal(remove(path), 0);
	ck_raw(fx_dir, ONE, "{}", 0);
	ck_path(path, fx_dir, INDEX);
	assert_int_equal(symlink("nowhere", path), 0);
	assert_refused(GLM_NO_FILE, "No such file", INDEX);
}

/* Which of two models a directory holds is nothing to guess. */
static void
test_index_beside_single(void **state)
{
	glm_error	err = {0};
	glm_shards *s;

	(void) state;
	ck_raw(fx_dir, "s1", "{" T("a", "F32", "[1]", "[0, 4]") "}", 4);
	ck_raw(fx_dir, "model.safetensors", "{" T("a", "F32", "[1]", "[0, 4]") "}", 4);
	ck_puts(fx_dir, INDEX, "{\"weight_map\": {\"a\": \"s1\"}}");
	assert_refused(GLM_BAD_FILE, "both model.safetensors and " INDEX, fx_dir);
	assert_null(glm_shards_open(fx_dir, NULL, &err));
	assert_non_null(strstr(err.hint, "Remove"));

	/* an index of the single file says the same twice */
	ck_puts(fx_dir, INDEX, "{\"weight_map\": {\"a\": \"model.safetensors\"}}");
	s = open_good(fx_dir);
	assert_non_null(strstr(glm_shards_file(s, "a"), "/model.safetensors"));
	glm_shards_close(s);
}

static void
test_bad_index(void **state)
{
	static const struct
	{
		const char *index;
		glm_status	status;
		const char *fragment;
	} bad[] = {
		{"", GLM_BAD_FILE, INDEX},
		{"[]", GLM_BAD_FILE, INDEX},
		{"{}", GLM_BAD_FILE, "weight_map"},
		{"{\"weight_map\": {}}", GLM_BAD_FILE, "weight_map"},
		{"{\"weight_map\": [\"x\"]}", GLM_BAD_FILE, "weight_map"},
		{"{\"weight_map\": {\"a\": 1}}", GLM_BAD_FILE, "no plain file name for \"a\""},
		{"{\"weight_map\": {\"a\": \"\"}}", GLM_BAD_FILE, "no plain file name"},
		{"{\"weight_map\": {\"a\": \"../s1\"}}", GLM_BAD_FILE, "no plain file name"},
		{"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", GLM_BAD_FILE, "no plain file name"},
		{"{\"weight_map\": {\"a\": \"..\"}}", GLM_BAD_FILE, "no plain file name"},
		{"{\"weight_map\": {\"a\": \".s1\"}}", GLM_BAD_FILE, "no plain file name"},
		{"{\"weight_map\": {\"a\": \"s1\", \"b\": \"s9\"}}", GLM_NO_FILE, "s9"},
		{"{\"weight_map\": {\"a\": \"s1\", \"b\": \"s1\"}}", GLM_BAD_FILE,
		 "s1\" has no tensor \"b\""},
		{"{\"weight_map\": {\"a\": \"s2\", \"b\": \"s1\"}}", GLM_BAD_FILE, "has no tensor \""},
		{"{\"weight_map\": {\"a\": \"s1\", \"a\": \"s2\"}}", GLM_BAD_FILE, "duplicate"},
		{"{\"weight_map\": {\"a\": \"s1\", \"c\": \"s3\"}}", GLM_BAD_FILE, "tensor \"a\" is in"},
	};
	glm_shards *s;

	(void) state;
	ck_raw(fx_dir, "s1", "{" T("a", "F32", "[1]", "[0, 4]") "}", 4);
	ck_raw(fx_dir, "s2", "{" T("b", "F32", "[1]", "[0, 4]") "}", 4);
	ck_raw(fx_dir, "s3", "{" T("a", "F32", "[1]", "[0, 4]") ", " T("c", "F32", "[1]", "[4, 8]") "}",
		   8);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		ck_puts(fx_dir, INDEX, bad[i].index);
		assert_refused(bad[i].status, bad[i].fragment, fx_dir);
	}

	ck_puts(fx_dir, INDEX, "{\"metadata\": {}, \"weight_map\": {\"a\": \"s1\", \"b\": \"s2\"}}");
	s = open_good(fx_dir);
	assert_non_null(strstr(glm_shards_file(s, "a"), "/s1"));
	assert_non_null(strstr(glm_shards_file(s, "b"), "/s2"));
	glm_shards_close(s);
}

static void
test_many_shards(void **state)
{
	char *index = malloc(300 * 40);
	int	  n = sprintf(index, "{\"weight_map\": {");

	(void) state;
	for (int i = 0; i < 300; i++)
	{
		char name[16];

		sprintf(name, "s%d", i);
		ck_raw(fx_dir, name, "{}", 0);
		n += sprintf(index + n, "%s\"t%d\": \"%s\"", i ? ", " : "", i, name);
	}
	sprintf(index + n, "}}");
	ck_puts(fx_dir, INDEX, index);
	assert_refused(GLM_UNSUPPORTED, "more than 256 files", INDEX);
	free(index);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fx_open_dir, fx_close_dir)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_single),
		CASE(test_find),
		CASE(test_only_file),
		CASE(test_golden),
		CASE(test_bad_headers),
		CASE(test_absurd_length),
		CASE(test_truncated),
		CASE(test_changed_bytes),
		CASE(test_no_weights),
		CASE(test_odd_files),
		CASE(test_index_beside_single),
		CASE(test_bad_index),
		CASE(test_many_shards),
	};

	return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
