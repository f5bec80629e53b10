/*
 * test_config.c - config.json: what is taken from it, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fixtures.h"
#include "engine/base/file.h"
#include "engine/model/arch.h"

#include <cmocka.h>

#define EMBEDDED "models/tiny-chatglm3"

static glm_model_config
read_good(const char *path)
{
	glm_model_config config;
	glm_error		 err = {0};

	if (!glm_config_read(&config, path, &err))
		fail_msg("%s", err.message);
	return config;
}

/* The standard configuration with one key set to a JSON text, or removed (NULL). */
static glm_model_config
read_with(const char *key, const char *json)
{
	json_t *config = ck_config();

	ck_config_set(config, key, json);
	ck_config_save(config, fx_dir);
	json_decref(config);
	return read_good(fx_dir);
}

static void
assert_refused_with(const char *key, const char *json, glm_status status, const char *fragment)
{
	json_t			*config = ck_config();
	glm_model_config out;
	glm_error		 err = {0};

	ck_config_set(config, key, json);
	ck_config_save(config, fx_dir);
	json_decref(config);
	if (glm_config_read(&out, fx_dir, &err))
		fail_msg("accepted %s: %s", key, json ? json : "(left out)");
	ck_assert_error(&err, status, fragment);
	ck_assert_error(&err, status, "/config.json\"");
}

/* ---- What is taken --------------------------------------------------------- */

static void
test_standard(void **state)
{
	glm_model_config c = read_with("unknown", "[1, {}]");

	(void) state;
	assert_int_equal(c.layers, 2);
	assert_int_equal(c.hidden, 24);
	assert_int_equal(c.heads, 4);
	assert_int_equal(c.groups, 2);
	assert_int_equal(c.head_dim, 8);
	assert_int_equal(c.ffn, 40);
	assert_int_equal(c.vocab, 1024);
	assert_int_equal(c.context, 64);
	assert_true(c.norm_eps == 1e-5f);
	assert_true(c.rope_base == 10000.0);
	assert_string_equal(c.arch->name, "chatglm");
	assert_int_equal(c.rotary, 4);
	assert_int_equal(c.rotary_style, GLM_ROTARY_PAIRS);
	assert_true(c.final_norm);
	assert_true(c.qkv_bias);
	assert_false(c.tied);
	assert_int_equal(c.n_eos, 1);
	assert_int_equal(c.eos[0], 2);
}

static void
test_variants(void **state)
{
	glm_model_config c;

	(void) state;
	assert_int_equal(read_with("multi_query_group_num", "1").groups, 1);
	assert_int_equal(read_with("multi_query_group_num", "4").groups, 4);
	assert_true(read_with("rope_ratio", "1").rope_base == 10000.0);
	assert_true(read_with("rope_ratio", "1.0").rope_scale == 1.0);
	assert_true(read_with("rope_ratio", "null").rope_base == 10000.0);
	assert_true(read_with("layernorm_epsilon", "1.5625e-07").norm_eps == 1.5625e-07f);
	assert_false(read_with("post_layer_norm", "false").final_norm);
	assert_false(read_with("add_qkv_bias", "false").qkv_bias);
	assert_false(read_with("add_qkv_bias", NULL).qkv_bias);
	assert_true(read_with("tie_word_embeddings", "true").tied);
	assert_int_equal(read_with("quantization_bit", "0").layers, 2);
	assert_int_equal(read_with("pre_seq_len", "null").layers, 2);

	assert_int_equal(read_with("eos_token_id", NULL).eos[0], 2);
	assert_int_equal(read_with("eos_token_id", "1023").eos[0], 1023);
	c = read_with("eos_token_id", "[7, 0, 9]");
	assert_int_equal(c.n_eos, 3);
	assert_int_equal(c.eos[0], 7);
	assert_int_equal(c.eos[1], 0);
	assert_int_equal(c.eos[2], 9);
	assert_int_equal(read_with("eos_token_id", "[1,2,3,4,5,6,7,8]").n_eos, 8);
}

