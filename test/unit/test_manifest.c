/*
 * test_manifest.c - packed directories: manifest, packed headers, verifying.
 *
 * A good directory of one packed weight, one norm and a config.json is written
 * here; then with one thing wrong at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixtures.h"
#include "engine/base/file.h"
#include "engine/weights/manifest.h"
#include "engine/model/model.h"

#include <cmocka.h>

#define ONE "model.safetensors"
#define PAGE 4096

/* The weight "w" [20, 100] in groups of 32: two tiles. */
#define ROWS 20
#define COLS 100
#define TILE glm_packed_tile_bytes(GLM_Q4, COLS, 32)
#define DATA_BYTES (2 * TILE + 16)

static char shard_path[CK_PATH];

/* ---- Writing one ------------------------------------------------------------ */

/* A header of these parts, filled up with blanks to a page (plus `shift`). */
static void
write_shard(const char *metadata, const char *tensors, int shift)
{
	char header[PAGE + 65];
	int	 n = snprintf(header, sizeof(header), "{\"__metadata__\": {%s}, %s}", metadata, tensors);

	assert_true(n < PAGE - 8);
	memset(header + n, ' ', sizeof(header) - (size_t) n);
	header[PAGE - 8 + shift] = '\0';
	ck_raw(fx_dir, ONE, header, DATA_BYTES);
}

static const char good_metadata[] =
	"\"format\": \"chatglm-packed\", \"version\": \"1\", \"layout\": \"tile16\", "
	"\"packed.w\": \"int4 32 20 100\"";

static char good_tensors[400];

static void
write_good_shard(void)
{
	snprintf(good_tensors, sizeof(good_tensors),
			 "\"w\": {\"dtype\": \"U8\", \"shape\": [2, %zu], \"data_offsets\": [0, %zu]}, "
			 "\"norm\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [%zu, %zu]}",
			 TILE, 2 * TILE, 2 * TILE, DATA_BYTES);
	write_shard(good_metadata, good_tensors, 0);
}

static json_t *
describe_file(const char *name)
{
	char		path[CK_PATH];
	char		text[GLM_HASH_TEXT];
	struct stat st;
	glm_hash	hash;
	glm_error	err;
	uint64_t	n;
	int			fd;

	ck_path(path, fx_dir, name);
	fd = glm_file_open(path, &st, &err);
	assert_true(glm_hash_file(fd, path, 0, (uint64_t) st.st_size, &hash, &n, &err));
	close(fd);
	glm_hash_text(&hash, text);
	return json_pack("{s:s, s:I, s:[s]}", "name", name, "size", (json_int_t) st.st_size, "chunks",
					 text);
}

/* The manifest of the directory as it is. */
static json_t *
good_manifest(void)
{
	return json_pack("{s:s, s:i, s:s, s:s, s:i, s:s, s:f, s:I, s:[o, o]}", "format",
					 "chatglm-packed", "version", 1, "layout", "tile16", "quantization", "int4",
					 "group_size", 32, "method", "rtn", "bits_per_weight", 4.4, "chunk_size",
					 (json_int_t) GLM_CHUNK_SIZE, "files", describe_file(ONE),
					 describe_file("config.json"));
}

static void
write_manifest(json_t *manifest)
{
	char *text = json_dumps(manifest, 0);

	ck_puts(fx_dir, GLM_MANIFEST, text);
	free(text);
	json_decref(manifest);
}

static int
setup(void **state)
{
	fx_open_dir(state);
	ck_path(shard_path, fx_dir, ONE);
	ck_puts(fx_dir, "config.json", "{\"some\": \"config\"}");
	write_good_shard();
	write_manifest(good_manifest());
	return 0;
}

static glm_shards *
open_shards(glm_verify verify, glm_error *err)
{
	return glm_shards_open(fx_dir, &(glm_weight_options){.verify = verify}, err);
}

static glm_shards *
open_good(glm_verify verify)
{
	glm_error	err = {0};
	glm_shards *s = open_shards(verify, &err);

	if (s == NULL)
		fail_msg("%s", err.message);
	return s;
}

