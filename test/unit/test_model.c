/*
 * test_model.c - model directories opened whole.
 *
 * Small checkpoints are written in each dtype, split over files and varied as
 * their config allows; then with one thing wrong at a time.  Their tokenizer
 * is the embedded model's.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint.h"
#include "engine/base/half.h"
#include "engine/model/kv_layout.h"
#include "engine/model/residency.h"
#include "made_up.h"

#include <cmocka.h>

#define EMBEDDED "models/tiny-chatglm3"
#define LAYER1 "transformer.encoder.layers.1."
#define FINAL_NORM "transformer.encoder.final_layernorm.weight"
#define EMBEDDING "transformer.embedding.word_embeddings.weight"
#define OUTPUT "transformer.output_layer.weight"

static char		  dir[CK_PATH];
static json_t	 *config;
static ck_weights weights;

/* A good directory but for the weights, which each test saves. */
static int
setup(void **state)
{
	char  path[CK_PATH];
	char *tokenizer = realpath(EMBEDDED "/tokenizer.model", NULL);

	(void) state;
	ck_open(dir);
	config = ck_config();
	ck_config_save(config, dir);
	ck_weights_init(&weights, config, "F16");
	ck_path(path, dir, "tokenizer.model");
	assert_non_null(tokenizer);
	assert_int_equal(symlink(tokenizer, path), 0);
	free(tokenizer);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	json_decref(config);
	ck_close(dir);
	return 0;
}

static void
save_all(void)
{
	ck_config_save(config, dir);
	ck_weights_save(&weights, 0, weights.n, dir, "model.safetensors");
}

static glm_model *
open_good(const char *path)
{
	glm_error  err = {0};
	glm_model *model = glm_model_open("a name", path, &err);

	if (model == NULL)
		fail_msg("%s", err.message);
	return model;
}

/* Saves and opens: refused with this status, the message with both fragments. */
static void
assert_refused(glm_status status, const char *fragment, const char *where)
{
	glm_error err = {0};

	save_all();
	assert_null(glm_model_open("a name", dir, &err));
	ck_assert_error(&err, status, fragment);
	ck_assert_error(&err, status, where);
}

/* ---- What is read ----------------------------------------------------------- */

static void
assert_vector(const float *v, const char *name, int n)
{
	assert_non_null(v);
	for (int i = 0; i < n; i++)
		if (v[i] != ck_value(name, i))
			fail_msg("%s[%d] is %g, not %g", name, i, v[i], ck_value(name, i));
}

static void
assert_matrix(const glm_tensor *t, const char *name, glm_dtype dtype, int64_t rows, int64_t cols)
{
	assert_int_equal(t->dtype, dtype);
	assert_int_equal(t->shape[0], rows);
	assert_int_equal(t->shape[1], cols);
	for (int64_t i = 0; i < rows * cols; i++)
	{
		float	 x;
		uint16_t h;

		if (dtype == GLM_F32)
			memcpy(&x, (const char *) t->data + 4 * i, 4);
		else
		{
			memcpy(&h, (const char *) t->data + 2 * i, 2);
			x = dtype == GLM_F16 ? glm_f16_to_f32(h) : glm_bf16_to_f32(h);
		}
		assert_true(x == ck_value(name, i));
	}
}

static glm_residency readable;

/* Makes all weights readable, until close_good(). */
static void
touch_all(const glm_model *m)
{
	glm_error err = {0};

	if (!glm_residency_open(&readable, m, &err) || !glm_residency_hold(&readable, &err))
		fail_msg("%s", err.message);
}

static void
close_good(glm_model *m)
{
	glm_residency_close(&readable);
	glm_model_close(m);
}

