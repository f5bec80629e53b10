/*
 * test_models.c - which models are open: options, sharing, what is mapped.
 *
 * Three names stand for two directories, of which the second has the first
 * one's weights by a hard link and is no copy.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint.h"
#include "engine/serve/engine.h"
#include "engine/base/file.h"
#include "engine/base/hash.h"
#include "engine/model/residency.h"
#include "engine/weights/packed.h"
#include "made_up.h"

#include <cmocka.h>

#define WEIGHTS "model.safetensors"
#define TOKENIZER "models/tiny-chatglm3/tokenizer.model"

static char			 dir[CK_PATH];
static char			 twin[CK_PATH];
static glm_models	 models;
static glm_threads	*pool;
static glm_residency readable;
static uint32_t		 origin; /* of requests */

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

static int
setup(void **state)
{
	json_t	  *config = ck_config();
	ck_weights weights;
	char	   path[CK_PATH];
	glm_error  err;

	glm_forward_options options = {.kernels = "auto", .max_rows = 1};

	(void) state;
	ck_open(dir);
	ck_open(twin);
	ck_weights_init(&weights, config, "F16");
	ck_weights_save(&weights, 0, weights.n, dir, WEIGHTS);
	ck_path(path, dir, WEIGHTS);
	link_into(twin, path, WEIGHTS);
	ck_config_save(config, dir);
	ck_config_save(config, twin);
	copy_tokenizer(dir);
	copy_tokenizer(twin);
	json_decref(config);
	assert_true(glm_models_init(&models, 0, GLM_VERIFY_FIRST_MAP));
	options.pool = pool = glm_threads_open(1, &err);
	models.forward = glm_forward_open(&options, &err);
	assert_non_null(models.forward);
	origin = 1;
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	glm_models_free(&models);
	glm_forward_close(models.forward);
	glm_threads_close(pool);
	ck_close(dir);
	ck_close(twin);
	return 0;
}

/* ---- Requests ----------------------------------------------------------------- */

static glm_span
put(char *block, uint32_t *end, const char *text)
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
static glm_served *
find_or_load(const glm_request *req, glm_error *err)
{
	glm_open_options options;
	glm_served		*served;
	glm_served		*loaded;

	if (!glm_models_find(&models, req, &options, &served, err))
		return NULL;
	if (served == NULL)
	{
		loaded = glm_models_load(&models, glm_request_text(req, req->model),
								 glm_request_text(req, req->path), &options, err);
		if (loaded == NULL)
			return NULL;
		assert_true(glm_models_find(&models, req, &options, &served, err));
		assert_ptr_equal(served, loaded);
		glm_models_release(&models, loaded);
	}
	else if (options.weights.verify == GLM_VERIFY_FULL &&
			 !glm_shards_verify(served->model->shards, err))
	{
		glm_models_release(&models, served);
		return NULL;
	}
	return served;
}

static const glm_request *
request(glm_kind kind, const char *name, const char *path, const char *options)
{
	_Alignas(glm_request) static char block[4096];
	glm_request						 *req = (glm_request *) block;
	uint32_t						  end = sizeof(*req);

	memset(req, 0, sizeof(*req));
	req->kind = kind;
	req->origin = origin;
	req->model = put(block, &end, name);
	req->path = put(block, &end, path);
	req->options = put(block, &end, options);
	req->size = end;
	return req;
}

static glm_served *
acquire(const char *name, const char *path, const char *options, glm_error *err)
{
	return find_or_load(request(GLM_LOAD, name, path, options), err);
}

static bool
unload(const char *name, const char *path, glm_error *err)
{
	return glm_models_unload(&models, request(GLM_UNLOAD, name, path, NULL), err);
}

static glm_served *
acquire_good(const char *name, const char *path, const char *options)
{
	glm_error	err = {0};
	glm_served *served = acquire(name, path, options, &err);

	if (served == NULL)
		fail_msg("%s", err.message);
	return served;
}

/* Makes a model resident, as a loading does. */
static void
touch_all(glm_served *served)
{
	glm_error	 err;
	glm_weights *weights = glm_forward_load(models.forward, served->model, &err);

	assert_non_null(weights);
	atomic_store(&served->weights, weights);
}

static glm_model_info
info_of(const char *name)
{
	glm_model_info info[4];
	int			   n = glm_models_list(&models, info, 4);

	for (int i = 0; i < n; i++)
	{
		if (strcmp(info[i].name, name) == 0)
			return info[i];
	}
	fail_msg("model %s is not in the list", name);
	return info[0];
}

