/*
 * test_models.c - models that are open: options, what is mapped and shared, what is verified.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/hash.h"
#include "engine/model/residency.h"
#include "engine/weights/packed.h"
#include "made_up.h"
#include "open_models.h"

static glm_residency readable;

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
		glm_models_release(&om_models, om_acquire_good("a", om_dir, good[i]));
		assert_true(om_unload("a", NULL, &err));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		assert_null(om_acquire("a", om_dir, bad[i].options, &err));
		ck_assert_error(&err, GLM_BAD_ARGUMENT, bad[i].fragment);
	}
}

/* ---- What is mapped ---------------------------------------------------------------- */

static void
test_maps_on_touch(void **state)
{
	glm_served	  *served = om_acquire_good("a", om_dir, NULL);
	glm_model_info info = om_info("a");
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
	info = om_info("a");
	assert_int_equal(info.chunks_mapped, 1);
	assert_int_equal(info.bytes_mapped, info.size_bytes);
	assert_int_equal(info.bytes_resident, info.size_bytes);
	assert_int_equal(mappings(OM_WEIGHTS), 1);

	/* released as often as touched, or once for a part touched twice */
	assert_true(glm_residency_touch(&readable, 0, &err));
	assert_true(glm_residency_touch(&readable, GLM_SEGMENT_OUTPUT, &err));
	glm_residency_release(&readable, 0);
	glm_residency_release(&readable, 0);
	assert_int_equal(om_info("a").chunks_mapped, 1);
	glm_residency_release(&readable, GLM_SEGMENT_OUTPUT);
	assert_int_equal(om_info("a").chunks_mapped, 0);
	glm_residency_close(&readable);
	glm_models_release(&om_models, served);
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
	glm_served *served = om_acquire_good("a", om_dir, NULL);
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
	assert_int_equal(om_info("a").chunks_mapped, 1);
	glm_residency_close(&readable);
	glm_models_release(&om_models, served);
	assert_true(om_unload("a", om_dir, &err));
	assert_int_equal(mappings(OM_WEIGHTS), 0);
}

/* Opening one, too: there is nothing left of it then. */
static void
test_open_can_be_ended(void **state)
{
	const glm_open_options options = {.weights.verify = GLM_VERIFY_FIRST_MAP,
									  .weights.files = om_models.files,
									  .kv_type = GLM_KV_AUTO};
	glm_served			  *served = NULL;
	glm_error			   err = {0};
	int					   rounds = 0;

	(void) state;
	while (served == NULL)
	{
		pauses_granted = rounds++;
		glm_pause_with(grant_pauses, NULL);
		served = glm_models_load(&om_models, "a", om_dir, &options, &err);
		glm_pause_with(NULL, NULL);
		if (served == NULL)
			ck_assert_error(&err, GLM_CANCELLED, "enough");
		assert_int_equal(glm_models_list(&om_models, &(glm_model_info){0}, 1), served != NULL);
	}
	assert_in_range(rounds, 4, 100);
	glm_models_release(&om_models, served);
	assert_true(om_unload("a", om_dir, &err));
}

static void
test_unload_unmaps(void **state)
{
	glm_served *served = om_acquire_good("a", om_dir, NULL);
	glm_error	err = {0};

	(void) state;
	om_touch_all(served);
	assert_int_equal(mappings(OM_WEIGHTS), 1);
	assert_true(om_unload("a", NULL, &err));
	assert_int_equal(mappings(OM_WEIGHTS), 1); /* somebody uses it still */
	glm_models_release(&om_models, served);
	assert_int_equal(mappings(OM_WEIGHTS), 0);
	assert_false(om_unload("a", NULL, &err));
	ck_assert_error(&err, GLM_NO_MODEL, "\"a\"");
}