/* As the family publishes them: the keys nobody reads must not matter. */
static void
test_family(void **state)
{
	static const struct
	{
		const char *name;
		int			context;
		const char *rope_ratio; /* NULL: no such key */
		double		base;
		double		scale;
	} family[] = {
		{"THUDM/chatglm2-6b", 32768, NULL, 10000, 1},
		{"THUDM/chatglm2-6b-32k", 32768, "4", 10000, 4},
		{"THUDM/chatglm3-6b", 8192, NULL, 10000, 1},
		{"THUDM/chatglm3-6b-base", 32768, NULL, 10000, 1},
		{"THUDM/chatglm3-6b-32k", 32768, "50", 500000, 1},
		{"THUDM/chatglm3-6b-128k", 131072, "500", 5000000, 1},
		{"THUDM/codegeex2-6b", 8192, "1", 10000, 1},
		{NULL, 8192, "1", 10000, 1},
		/* names become paths when a checkpoint is saved again */
		{"/data/ChatGLM2-6B-32K", 32768, "50", 10000, 50},
		{"/data/ChatGLM3-6B-32K", 32768, "50", 500000, 1},
		{"./chatglm3/half", 32768, "0.5", 5000, 1},
	};
	static const char published[] =
		"{\"architectures\": [\"ChatGLMModel\"], \"auto_map\": {\"AutoModel\": "
		"\"modeling_chatglm\"}, "
		"\"add_bias_linear\": false, \"add_qkv_bias\": true, \"apply_query_key_layer_scaling\": "
		"true, "
		"\"apply_residual_connection_post_layernorm\": false, \"attention_dropout\": 0.0, "
		"\"attention_softmax_in_fp32\": true, \"bias_dropout_fusion\": true, "
		"\"classifier_dropout\": null, \"eos_token_id\": 2, \"ffn_hidden_size\": 13696, "
		"\"fp32_residual_connection\": false, \"hidden_dropout\": 0.0, \"hidden_size\": 4096, "
		"\"interleaved_qkv\": false, \"kv_channels\": 128, \"layernorm_epsilon\": 1e-05, "
		"\"model_type\": \"chatglm\", \"multi_query_attention\": true, "
		"\"multi_query_group_num\": 2, \"num_attention_heads\": 32, \"num_layers\": 28, "
		"\"original_rope\": true, \"pad_token_id\": 0, \"padded_vocab_size\": 65024, "
		"\"post_layer_norm\": true, \"pre_seq_len\": null, \"prefix_projection\": false, "
		"\"quantization_bit\": 0, \"rmsnorm\": true, \"tie_word_embeddings\": false, "
		"\"torch_dtype\": \"float16\", \"transformers_version\": \"4.27.1\", \"use_cache\": true, "
		"\"vocab_size\": 65024}";

	(void) state;
	for (size_t i = 0; i < sizeof(family) / sizeof(family[0]); i++)
	{
		json_t			*config = json_loads(published, 0, NULL);
		glm_model_config c;

		if (family[i].name != NULL)
			json_object_set_new(config, "_name_or_path", json_string(family[i].name));
		json_object_set_new(config, "seq_length", json_integer(family[i].context));
		ck_config_set(config, "rope_ratio", family[i].rope_ratio);
		ck_config_save(config, fx_dir);
		json_decref(config);
		c = read_good(fx_dir);
		assert_int_equal(c.layers, 28);
		assert_int_equal(c.groups, 2);
		assert_int_equal(c.vocab, 65024);
		assert_int_equal(c.context, family[i].context);
		assert_true(c.qkv_bias && c.final_norm && !c.tied);
		assert_true(c.rope_base == family[i].base);
		assert_true(c.rope_scale == family[i].scale);
	}
}