/* Everything in a standard model: 2 layers, 24 wide, 4 heads of 8, 2 groups, ffn 40. */
static void
assert_standard(const glm_model *m, glm_dtype dtype)
{
	assert_int_equal(m->dtype, dtype);
	touch_all(m);
	assert_matrix(md_tensor(m, GLM_EMBEDDING, GLM_NO_LAYER), EMBEDDING, dtype, 1024, 24);
	assert_matrix(md_tensor(m, GLM_HEAD, GLM_NO_LAYER), OUTPUT, dtype, 1024, 24);
	assert_vector(glm_model_norm(m, GLM_FINAL_NORM, GLM_NO_LAYER), FINAL_NORM, 24);
	assert_vector(glm_model_norm(m, GLM_ATTN_NORM, 1), LAYER1 "input_layernorm.weight", 24);
	assert_vector(glm_model_norm(m, GLM_FFN_NORM, 1), LAYER1 "post_attention_layernorm.weight", 24);
	assert_vector(md_bias(m, 1), LAYER1 "self_attention.query_key_value.bias", 64);
	assert_matrix(md_tensor(m, GLM_QKV, 1), LAYER1 "self_attention.query_key_value.weight", dtype,
				  64, 24);
	assert_matrix(md_tensor(m, GLM_DENSE, 1), LAYER1 "self_attention.dense.weight", dtype, 24, 32);
	assert_matrix(md_tensor(m, GLM_GATE_UP, 1), LAYER1 "mlp.dense_h_to_4h.weight", dtype, 80, 24);
	assert_matrix(md_tensor(m, GLM_DOWN, 1), LAYER1 "mlp.dense_4h_to_h.weight", dtype, 24, 40);
	assert_string_equal(m->name, "a name");
	assert_string_equal(m->path, dir);
	assert_non_null(m->tokenizer);
	assert_int_equal(m->kv_block_bytes, glm_kv_block_bytes(&m->config, GLM_F32));
	assert_true(m->load_ms > 0 && m->load_ms < 60000);
}

static void
test_dtypes(void **state)
{
	static const char *const names[] = {"F32", "F16", "BF16"};

	(void) state;
	for (int dtype = GLM_F32; dtype <= GLM_BF16; dtype++)
	{
		glm_model *m;

		ck_weights_init(&weights, config, names[dtype]);
		save_all();
		m = open_good(dir);
		assert_standard(m, (glm_dtype) dtype);
		close_good(m);
	}
}

static void
test_mixed_dtypes(void **state)
{
	glm_model *m;

	(void) state;
	ck_weights_get(&weights, FINAL_NORM)->dtype = "F32";
	ck_weights_get(&weights, OUTPUT)->dtype = "BF16";
	save_all();
	m = open_good(dir);
	assert_int_equal(m->dtype, GLM_F16);
	assert_vector(glm_model_norm(m, GLM_FINAL_NORM, GLM_NO_LAYER), FINAL_NORM, 24);
	touch_all(m);
	assert_matrix(md_tensor(m, GLM_HEAD, GLM_NO_LAYER), OUTPUT, GLM_BF16, 1024, 24);
	close_good(m);
}

static void
test_three_shards(void **state)
{
	static const char *const files[] = {"a.safetensors", "b.safetensors", "c.safetensors"};
	const int				 ends[] = {0, 5, 6, weights.n};
	json_t					*map = glm_json_new();
	json_t					*index = json_pack("{s:o}", "weight_map", map);
	char					*text;
	glm_model				*m;

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		ck_weights_save(&weights, ends[i], ends[i + 1], dir, files[i]);
		for (int j = ends[i]; j < ends[i + 1]; j++)
			json_object_set_new(map, weights.tensor[j].name, json_string(files[i]));
	}
	text = json_dumps(index, 0);
	ck_puts(dir, "model.safetensors.index.json", text);
	free(text);
	json_decref(index);

	m = open_good(dir);
	assert_standard(m, GLM_F16);
	close_good(m);
}

static void
test_variants(void **state)
{
	glm_model *m;

	(void) state;
	ck_config_set(config, "tie_word_embeddings", "true");
	ck_config_set(config, "add_qkv_bias", "false");
	ck_config_set(config, "post_layer_norm", "false");
	ck_weights_drop(&weights, OUTPUT);
	ck_weights_drop(&weights, FINAL_NORM);
	ck_weights_drop(&weights, "transformer.encoder.layers.0.self_attention.query_key_value.bias");
	ck_weights_drop(&weights, LAYER1 "self_attention.query_key_value.bias");
	ck_weights_add(&weights, "transformer.rotary_pos_emb.inv_freq", "F16", 2, 0);
	save_all();
	m = open_good(dir);
	assert_ptr_equal(md_tensor(m, GLM_HEAD, GLM_NO_LAYER)->data,
					 md_tensor(m, GLM_EMBEDDING, GLM_NO_LAYER)->data);
	assert_null(glm_model_norm(m, GLM_FINAL_NORM, GLM_NO_LAYER));
	assert_null(md_bias(m, 0));
	assert_null(md_bias(m, 1));
	close_good(m);
}