static void
test_shared(void **state)
{
	glm_served *a = om_acquire_good("a", om_dir, NULL);
	glm_served *b = om_acquire_good("b", om_dir, NULL);
	glm_served *c = om_acquire_good("c", om_twin, NULL);
	glm_error	err;
	uint8_t		low_byte;

	(void) state;
	assert_ptr_not_equal(a, b);
	assert_ptr_equal(md_tensor(a->model, GLM_DOWN, 1)->data,
					 md_tensor(b->model, GLM_DOWN, 1)->data);
	assert_ptr_equal(md_tensor(a->model, GLM_DOWN, 1)->data,
					 md_tensor(c->model, GLM_DOWN, 1)->data);
	om_touch_all(a);
	om_touch_all(c);
	low_byte = *(const uint8_t *) md_tensor(a->model, GLM_QKV, 0)->data;
	assert_int_equal(mappings(OM_WEIGHTS), 1);
	assert_int_equal(om_info("b").chunks_mapped, 1);

	glm_models_release(&om_models, a);
	assert_true(om_unload("a", NULL, &err));
	assert_int_equal(mappings(OM_WEIGHTS), 1);
	assert_int_equal(*(const uint8_t *) md_tensor(c->model, GLM_QKV, 0)->data, low_byte);
	glm_models_release(&om_models, b);
	glm_models_release(&om_models, c);
	assert_true(om_unload("c", NULL, &err));
	assert_int_equal(mappings(OM_WEIGHTS), 0);
}

static void
test_memory_limit(void **state)
{
	glm_error err = {0};

	(void) state;
	om_models.memory_limit = 1000;
	assert_null(om_acquire("a", om_dir, NULL, &err));
	ck_assert_error(&err, GLM_NO_ROOM, "more than the limit of 1000");
	assert_int_equal(err.advice, GLM_ADVICE_MEMORY_LIMIT);
	om_models.memory_limit = 1 << 20;
	glm_models_release(&om_models, om_acquire_good("a", om_dir, NULL));
	om_models.memory_limit = (size_t) (om_info("a").size_bytes * 3 / 2);
	glm_models_release(&om_models, om_acquire_good("b", om_twin, NULL));
	assert_int_equal(glm_models_list(&om_models, &(glm_model_info){0}, 1), 1);
	om_info("b");
}
/* ---- Packed -------------------------------------------------------------------------- */

/* Makes a packed directory of the first one, by a manifest alone. */
static void
add_manifest(void)
{
	static const char *const names[] = {OM_WEIGHTS, "config.json", "tokenizer.model"};
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

		ck_path(path, om_dir, names[i]);
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
	ck_puts(om_dir, GLM_MANIFEST, text);
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

	ck_path(path, om_dir, OM_WEIGHTS);
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
	served = om_acquire_good("a", om_dir, NULL);
	assert_string_equal(om_info("a").quantization, "int8");
	om_touch_all(served);
	flip_bit_of(served->model, norm);
	glm_models_release(&om_models, served);
	assert_true(om_unload("a", NULL, &err));

	served = om_acquire_good("a", om_dir, NULL);
	assert_null(glm_forward_load(om_models.forward, 0, served->model, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "chunk 0 of file");
	assert_int_equal(om_info("a").chunks_mapped, 0);
	glm_models_release(&om_models, served);

	/* asked for expressly, a loaded model is verified too */
	assert_null(om_acquire("a", om_dir, "{\"verify\": \"full\"}", &err));
	ck_assert_error(&err, GLM_BAD_FILE, "chunk 0 of file");
	assert_int_equal(om_info("a").sequences, 0);
	assert_null(om_acquire("b", om_dir, "{\"verify\": \"full\"}", &err));
	ck_assert_error(&err, GLM_BAD_FILE, "chunk 0 of file");
	served = om_acquire_good("b", om_dir, "{\"verify\": \"off\"}");
	om_touch_all(served);
	glm_models_release(&om_models, served);

	/* what counts without an option */
	assert_true(om_unload("b", NULL, &err));
	atomic_store(&om_models.verify, GLM_VERIFY_FULL);
	assert_null(om_acquire("b", om_dir, NULL, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "chunk 0 of file");
}
#define CASE(test) cmocka_unit_test_setup_teardown(test, om_setup, om_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_options),			  CASE(test_maps_on_touch),		 CASE(test_hold_can_be_ended),
		CASE(test_open_can_be_ended), CASE(test_unload_unmaps),		 CASE(test_shared),
		CASE(test_memory_limit),	  CASE(test_norms_are_verified),
	};

	return cmocka_run_group_tests_name("models", tests, NULL, NULL);
}