static void
assert_refused(glm_status status, const char *fragment)
{
	glm_error err = {0};

	assert_null(open_shards(GLM_VERIFY_FIRST_MAP, &err));
	ck_assert_error(&err, status, fragment);
	ck_assert_error(&err, status, fx_dir);
}

/* ---- What is read --------------------------------------------------------------- */

static void
test_good(void **state)
{
	glm_manifest *m;
	glm_error	  err = {0};

	(void) state;
	assert_true(glm_manifest_read(&m, fx_dir, &err));
	assert_int_equal(m->dtype, GLM_Q4);
	assert_int_equal(m->group, 32);
	assert_int_equal(m->n_files, 2);
	assert_int_equal(glm_manifest_find(m, ONE)->size, PAGE + DATA_BYTES);
	assert_int_equal(glm_manifest_find(m, ONE)->n_chunks, 1);
	assert_null(glm_manifest_find(m, "other"));
	assert_true(glm_manifest_check(m, fx_dir, GLM_VERIFY_FIRST_MAP, &err));
	glm_manifest_free(m);
}

static void
test_plain_directory(void **state)
{
	char		  path[CK_PATH];
	glm_manifest *m;
	glm_error	  err = {0};

	(void) state;
	ck_path(path, fx_dir, GLM_MANIFEST);
	assert_int_equal(remove(path), 0);
	assert_true(glm_manifest_read(&m, fx_dir, &err));
	assert_null(m);
	assert_refused(GLM_BAD_FILE, "no " GLM_MANIFEST);

	/* one that cannot be opened is not none */
	assert_int_equal(symlink("nowhere", path), 0);
	assert_false(glm_manifest_read(&m, fx_dir, &err));
	ck_assert_error(&err, GLM_NO_FILE, GLM_MANIFEST);
}

static void
test_packed_tensor(void **state)
{
	static const glm_verify verify[] = {GLM_VERIFY_FIRST_MAP, GLM_VERIFY_FULL, GLM_VERIFY_OFF};

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		glm_shards *s = open_good(verify[i]);
		glm_error	err = {0};
		glm_tensor	t;
		float		norm[4];

		assert_string_equal(glm_shards_quantization(s), "int4");
		assert_true(glm_shards_find(s, "w", ROWS, COLS, &t, &err));
		assert_int_equal(t.dtype, GLM_Q4);
		assert_int_equal(t.group, 32);
		assert_int_equal(t.n_dims, 2);
		assert_int_equal(glm_tensor_bytes(&t), 2 * TILE);
		assert_int_equal((uintptr_t) t.data % PAGE, 0);
		assert_true(glm_shards_hold(s, &t, &err));
		assert_int_equal(((const uint8_t *) t.data)[7], 7);
		glm_shards_drop(s, &t);
		assert_false(glm_shards_find(s, "w", ROWS, COLS + 1, &t, &err));
		ck_assert_error(&err, GLM_BAD_FILE, "has shape [20, 100]");

		assert_true(glm_shards_find(s, "norm", 4, 0, &t, &err));
		assert_int_equal(t.dtype, GLM_F32);
		assert_true(glm_shards_read(s, &t, norm, &err));
		assert_int_equal(*(const uint8_t *) norm, (2 * TILE) & 0xff);
		glm_shards_close(s);
	}
}

/* ---- Bad manifests ----------------------------------------------------------------- */