/* A tied model that stores its output layer all the same: what is stored counts. */
static void
test_tied_but_stored(void **state)
{
	glm_model *m;

	(void) state;
	ck_config_set(config, "tie_word_embeddings", "true");
	save_all();
	m = open_good(dir);
	touch_all(m);
	assert_matrix(md_tensor(m, GLM_HEAD, GLM_NO_LAYER), OUTPUT, GLM_F16, 1024, 24);
	close_good(m);
}

static void
test_rope(void **state)
{
	const int	 context = 50000;
	const double base = 500000;
	glm_model	*m;

	(void) state;
	ck_config_set(config, "_name_or_path", "\"chatglm3-6b-32k\"");
	ck_config_set(config, "rope_ratio", "50");
	ck_config_set(config, "seq_length", "50000");
	save_all();
	m = open_good(dir);
	/* heads of 8: the first 4 dimensions turn, as 2 pairs */
	for (int p = 0; p < context; p++)
	{
		const double angle[2] = {p, p / sqrt(base)};

		for (int i = 0; i < 2; i++)
		{
			assert_true(fabs(m->rope[4 * p + 2 * i] - cos(angle[i])) < 1e-7);
			assert_true(fabs(m->rope[4 * p + 2 * i + 1] - sin(angle[i])) < 1e-7);
		}
	}
	close_good(m);
}

/* ChatGLM2's long contexts: positions closer together, the base as it was. */
static void
test_interpolated_rope(void **state)
{
	glm_model *m;

	(void) state;
	ck_config_set(config, "_name_or_path", "\"THUDM/chatglm2-6b-32k\"");
	ck_config_set(config, "rope_ratio", "4");
	save_all();
	m = open_good(dir);
	for (int p = 0; p < 64; p++)
	{
		assert_true(fabs(m->rope[4 * p] - cos(p / 4.0)) < 1e-7);
		assert_true(fabs(m->rope[4 * p + 3] - sin(p / 4.0 / 100)) < 1e-7);
	}
	close_good(m);
}

static void
test_embedded(void **state)
{
	glm_model *m = open_good(EMBEDDED);

	(void) state;
	assert_int_equal(m->dtype, GLM_F16);
	assert_int_equal(m->config.layers, 5);
	assert_int_equal(md_tensor(m, GLM_QKV, 4)->shape[1], m->config.hidden);
	close_good(m);
}

static void
test_golden(void **state)
{
	char	   path[CK_PATH];
	glm_model *m;

	(void) state;
	if (ck_golden() == NULL)
		skip();
	ck_path(path, ck_golden(), "chatglm3-a");
	m = open_good(path);
	assert_int_equal(m->dtype, GLM_F16);
	assert_int_equal(md_tensor(m, GLM_DOWN, 2)->shape[1], 224);
	close_good(m);
	ck_path(path, ck_golden(), "chatglm3-b");
	m = open_good(path);
	assert_int_equal(m->dtype, GLM_BF16);
	assert_int_equal(md_tensor(m, GLM_EMBEDDING, GLM_NO_LAYER)->shape[0], 960);
	close_good(m);
}

/* ---- Tables ------------------------------------------------------------------ */

/* Matrices of one projection that lie side by side, as queries, keys and values may. */
static void
test_several_matrices(void **state)
{
	glm_model		model = {.config = {.layers = 2, .hidden = 24}};
	glm_tensor_list list = {0};
	glm_error		err;

	(void) state;
	for (int l = 0; l < 2; l++)
		for (int i = 0; i < 3; i++)
		{
			glm_tensor_entry entry = {.layer = l,
									  .projection = GLM_QKV,
									  .offset = i == 0 ? 0 : 16 + 16 * i,
									  .rows = i == 0 ? 32 : 16,
									  .cols = 24};

			assert_true(glm_tensor_list_add(&list, &entry, &err));
			entry.use = GLM_USE_BIAS;
			if (i != 2) /* values have none */
				assert_true(glm_tensor_list_add(&list, &entry, &err));
		}
	assert_true(glm_model_lay_out(&model, &list, &err));
	assert_int_equal(model.n_matrices, 6);
	assert_int_equal(glm_model_width(&model, GLM_QKV), 64);
	for (int i = 0; i < list.n; i++)
	{
		int				  n;
		const glm_matrix *m = glm_model_matrices(&model, GLM_QKV, list.entry[i].layer, &n);

		assert_int_equal(n, 3);
		assert_int_equal(m[1].offset, 32);
		assert_int_equal(m[2].offset, 48);
		assert_int_equal(m[2].tensor.shape[0], 16);
		assert_ptr_equal(glm_model_matrix_of(&model, &list.entry[i]),
						 &m[list.entry[i].offset == 0 ? 0 : list.entry[i].offset / 16 - 1]);
		assert_null(glm_model_norm(&model, GLM_ATTN_NORM, list.entry[i].layer));
	}
	glm_tensor_list_free(&list);
	free(model.matrix);
	free(model.place);
	free(model.norm);
}