/* The standard configuration with this rope_ratio, and keys that may tell what it means. */
static bool
read_rope(const char *name, const char *auto_map, const char *tokenizer_config, glm_rope rope,
		  glm_model_config *out, glm_error *err)
{
	json_t *config = ck_config();

	ck_config_set(config, "rope_ratio", "50");
	ck_config_set(config, "_name_or_path", name);
	ck_config_set(config, "auto_map", auto_map);
	ck_config_save(config, fx_dir);
	json_decref(config);
	ck_puts(fx_dir, "tokenizer_config.json", tokenizer_config);
	return glm_config_read_with(out, fx_dir, rope, err);
}

static void
test_rope_ratio(void **state)
{
#define HUB(name) "{\"AutoConfig\": \"THUDM/" name "--configuration_chatglm.ChatGLMConfig\"}"
#define NAMED(name) "{\"name_or_path\": \"" name "\"}"
	static const struct
	{
		const char *name;
		const char *auto_map;
		const char *tokenizer_config;
		glm_rope	option;
		int			meant; /* ChatGLM2's, ChatGLM3's; 0: nothing tells */
	} cases[] = {
		{"\"chatglm2-6b-32k\"", NULL, "{}", GLM_ROPE_BY_NAME, 2},
		{"\"/x/CHATGLM3-128K\"", NULL, "{}", GLM_ROPE_BY_NAME, 3},
		{"\"./out\"", HUB("chatglm2-6b-32k"), "{}", GLM_ROPE_BY_NAME, 2},
		{NULL, HUB("chatglm3-6b-32k"), NAMED("chatglm2"), GLM_ROPE_BY_NAME, 3},
		{NULL, "{\"AutoConfig\": \"configuration_chatglm.ChatGLMConfig\"}",
		 NAMED("THUDM/chatglm3-6b"), GLM_ROPE_BY_NAME, 3},
		{"\"/mnt/chatglm2-finetune-of-chatglm3\"", NULL, NAMED("THUDM/chatglm2-6b"),
		 GLM_ROPE_BY_NAME, 2},
		{"\"/mnt/chatglm2-finetune-of-chatglm3\"", NULL, "{}", GLM_ROPE_BY_NAME, 0},
		{"\"./out/merged\"", NULL, "{\"name_or_path\": 7}", GLM_ROPE_BY_NAME, 0},
		{NULL, NULL, "[1", GLM_ROPE_BY_NAME, 0},
		{"7", "[]", "", GLM_ROPE_BY_NAME, 0},
		{"\"codegeex2-6b\"", NULL, "{}", GLM_ROPE_BY_NAME, 0},
		{NULL, NULL, "{}", GLM_ROPE_CHATGLM2, 2},
		{"\"chatglm2\"", NULL, "{}", GLM_ROPE_CHATGLM3, 3},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		glm_model_config c = {0};
		glm_error		 err = {0};
		bool			 ok = read_rope(cases[i].name, cases[i].auto_map, cases[i].tokenizer_config,
										cases[i].option, &c, &err);

		if (ok != (cases[i].meant != 0))
			fail_msg("case %zu: %s", i, ok ? "accepted" : err.message);
		if (ok)
		{
			assert_true(c.rope_base == (cases[i].meant == 3 ? 500000.0 : 10000.0));
			assert_true(c.rope_scale == (cases[i].meant == 2 ? 50.0 : 1.0));
			continue;
		}
		ck_assert_error(&err, GLM_UNSUPPORTED, "rope_ratio is 50, and nothing tells");
		assert_non_null(strstr(err.hint, "\"rope\""));
	}
}