/* One key of the manifest is another value. */
static const struct
{
	const char *key;
	const char *json; /* NULL: left out */
	glm_status	status;
	const char *fragment;
} bad_keys[] = {
	{"format", NULL, GLM_BAD_FILE, "format"},
	{"format", "\"other\"", GLM_BAD_FILE, "\"other\""},
	{"version", NULL, GLM_BAD_FILE, "no version"},
	{"version", "\"1\"", GLM_BAD_FILE, "no version"},
	{"version", "0", GLM_BAD_FILE, "no version"},
	{"version", "2", GLM_UNSUPPORTED, "version 2 of the packed format"},
	{"layout", "\"tile32\"", GLM_UNSUPPORTED, "\"tile32\""},
	{"layout", NULL, GLM_UNSUPPORTED, "layout"},
	{"quantization", "\"int3\"", GLM_UNSUPPORTED, "\"int3\""},
	{"quantization", NULL, GLM_UNSUPPORTED, "quantization"},
	{"group_size", "48", GLM_UNSUPPORTED, "group_size"},
	{"group_size", "-32", GLM_UNSUPPORTED, "group_size"},
	{"chunk_size", "4096", GLM_UNSUPPORTED, "chunk_size"},
	{"chunk_size", NULL, GLM_UNSUPPORTED, "chunk_size"},
	{"files", NULL, GLM_BAD_FILE, "\"files\""},
	{"files", "{}", GLM_BAD_FILE, "\"files\""},
	{"files", "[]", GLM_BAD_FILE, "\"files\""},
	{"files", "[1]", GLM_BAD_FILE, "no plain file name"},
	{"files", "[{\"size\": 1, \"chunks\": []}]", GLM_BAD_FILE, "no plain file name"},
	{"files", "[{\"name\": \"../x\", \"size\": 0, \"chunks\": []}]", GLM_BAD_FILE, "\"../x\""},
	{"files", "[{\"name\": \"/etc/passwd\", \"size\": 0, \"chunks\": []}]", GLM_BAD_FILE, "passwd"},
	{"files", "[{\"name\": \".x\", \"size\": 0, \"chunks\": []}]", GLM_BAD_FILE, "\".x\""},
	{"files", "[{\"name\": \"" GLM_MANIFEST "\", \"size\": 0, \"chunks\": []}]", GLM_BAD_FILE,
	 "no plain file name"},
	{"files", "[{\"name\": \"x\", \"chunks\": []}]", GLM_BAD_FILE, "no size"},
	{"files", "[{\"name\": \"x\", \"size\": -1, \"chunks\": []}]", GLM_BAD_FILE, "no size"},
	{"files", "[{\"name\": \"x\", \"size\": 1.5, \"chunks\": []}]", GLM_BAD_FILE, "no size"},
	{"files", "[{\"name\": \"x\", \"size\": 1}]", GLM_BAD_FILE, "0 chunks for the 1 bytes"},
	{"files", "[{\"name\": \"x\", \"size\": 1, \"chunks\": []}]", GLM_BAD_FILE, "0 chunks"},
	{"files", "[{\"name\": \"x\", \"size\": 1, \"chunks\": [1]}]", GLM_BAD_FILE, "no SHA-256"},
	{"files", "[{\"name\": \"x\", \"size\": 1, \"chunks\": [\"abc\"]}]", GLM_BAD_FILE,
	 "no SHA-256"},
	{"files", "[{\"name\": \"x\", \"size\": 9223372036854775807, \"chunks\": [\"\"]}]",
	 GLM_BAD_FILE, "not 68719476736"},
	{"files",
	 "[{\"name\": \"x\", \"size\": 0, \"chunks\": []}, "
	 "{\"name\": \"x\", \"size\": 0, \"chunks\": []}]",
	 GLM_BAD_FILE, "\"x\" twice"},
};

static void
test_bad_manifests(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(bad_keys) / sizeof(bad_keys[0]); i++)
	{
		json_t *manifest = good_manifest();

		ck_config_set(manifest, bad_keys[i].key, bad_keys[i].json);
		write_manifest(manifest);
		assert_refused(bad_keys[i].status, bad_keys[i].fragment);
	}
	ck_puts(fx_dir, GLM_MANIFEST, "{\"format\": ");
	assert_refused(GLM_BAD_FILE, "invalid JSON");
	ck_puts(fx_dir, GLM_MANIFEST, "");
	assert_refused(GLM_BAD_FILE, "invalid JSON");
}

static void
test_too_many_files(void **state)
{
	json_t *manifest = good_manifest();
	json_t *files = json_object_get(manifest, "files");

	(void) state;
	for (int i = 0; i < 2000; i++)
		json_array_append_new(files,
							  json_pack("{s:s, s:i, s:[]}", "name", "x", "size", 0, "chunks"));
	write_manifest(manifest);
	assert_refused(GLM_BAD_FILE, "1 to 1024 files");
}

/* ---- Against the directory --------------------------------------------------------- */