/* Mappings of this process that are of a file of this name. */
static int
mappings(const char *name)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char  line[1024];
	int	  n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, name) != NULL;
	fclose(f);
	return n;
}

/* ---- Options -------------------------------------------------------------------- */

static void
test_options(void **state)
{
	static const char *const good[] = {
		NULL,
		"{}",
		"{\"verify\": \"first-map\"}",
		"{\"verify\": \"full\"}",
		"{\"verify\": \"off\"}",
		"{\"rope\": \"chatglm2\"}",
		"{\"rope\": \"chatglm3\", \"verify\": \"off\"}",
	};
	static const struct
	{
		const char *options;
		const char *fragment;
	} bad[] = {
		{"", "no JSON object"},
		{"[]", "no JSON object"},
		{"{\"verify\": \"full\"", "no JSON object"},
		{"{\"verifi\": \"full\"}", "unknown key \"verifi\""},
		{"{\"verify\": \"FULL\"}", "\"verify\""},
		{"{\"verify\": true}", "\"verify\""},
		{"{\"verify\": null}", "\"verify\""},
		{"{\"rope\": \"chatglm4\"}", "\"rope\""},
		{"{\"rope\": 2}", "\"rope\""},
		{"{\"verify\": \"off\", \"verify\": \"full\"}", "no JSON object"},
		{"{\"verify\": \"off\", \"x\": 1}", "unknown key \"x\""},
	};
	glm_error err = {0};

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		glm_models_release(&models, acquire_good("a", dir, good[i]));
		assert_true(unload("a", NULL, &err));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		assert_null(acquire("a", dir, bad[i].options, &err));
		ck_assert_error(&err, GLM_BAD_ARGUMENT, bad[i].fragment);
	}
}

/* ---- What is mapped ---------------------------------------------------------------- */

static void
test_maps_on_touch(void **state)
{
	glm_served	  *served = acquire_good("a", dir, NULL);
	glm_model_info info = info_of("a");
	glm_error	   err;

	(void) state;
	assert_string_equal(info.quantization, "none");
	assert_string_equal(info.dtype, "F16");
	assert_int_equal(info.chunks_mapped, 0);
	assert_int_equal(info.chunks_total, 1);
	assert_int_equal(info.bytes_mapped, 0);
	assert_int_equal(info.bytes_resident, 0);
	assert_int_equal(info.size_bytes, glm_shards_bytes(served->model->shards));

	assert_true(glm_residency_open(&readable, served->model, &err));
	assert_true(glm_residency_touch(&readable, 0, &err));
	info = info_of("a");
	assert_int_equal(info.chunks_mapped, 1);
	assert_int_equal(info.bytes_mapped, info.size_bytes);
	assert_int_equal(info.bytes_resident, info.size_bytes);
	assert_int_equal(mappings(WEIGHTS), 1);

	/* released as often as touched, or once for a part touched twice */
	assert_true(glm_residency_touch(&readable, 0, &err));
	assert_true(glm_residency_touch(&readable, GLM_SEGMENT_OUTPUT, &err));
	glm_residency_release(&readable, 0);
	glm_residency_release(&readable, 0);
	assert_int_equal(info_of("a").chunks_mapped, 1);
	glm_residency_release(&readable, GLM_SEGMENT_OUTPUT);
	assert_int_equal(info_of("a").chunks_mapped, 0);
	glm_residency_close(&readable);
	glm_models_release(&models, served);
}

static int pauses_granted;

static bool
grant_pauses(void *arg, glm_error *err)
{
	(void) arg;
	return pauses_granted-- > 0 || glm_fail(err, GLM_CANCELLED, "enough");
}

/* Bringing a model into memory can be ended at any pause, and goes on from there. */
static void
test_hold_can_be_ended(void **state)
{
	glm_served *served = acquire_good("a", dir, NULL);
	glm_error	err = {0};
	bool		held = false;
	int			rounds = 0;

	(void) state;
	assert_true(glm_residency_open(&readable, served->model, &err));
	while (!held)
	{
		assert_false(glm_residency_complete(&readable));
		pauses_granted = rounds++;
		glm_pause_with(grant_pauses, NULL);
		held = glm_residency_hold(&readable, &err);
		glm_pause_with(NULL, NULL);
		if (!held)
			ck_assert_error(&err, GLM_CANCELLED, "enough");
	}
	assert_true(glm_residency_complete(&readable));
	assert_in_range(rounds, 5, 20);
	assert_int_equal(info_of("a").chunks_mapped, 1);
	glm_residency_close(&readable);
	glm_models_release(&models, served);
	assert_true(unload("a", dir, &err));
	assert_int_equal(mappings(WEIGHTS), 0);
}