/* Without grouping the rows of query_key_value lie otherwise, but for a single head. */
static void
test_ungrouped(void **state)
{
	json_t			*config = ck_config();
	glm_model_config c;

	(void) state;
	assert_refused_with("multi_query_attention", "false", GLM_UNSUPPORTED, "multi_query_attention");
	assert_refused_with("multi_query_attention", NULL, GLM_UNSUPPORTED, "multi_query_attention");
	assert_refused_with("multi_query_attention", "null", GLM_UNSUPPORTED, "multi_query_attention");
	ck_config_set(config, "num_attention_heads", "1");
	ck_config_set(config, "multi_query_attention", "false");
	ck_config_save(config, fx_dir);
	json_decref(config);
	c = read_good(fx_dir);
	assert_int_equal(c.groups, 1);
}

/* What Python's reader takes does not matter where nobody asks for it. */
static void
test_python_json(void **state)
{
	char	  path[CK_PATH];
	glm_buf	  text = {0};
	glm_error err = {0};

	(void) state;
	read_with("x", "1");
	ck_path(path, fx_dir, "config.json");
	assert_true(glm_file_read(&text, path, 100000, &err));
	text.data[strrchr(text.data, '}') - text.data] = '\0';
	text.length = strlen(text.data);
	glm_buf_puts(&text, ", \"x\": 123456789012345678901, \"y\": NaN, \"z\": [-Infinity, Infinity], "
						"\"hidden_size\": 48}");
	ck_puts(fx_dir, "config.json", text.data);
	assert_int_equal(read_good(fx_dir).hidden, 48);
	glm_buf_free(&text);
	assert_refused_with("num_layers", "\"x\"", GLM_BAD_FILE, "num_layers");
}

static void
test_embedded(void **state)
{
	glm_model_config c = read_good(EMBEDDED);

	(void) state;
	assert_int_equal(c.hidden, 192);
	assert_int_equal(c.groups, 2);
}

static void
test_golden(void **state)
{
	glm_model_config c;
	char			 path[CK_PATH];

	(void) state;
	if (ck_golden() == NULL)
		skip();
	ck_path(path, ck_golden(), "chatglm3-a");
	c = read_good(path);
	assert_int_equal(c.hidden, 96);
	assert_int_equal(c.head_dim, 16);
	ck_path(path, ck_golden(), "chatglm3-b");
	c = read_good(path);
	assert_int_equal(c.hidden, 128);
	assert_int_equal(c.groups, 1);
}

/* ---- What is refused -------------------------------------------------------- */

static void
test_missing_keys(void **state)
{
	static const char *const keys[] = {
		"model_type",		 "num_layers",
		"hidden_size",		 "num_attention_heads",
		"kv_channels",		 "ffn_hidden_size",
		"padded_vocab_size", "seq_length",
		"layernorm_epsilon", "multi_query_group_num",
	};

	(void) state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
	{
		char fragment[64];

		snprintf(fragment, sizeof(fragment), "has no key \"%s\"", keys[i]);
		assert_refused_with(keys[i], NULL, GLM_BAD_FILE, fragment);
		assert_refused_with(keys[i], "null", GLM_BAD_FILE, fragment);
	}
}