static void
test_wrong_directory(void **state)
{
	char path[CK_PATH];

	(void) state;
	ck_puts(fx_dir, ".hidden", "x");
	glm_shards_close(open_good(GLM_VERIFY_FULL));

	ck_puts(fx_dir, "surplus.bin", "x");
	assert_refused(GLM_BAD_FILE, "\"surplus.bin\"");
	ck_path(path, fx_dir, "surplus.bin");
	assert_int_equal(remove(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(GLM_BAD_FILE, "\"surplus.bin\"");
	assert_int_equal(remove(path), 0);

	/* of another size, of the same size but with other bytes, missing */
	ck_puts(fx_dir, "config.json", "{\"some\": \"longer config\"}");
	assert_refused(GLM_BAD_FILE, "config.json\" has 25 bytes, not 18");
	ck_puts(fx_dir, "config.json", "{\"same\": \"config\"}");
	assert_refused(GLM_BAD_FILE, "config.json\" has SHA-256 ");
	glm_shards_close(open_good(GLM_VERIFY_OFF));
	ck_path(path, fx_dir, "config.json");
	assert_int_equal(remove(path), 0);
	assert_refused(GLM_BAD_FILE, "config.json\" is missing");

	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(GLM_NO_FILE, "not a regular file");
	assert_int_equal(remove(path), 0);
	ck_puts(fx_dir, "config.json", "{\"some\": \"config\"}");
	assert_int_equal(truncate(shard_path, PAGE + 100), 0);
	assert_refused(GLM_BAD_FILE, "bytes, not ");
}

static void
flip(long at, int bit)
{
	FILE *f = fopen(shard_path, "r+b");
	int	  byte;

	assert_non_null(f);
	assert_int_equal(fseek(f, at, SEEK_SET), 0);
	byte = fgetc(f);
	assert_int_equal(fseek(f, at, SEEK_SET), 0);
	assert_int_equal(fputc(byte ^ 1 << bit, f), byte ^ 1 << bit);
	fclose(f);
}

/* A bit anywhere: header, blanks, codes, norms. */
static void
test_flipped_bits(void **state)
{
	(void) state;
	for (long at = 0; at < (long) (PAGE + DATA_BYTES); at++)
	{
		glm_error err = {0};

		flip(at, (int) (at % 8));
		if (open_shards(GLM_VERIFY_FULL, &err) != NULL)
			fail_msg("byte %ld is wrong, and nobody says so", at);
		ck_assert_error(&err, err.status, shard_path);
		flip(at, (int) (at % 8));
	}
	glm_shards_close(open_good(GLM_VERIFY_FULL));
}

static void
test_when_verified(void **state)
{
	glm_error	err = {0};
	glm_tensor	t;
	glm_shards *s;

	(void) state;
	flip(PAGE + DATA_BYTES - 1, 0);
	assert_null(open_shards(GLM_VERIFY_FULL, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "chunk 0 of file");

	/* opening reads no weights, so the first to map them finds out */
	s = open_good(GLM_VERIFY_FIRST_MAP);
	assert_true(glm_shards_find(s, "w", ROWS, COLS, &t, &err));
	assert_false(glm_shards_hold(s, &t, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "chunk 0 of file");
	assert_false(glm_shards_verify(s, &err));
	glm_shards_close(s);

	s = open_good(GLM_VERIFY_OFF);
	assert_true(glm_shards_find(s, "w", ROWS, COLS, &t, &err));
	assert_true(glm_shards_hold(s, &t, &err));
	glm_shards_close(s);
}

/* ---- Bad packed headers --------------------------------------------------------------- */

#define META(version, layout, w)                                                                   \
	"\"format\": \"chatglm-packed\", \"version\": \"" version "\", "                               \
	"\"layout\": \"" layout "\", \"packed.w\": \"" w "\""

static void
test_bad_headers(void **state)
{
	static const struct
	{
		const char *metadata;
		glm_status	status;
		const char *fragment;
	} bad[] = {
		{META("2", "tile16", "int4 32 20 100"), GLM_UNSUPPORTED, "version \"2\""},
		{META("", "tile16", "int4 32 20 100"), GLM_UNSUPPORTED, "version \"\""},
		{META("1", "tile99", "int4 32 20 100"), GLM_UNSUPPORTED, "layout \"tile99\""},
		{META("1", "tile16", "int2 32 20 100"), GLM_UNSUPPORTED, "\"int2 32 20 100\""},
		{META("1", "tile16", ""), GLM_UNSUPPORTED, "packed as \"\""},
		{META("1", "tile16", "int4"), GLM_BAD_FILE, "packed as \"int4\""},
		{META("1", "tile16", "int4 32 20"), GLM_BAD_FILE, "not as type"},
		{META("1", "tile16", "int4 32 20 100 "), GLM_BAD_FILE, "not as type"},
		{META("1", "tile16", "int4 32 20 -100"), GLM_BAD_FILE, "not as type"},
		{META("1", "tile16", "int4 32 020 100"), GLM_BAD_FILE, "not as type"},
		{META("1", "tile16", "int4 32 0 100"), GLM_BAD_FILE, "not as type"},
		{META("1", "tile16", "int4  32 20 100"), GLM_BAD_FILE, "not as type"},
		{META("1", "tile16", "int4 32 20 99999999999999999999"), GLM_BAD_FILE, "not as type"},
		{META("1", "tile16", "int4 48 20 100"), GLM_UNSUPPORTED, "groups of 48"},
		{META("1", "tile16", "int4 64 20 100"), GLM_BAD_FILE, "is not the U8"},
		{META("1", "tile16", "int8 32 20 100"), GLM_BAD_FILE, "is not the U8"},
		{META("1", "tile16", "int4 32 40 100"), GLM_BAD_FILE, "is not the U8"},
		{META("1", "tile16", "int4 32 20 200"), GLM_BAD_FILE, "is not the U8"},
		{META("1", "tile16", "int4 32 2147483647 2147483647"), GLM_BAD_FILE, "is not the U8"},
		{META("1", "tile16", "int4 32 20 100") ", \"packed.norm\": \"int4 32 1 4\"", GLM_BAD_FILE,
		 "\"norm\""},
		{META("1", "tile16", "int4 32 20 100") ", \"packed.x\": \"int4 32 1 4\"", GLM_BAD_FILE,
		 "1 packed tensors that are not there"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		write_shard(bad[i].metadata, good_tensors, 0);
		write_manifest(good_manifest());
		assert_refused(bad[i].status, bad[i].fragment);
	}
}

static void
test_alignment(void **state)
{
	char tensors[400];

	(void) state;
	write_shard(good_metadata, good_tensors, 64);
	write_manifest(good_manifest());
	assert_refused(GLM_BAD_FILE, "on no page boundary");

	/* the norm first, the weight behind it without a gap */
	snprintf(tensors, sizeof(tensors),
			 "\"norm\": {\"dtype\": \"F32\", \"shape\": [4], \"data_offsets\": [0, 16]}, "
			 "\"w\": {\"dtype\": \"U8\", \"shape\": [2, %zu], \"data_offsets\": [16, %zu]}",
			 TILE, DATA_BYTES);
	write_shard(good_metadata, tensors, 0);
	write_manifest(good_manifest());
	assert_refused(GLM_BAD_FILE, "no multiple of 64");
}

/* What other tools call "packed." means nothing in their files. */
static void
test_foreign_metadata(void **state)
{
	glm_error	err = {0};
	glm_tensor	t;
	glm_shards *s;

	(void) state;
	write_shard("\"format\": \"pt\", \"packed.w\": \"int4 32 20 100\"", good_tensors, 0);
	write_manifest(good_manifest());
	s = open_good(GLM_VERIFY_FULL);
	assert_false(glm_shards_find(s, "w", 2, (int64_t) TILE, &t, &err));
	ck_assert_error(&err, GLM_UNSUPPORTED, "is U8");
	glm_shards_close(s);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, fx_close_dir)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_good),		  CASE(test_plain_directory),  CASE(test_packed_tensor),
		CASE(test_bad_manifests), CASE(test_too_many_files),   CASE(test_wrong_directory),
		CASE(test_flipped_bits),  CASE(test_when_verified),	   CASE(test_bad_headers),
		CASE(test_alignment),	  CASE(test_foreign_metadata),
	};

	return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