/* Opening one, too: there is nothing left of it then. */
static void
test_open_can_be_ended(void **state)
{
	const glm_open_options options = {.weights.verify = GLM_VERIFY_FIRST_MAP,
									  .weights.files = models.files,
									  .kv_type = GLM_KV_AUTO};
	glm_served			  *served = NULL;
	glm_error			   err = {0};
	int					   rounds = 0;

	(void) state;
	while (served == NULL)
	{
		pauses_granted = rounds++;
		glm_pause_with(grant_pauses, NULL);
		served = glm_models_load(&models, "a", dir, &options, &err);
		glm_pause_with(NULL, NULL);
		if (served == NULL)
			ck_assert_error(&err, GLM_CANCELLED, "enough");
		assert_int_equal(glm_models_list(&models, &(glm_model_info){0}, 1), served != NULL);
	}
	assert_in_range(rounds, 4, 100);
	glm_models_release(&models, served);
	assert_true(unload("a", dir, &err));
}

static void
test_unload_unmaps(void **state)
{
	glm_served *served = acquire_good("a", dir, NULL);
	glm_error	err = {0};

	(void) state;
	touch_all(served);
	assert_int_equal(mappings(WEIGHTS), 1);
	assert_true(unload("a", NULL, &err));
	assert_int_equal(mappings(WEIGHTS), 1); /* somebody uses it still */
	glm_models_release(&models, served);
	assert_int_equal(mappings(WEIGHTS), 0);
	assert_false(unload("a", NULL, &err));
	ck_assert_error(&err, GLM_NO_MODEL, "\"a\"");
}

static void
test_shared(void **state)
{
	glm_served *a = acquire_good("a", dir, NULL);
	glm_served *b = acquire_good("b", dir, NULL);
	glm_served *c = acquire_good("c", twin, NULL);
	glm_error	err;
	uint8_t		low_byte;

	(void) state;
	assert_ptr_not_equal(a, b);
	assert_ptr_equal(md_tensor(a->model, GLM_DOWN, 1)->data,
					 md_tensor(b->model, GLM_DOWN, 1)->data);
	assert_ptr_equal(md_tensor(a->model, GLM_DOWN, 1)->data,
					 md_tensor(c->model, GLM_DOWN, 1)->data);
	touch_all(a);
	touch_all(c);
	low_byte = *(const uint8_t *) md_tensor(a->model, GLM_QKV, 0)->data;
	assert_int_equal(mappings(WEIGHTS), 1);
	assert_int_equal(info_of("b").chunks_mapped, 1);

	glm_models_release(&models, a);
	assert_true(unload("a", NULL, &err));
	assert_int_equal(mappings(WEIGHTS), 1);
	assert_int_equal(*(const uint8_t *) md_tensor(c->model, GLM_QKV, 0)->data, low_byte);
	glm_models_release(&models, b);
	glm_models_release(&models, c);
	assert_true(unload("c", NULL, &err));
	assert_int_equal(mappings(WEIGHTS), 0);
}

static void
test_memory_limit(void **state)
{
	glm_error err = {0};

	(void) state;
	models.memory_limit = 1000;
	assert_null(acquire("a", dir, NULL, &err));
	ck_assert_error(&err, GLM_NO_ROOM, "more than the limit of 1000");
	assert_int_equal(err.advice, GLM_ADVICE_MEMORY_LIMIT);
	models.memory_limit = 1 << 20;
	glm_models_release(&models, acquire_good("a", dir, NULL));
	models.memory_limit = (size_t) (info_of("a").size_bytes * 3 / 2);
	glm_models_release(&models, acquire_good("b", twin, NULL));
	assert_int_equal(glm_models_list(&models, &(glm_model_info){0}, 1), 1);
	info_of("b");
}

/* ---- Names ---------------------------------------------------------------------------- */

static int
count_models(void)
{
	glm_model_info info[8];

	return glm_models_list(&models, info, 8);
}