/* ---- What is refused ---------------------------------------------------------- */

static void
test_missing_tensors(void **state)
{
	ck_weights all = weights;

	(void) state;
	for (int i = 0; i < all.n; i++)
	{
		weights = all;
		ck_weights_drop(&weights, all.tensor[i].name);
		assert_refused(GLM_BAD_FILE, all.tensor[i].name, dir);
	}
}

static void
test_wrong_shapes(void **state)
{
	ck_weights all = weights;

	(void) state;
	for (int i = 0; i < all.n; i++)
	{
		weights = all;
		weights.tensor[i].shape[0]++;
		assert_refused(GLM_BAD_FILE, all.tensor[i].name, "model.safetensors");
		weights = all;
		weights.tensor[i].n_dims = 3 - weights.tensor[i].n_dims;
		weights.tensor[i].shape[1] = 1;
		assert_refused(GLM_BAD_FILE, all.tensor[i].name, "model.safetensors");
	}
}

static void
test_not_finite(void **state)
{
	static const char *const names[] = {
		FINAL_NORM,
		LAYER1 "input_layernorm.weight",
		LAYER1 "post_attention_layernorm.weight",
		LAYER1 "self_attention.query_key_value.bias",
	};
	static const char *const dtypes[] = {"F32", "F16", "BF16"};

	(void) state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		for (size_t j = 0; j < 3; j++)
		{
			ck_weights_init(&weights, config, dtypes[j]);
			ck_weights_get(&weights, names[i])->poisoned = true;
			assert_refused(GLM_BAD_FILE, names[i], "model.safetensors\" holds NaN");
		}
	}
}

static void
test_surplus(void **state)
{
	ck_weights all = weights;

	(void) state;
	ck_weights_add(&weights, "transformer.encoder.layers.2.input_layernorm.weight", "F16", 24, 0);
	assert_refused(GLM_BAD_FILE, "contradicts num_layers 2", "layers.2.input_layernorm");
	weights = all;
	ck_weights_add(&weights, LAYER1 "self_attention.dense.bias", "F16", 24, 0);
	assert_refused(GLM_UNSUPPORTED, LAYER1 "self_attention.dense.bias", "bias of a kind");
	weights = all;
	ck_config_set(config, "add_qkv_bias", "false");
	assert_refused(GLM_BAD_FILE, "contradicts add_qkv_bias", "layers.0.self_attention");
}

static void
test_broken_parts(void **state)
{
	char	  path[CK_PATH];
	glm_error err = {0};

	(void) state;
	/* ids of the tokenizer above padded_vocab_size */
	ck_config_set(config, "padded_vocab_size", "100");
	ck_weights_init(&weights, config, "F16");
	save_all();
	assert_null(glm_model_open("a name", dir, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "tokenizer.model");

	ck_path(path, dir, "tokenizer.model");
	assert_int_equal(remove(path), 0);
	assert_refused(GLM_NO_FILE, "No such file", "tokenizer.model");
	ck_puts(dir, "tokenizer.model", "not a tokenizer");
	assert_refused(GLM_BAD_FILE, "tokenizer.model", dir);

	ck_path(path, dir, "model.safetensors");
	assert_int_equal(remove(path), 0);
	assert_null(glm_model_open("a name", dir, &err));
	ck_assert_error(&err, GLM_NO_FILE, "no *.safetensors file");
	ck_path(path, dir, "config.json");
	assert_int_equal(remove(path), 0);
	assert_null(glm_model_open("a name", dir, &err));
	ck_assert_error(&err, GLM_NO_FILE, "config.json");
	assert_null(glm_model_open("a name", "/nowhere", &err));
	ck_assert_error(&err, GLM_NO_FILE, "/nowhere/config.json");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_dtypes),
		CASE(test_mixed_dtypes),
		CASE(test_three_shards),
		CASE(test_variants),
		CASE(test_tied_but_stored),
		CASE(test_rope),
		CASE(test_interpolated_rope),
		cmocka_unit_test(test_embedded),
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_several_matrices),
		CASE(test_missing_tensors),
		CASE(test_wrong_shapes),
		CASE(test_not_finite),
		CASE(test_surplus),
		CASE(test_broken_parts),
	};

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