static void
test_bad_values(void **state)
{
	static const struct
	{
		const char *key;
		const char *json;
	} bad[] = {
		{"num_layers", "0"},
		{"num_layers", "1025"},
		{"num_layers", "-1"},
		{"num_layers", "2.0"},
		{"num_layers", "\"2\""},
		{"num_layers", "true"},
		{"num_layers", "4294967298"},
		{"num_layers", "9223372036854775807"},
		{"hidden_size", "0"},
		{"hidden_size", "65537"},
		{"hidden_size", "[24]"},
		{"num_attention_heads", "0"},
		{"num_attention_heads", "3"},
		{"num_attention_heads", "4097"},
		{"kv_channels", "0"},
		{"kv_channels", "6"},
		{"kv_channels", "1028"},
		{"multi_query_group_num", "0"},
		{"multi_query_group_num", "3"},
		{"multi_query_group_num", "8"},
		{"multi_query_attention", "1"},
		{"ffn_hidden_size", "-40"},
		{"ffn_hidden_size", "1048577"},
		{"padded_vocab_size", "0"},
		{"padded_vocab_size", "4194305"},
		{"seq_length", "0"},
		{"seq_length", "1048577"},
		{"layernorm_epsilon", "0"},
		{"layernorm_epsilon", "-1e-5"},
		{"layernorm_epsilon", "2"},
		{"layernorm_epsilon", "\"1e-5\""},
		{"rope_ratio", "0"},
		{"rope_ratio", "-1"},
		{"rope_ratio", "1e10"},
		{"rope_ratio", "true"},
		{"post_layer_norm", "1"},
		{"add_qkv_bias", "\"true\""},
		{"tie_word_embeddings", "0"},
		{"rmsnorm", "\"yes\""},
		{"eos_token_id", "-1"},
		{"eos_token_id", "1024"},
		{"eos_token_id", "2.0"},
		{"eos_token_id", "\"</s>\""},
		{"eos_token_id", "[]"},
		{"eos_token_id", "[1, -2]"},
		{"eos_token_id", "[1, [2]]"},
		{"eos_token_id", "[1,2,3,4,5,6,7,8,9]"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused_with(bad[i].key, bad[i].json, GLM_BAD_FILE, bad[i].key);
}

/* Each number in range, their product not. */
static void
test_products(void **state)
{
	json_t			*config = ck_config();
	glm_model_config out;
	glm_error		 err = {0};

	(void) state;
	ck_config_set(config, "num_attention_heads", "4096");
	ck_config_set(config, "kv_channels", "1024");
	ck_config_save(config, fx_dir);
	assert_false(glm_config_read(&out, fx_dir, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "num_attention_heads 4096 times kv_channels 1024");

	ck_config_set(config, "num_attention_heads", "4");
	ck_config_set(config, "seq_length", "1048576");
	ck_config_save(config, fx_dir);
	assert_false(glm_config_read(&out, fx_dir, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "seq_length 1048576 times kv_channels 1024");
	json_decref(config);
}

static void
test_unsupported(void **state)
{
	static const struct
	{
		const char *key;
		const char *json;
	} bad[] = {
		{"model_type", "\"llama\""},
		{"model_type", "\"glm4\""},
		{"model_type", "7"},
		{"rmsnorm", "false"},
		{"original_rope", "false"},
		{"add_bias_linear", "true"},
		{"apply_residual_connection_post_layernorm", "true"},
		{"quantization_bit", "4"},
		{"quantization_config", "{}"},
		{"pre_seq_len", "128"},
		{"position_encoding_2d", "true"},
		{"rope_scaling", "{\"type\": \"linear\"}"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused_with(bad[i].key, bad[i].json, GLM_UNSUPPORTED, bad[i].key);
	assert_refused_with("model_type", "\"llama\"", GLM_UNSUPPORTED, "\"llama\"");
}

static void
test_bad_files(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"null",
		"\"chatglm\"",
		"{\"model_type\": \"chatglm\"} x",
		"{\"model_type\": \"chatglm\", \"model_type\": \"chatglm\"}",
	};
	glm_model_config out;
	glm_error		 err = {0};

	(void) state;
	assert_false(glm_config_read(&out, fx_dir, &err));
	ck_assert_error(&err, GLM_NO_FILE, "/config.json\": No such file");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		ck_puts(fx_dir, "config.json", bad[i]);
		memset(&err, 0, sizeof(err));
		assert_false(glm_config_read(&out, fx_dir, &err));
		ck_assert_error(&err, GLM_BAD_FILE, "/config.json\" has");
	}
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fx_open_dir, fx_close_dir)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_standard),   CASE(test_variants),	 CASE(test_family),
		CASE(test_rope_ratio), CASE(test_ungrouped), CASE(test_python_json),
		CASE(test_embedded),   CASE(test_golden),	 CASE(test_missing_keys),
		CASE(test_bad_values), CASE(test_products),	 CASE(test_unsupported),
		CASE(test_bad_files),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