/* Uses a model once, on behalf of an origin; how many requests it has had. */
static int
use_once(uint32_t who, const char *name, const char *path)
{
	glm_served *served;

	origin = who;
	served = acquire_good(name, path, NULL);
	glm_models_release(&models, served);
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
		assert_int_equal(use_once(1, "a", dir), i);
		assert_int_equal(use_once(2, "a", twin), i);
	}
	assert_int_equal(count_models(), 2);
	origin = 1;
	assert_true(unload("a", dir, &err));
	assert_false(unload("a", dir, &err));
	ck_assert_error(&err, GLM_NO_MODEL, "\"a\"");
	assert_int_equal(use_once(2, "a", twin), 6);
	assert_int_equal(count_models(), 1);
}

/* Within one origin a name that means another directory now replaces what it meant. */
static void
test_name_changes_meaning(void **state)
{
	glm_served *held;

	(void) state;
	assert_int_equal(use_once(1, "a", dir), 1);
	assert_int_equal(use_once(1, "a", twin), 1);
	assert_int_equal(count_models(), 1);
	assert_int_equal(use_once(2, "a", twin), 2);
	assert_int_equal(use_once(1, "a", dir), 1); /* the twin is another's still */
	assert_int_equal(use_once(2, "a", twin), 3);
	assert_int_equal(count_models(), 2);
	origin = 2;
	held = acquire_good("a", twin, NULL);
	assert_int_equal(use_once(2, "a", dir), 2); /* not even in use it is anybody's now */
	assert_int_equal(count_models(), 1);
	glm_models_release(&models, held);
	assert_int_equal(use_once(2, "b", dir), 1); /* another name, another model */
	assert_int_equal(count_models(), 2);
}

/* Without a path: only what no other origin has named. */
static void
test_unload_without_path(void **state)
{
	glm_error err = {0};

	(void) state;
	use_once(1, "a", dir);
	use_once(2, "a", twin);
	use_once(3, "a", twin);
	origin = 4;
	assert_false(unload("a", NULL, &err));
	origin = 2;
	assert_false(unload("a", NULL, &err));
	assert_false(unload("b", NULL, &err));
	assert_int_equal(count_models(), 2);
	origin = 3;
	assert_true(unload("a", NULL, &err));
	assert_int_equal(count_models(), 1);
	origin = 1;
	assert_true(unload("a", NULL, &err));
	assert_int_equal(count_models(), 0);
}

/* The limit counts them all, and who was used longest ago leaves, whoever used it. */
static void
test_limit_over_origins(void **state)
{
	(void) state;
	use_once(1, "a", dir);
	models.memory_limit = (size_t) (info_of("a").size_bytes * 5 / 2);
	use_once(2, "a", twin);
	use_once(1, "a", dir);
	use_once(3, "b", dir);
	assert_int_equal(count_models(), 2);
	assert_int_equal(use_once(1, "a", dir), 3);
	assert_int_equal(use_once(2, "a", twin), 1);
}

/* ---- Packed -------------------------------------------------------------------------- */

/* Makes a packed directory of the first one, by a manifest alone. */
static void
add_manifest(void)
{
	static const char *const names[] = {WEIGHTS, "config.json", "tokenizer.model"};
	json_t					*files = json_array();
	json_t					*root;
	char					*text;

	for (int i = 0; i < 3; i++)
	{
		char		path[CK_PATH];
		char		hex[GLM_HASH_TEXT];
		struct stat st;
		glm_hash	hash;
		glm_error	err;
		uint64_t	n;
		int			fd;

		ck_path(path, dir, names[i]);
		fd = glm_file_open(path, &st, &err);
		assert_true(glm_hash_file(fd, path, 0, (uint64_t) st.st_size, &hash, &n, &err));
		close(fd);
		glm_hash_text(&hash, hex);
		json_array_append_new(files, json_pack("{s:s, s:I, s:[s]}", "name", names[i], "size",
											   (json_int_t) st.st_size, "chunks", hex));
	}
	root = json_pack("{s:s, s:i, s:s, s:s, s:i, s:I, s:o}", "format", GLM_PACKED_FORMAT, "version",
					 GLM_PACKED_VERSION, "layout", GLM_PACKED_LAYOUT, "quantization", "int8",
					 "group_size", 64, "chunk_size", (json_int_t) GLM_CHUNK_SIZE, "files", files);
	text = json_dumps(root, 0);
	ck_puts(dir, GLM_MANIFEST, text);
	free(text);
	json_decref(root);
}

/* Changes one element of a norm, so that only a hash can tell. */
static void
flip_bit_of(const glm_model *model, const char *name)
{
	char	   path[CK_PATH];
	glm_tensor t, *head = md_tensor(model, GLM_HEAD, GLM_NO_LAYER);
	glm_error  err;
	FILE	  *f;
	uint8_t	   byte;
	long	   at;

	ck_path(path, dir, WEIGHTS);
	assert_true(glm_shards_find(model->shards, name, 24, 0, &t, &err));
	f = fopen(path, "r+b");
	/* addresses and offsets differ by the same amount for all tensors */
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	at = ftell(f) -
		 (long) ((const uint8_t *) head->data + glm_tensor_bytes(head) - (const uint8_t *) t.data);
	fseek(f, at, SEEK_SET);
	byte = (uint8_t) fgetc(f);
	fseek(f, at, SEEK_SET);
	fputc(byte ^ 1, f);
	fclose(f);
}

/* Norms are read, not mapped; touching their layer checks them all the same. */
static void
test_norms_are_verified(void **state)
{
	const char *norm = "transformer.encoder.layers.1.input_layernorm.weight";
	glm_served *served;
	glm_error	err = {0};

	(void) state;
	add_manifest();
	served = acquire_good("a", dir, NULL);
	assert_string_equal(info_of("a").quantization, "int8");
	touch_all(served);
	flip_bit_of(served->model, norm);
	glm_models_release(&models, served);
	assert_true(unload("a", NULL, &err));

	served = acquire_good("a", dir, NULL);
	assert_null(glm_forward_load(models.forward, served->model, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "chunk 0 of file");
	assert_int_equal(info_of("a").chunks_mapped, 0);
	glm_models_release(&models, served);

	/* asked for expressly, a loaded model is verified too */
	assert_null(acquire("a", dir, "{\"verify\": \"full\"}", &err));
	ck_assert_error(&err, GLM_BAD_FILE, "chunk 0 of file");
	assert_int_equal(info_of("a").sequences, 0);
	assert_null(acquire("b", dir, "{\"verify\": \"full\"}", &err));
	ck_assert_error(&err, GLM_BAD_FILE, "chunk 0 of file");
	served = acquire_good("b", dir, "{\"verify\": \"off\"}");
	touch_all(served);
	glm_models_release(&models, served);

	/* what counts without an option */
	assert_true(unload("b", NULL, &err));
	atomic_store(&models.verify, GLM_VERIFY_FULL);
	assert_null(acquire("b", dir, NULL, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "chunk 0 of file");
}

/* ---- Which files ------------------------------------------------------------------ */

/* The model of a request that wants these files. */
static glm_served *
acquire_files(const char *identity, glm_error *err)
{
	glm_request *req = (glm_request *) request(GLM_LOAD, "a", dir, NULL);
	uint32_t	 end = req->size;

	req->identity = put((char *) req, &end, identity);
	req->size = end;
	return find_or_load(req, err);
}

static void
identity_of_dir(char identity[GLM_MODEL_HASH])
{
	bool	  packed;
	glm_error err;

	assert_true(glm_model_identity(dir, identity, &packed, &err));
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

	ck_path(path, dir, "config.json");
	assert_true(glm_file_read(&text, path, 1 << 20, &err));
	assert_int_equal(unlink(path), 0);
	glm_buf_puts(&text, "\n");
	ck_write(dir, "config.json", text.data, text.length);
	glm_buf_free(&text);
	identity_of_dir(after);
	assert_string_not_equal(before, after);

	/* the open model is what it was, with the files that it was opened with */
	served = acquire_files(before, &err);
	assert_ptr_equal(served, old);
	glm_models_release(&models, served);
	served = acquire_good("a", dir, NULL);
	assert_ptr_equal(served, old);
	glm_models_release(&models, served);

	served = acquire_files(after, &err);
	assert_non_null(served);
	assert_ptr_not_equal(served, old);
	assert_string_equal(served->model->identity, after);
	assert_true(old->dead);
	glm_models_release(&models, old);
	assert_null(acquire_files(before, &err));
	ck_assert_error(&err, GLM_NO_MODEL, "have changed");
	glm_models_release(&models, served);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_options),
		CASE(test_maps_on_touch),
		CASE(test_hold_can_be_ended),
		CASE(test_open_can_be_ended),
		CASE(test_unload_unmaps),
		CASE(test_shared),
		CASE(test_memory_limit),
		CASE(test_one_name_two_paths),
		CASE(test_name_changes_meaning),
		CASE(test_unload_without_path),
		CASE(test_limit_over_origins),
		CASE(test_norms_are_verified),
		CASE(test_wanted_files),
	};

	return cmocka_run_group_tests_name("models", tests, NULL, NULL);
}
