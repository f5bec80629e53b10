/*
 * config.c - config.json of a model directory: what the model is.
 *
 * The keys are those of the published ChatGLM2/3 code, and so are the defaults
 * of keys that may be left out; null means left out.  Three tables say it all:
 * numbers with their ranges, switches that must stand where our forward pass
 * has them, and features that must not be used.  A model that would run but
 * answer wrongly is refused here, never recognised by its directory's name, but
 * for what rope_ratio means (see there).
 *
 * Ranges are generous for models and small enough that rows and columns of
 * every tensor fit an int and no table built from them is absurd; elements of a
 * matrix are counted in 64 bits (vocab * hidden may reach 2^38).
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/file.h"
#include "engine/model/model.h"

#define CONFIG_LIMIT ((size_t) 1 << 20)

#define MAX_PROJECTION 65536 /* heads * head_dim */
#define MAX_ROPE (1 << 28)	 /* context * head_dim: 512 MB of cos and sin */
#define MAX_EOS ((int) (sizeof(((glm_model_config *) 0)->eos) / sizeof(int32_t)))

/* What the functions below read, and where they report. */
typedef struct reader
{
	const char *dir;
	const char *path; /* of config.json */
	json_t	   *root;
	glm_rope	rope; /* as the caller says */
	glm_error  *err;
} reader;

/* Whole numbers that must be there. */
static const struct
{
	const char *key;
	size_t		offset;
	int			min;
	int			max;
} numbers[] = {
	{"num_layers", offsetof(glm_model_config, layers), 1, 1024},
	{"hidden_size", offsetof(glm_model_config, hidden), 1, 65536},
	{"num_attention_heads", offsetof(glm_model_config, heads), 1, 4096},
	{"kv_channels", offsetof(glm_model_config, head_dim), 4, 1024},
	{"ffn_hidden_size", offsetof(glm_model_config, ffn), 1, 1 << 20},
	{"padded_vocab_size", offsetof(glm_model_config, vocab), 1, 1 << 22},
	{"seq_length", offsetof(glm_model_config, context), 1, 1 << 20},
};

/* Switches of which we run one position. */
static const struct
{
	const char *key;
	bool		standard; /* when it is left out */
	bool		wanted;
} switches[] = {
	{"rmsnorm", true, true},
	{"original_rope", true, true},
	{"add_bias_linear", false, false},
	{"apply_residual_connection_post_layernorm", false, false},
};

/* Features that must be absent, null, false or 0. */
static const char *const unsupported[] = {
	"position_encoding_2d",				   /* the first ChatGLM-6B */
	"quantization_bit",					   /* ChatGLM's own int4 and int8 files */
	"quantization_config",	"pre_seq_len", /* P-tuning prefix */
	"rope_scaling",
};

static json_t *read_file(const reader *r, const char *path);
static bool	   check_variant(const reader *r);
static bool	   read_shape(const reader *r, glm_model_config *config);
static bool	   read_groups(const reader *r, glm_model_config *config);
static bool	   read_reals(const reader *r, glm_model_config *config);
static bool	   read_eos(const reader *r, glm_model_config *config);
static json_t *get(const reader *r, const char *key);
static bool	   missing(const reader *r, const char *key);
static bool	   get_switch(const reader *r, const char *key, bool standard, bool *out);
static bool	   get_number(const reader *r, const char *key, int min, int max, int *out);
static bool	   get_real(const reader *r, const char *key, double max, double *out);

bool
glm_config_read(glm_model_config *config, const char *dir, glm_error *err)
{
	return glm_config_read_with(config, dir, GLM_ROPE_BY_NAME, err);
}

bool
glm_config_read_with(glm_model_config *config, const char *dir, glm_rope rope, glm_error *err)
{
	reader r = {.dir = dir, .rope = rope, .err = err};
	char  *path;
	bool   ok = false;

	memset(config, 0, sizeof(*config));
	if (asprintf(&path, "%s/config.json", dir) < 0)
		return glm_no_memory(err);
	r.path = path;
	r.root = read_file(&r, path);
	if (r.root != NULL)
		ok = check_variant(&r) && read_shape(&r, config) && read_groups(&r, config) &&
			 read_reals(&r, config) && read_eos(&r, config) &&
			 get_switch(&r, "post_layer_norm", true, &config->final_norm) &&
			 get_switch(&r, "add_qkv_bias", false, &config->qkv_bias) &&
			 get_switch(&r, "tie_word_embeddings", false, &config->tied);
	json_decref(r.root);
	free(path);
	return ok;
}

/*
 * Python wrote the file, so it is read as Python reads it: whole numbers of any
 * size, NaN, the last of keys that come twice.  Whoever wants such a value finds
 * that it is no number of his.
 */
static json_t *
read_file(const reader *r, const char *path)
{
	glm_buf		 text = {0};
	json_error_t why = {.line = 0};
	json_t		*root = NULL;

	if (!glm_file_read(&text, path, CONFIG_LIMIT, r->err))
	{
		glm_buf_free(&text);
		return NULL;
	}
	root = glm_json_parse(text.data ? text.data : "", text.length, true, &why);
	glm_buf_free(&text);
	if (root == NULL)
		glm_fail(r->err, GLM_BAD_FILE, "file \"%s\" has invalid JSON at line %d: %s", path,
				 why.line, why.text);
	else if (!json_is_object(root))
	{
		glm_fail(r->err, GLM_BAD_FILE, "file \"%s\" has JSON that is not an object", path);
		json_decref(root);
		root = NULL;
	}
	return root;
}

/* ---- Parts of a configuration ------------------------------------------ */

/* Is it an architecture we run at all? */
static bool
check_variant(const reader *r)
{
	json_t *type = get(r, "model_type");

	if (type == NULL)
		return missing(r, "model_type");
	if (!json_is_string(type) || strcmp(json_string_value(type), "chatglm") != 0)
		return glm_fail(r->err, GLM_UNSUPPORTED,
						"\"%s\": model_type \"%.60s\" is not supported, "
						"only \"chatglm\"",
						r->path, json_is_string(type) ? json_string_value(type) : "?");

	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++)
	{
		const char *key = switches[i].key;
		bool		on;

		if (!get_switch(r, key, switches[i].standard, &on))
			return false;
		if (on != switches[i].wanted)
			return glm_fail(r->err, GLM_UNSUPPORTED, "\"%s\": %s = %s is not supported", r->path,
							key, on ? "true" : "false");
	}

	for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++)
	{
		json_t *value = get(r, unsupported[i]);

		if (value != NULL && !json_is_false(value) &&
			!(json_is_integer(value) && json_integer_value(value) == 0))
			return glm_fail(r->err, GLM_UNSUPPORTED, "\"%s\": models with %s are not supported",
							r->path, unsupported[i]);
	}
	return true;
}

static bool
read_shape(const reader *r, glm_model_config *config)
{
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
	{
		int *field = (int *) ((char *) config + numbers[i].offset);

		if (!get_number(r, numbers[i].key, numbers[i].min, numbers[i].max, field))
			return false;
	}

	/* RoPE turns pairs in the first half of a head */
	if (config->head_dim % 4 != 0)
		return glm_fail(r->err, GLM_BAD_FILE, "\"%s\": kv_channels %d is not a multiple of 4",
						r->path, config->head_dim);
	if (config->heads * config->head_dim > MAX_PROJECTION)
		return glm_fail(r->err, GLM_BAD_FILE,
						"\"%s\": num_attention_heads %d times kv_channels %d "
						"is more than %d",
						r->path, config->heads, config->head_dim, MAX_PROJECTION);
	if (config->context > MAX_ROPE / config->head_dim)
		return glm_fail(r->err, GLM_BAD_FILE,
						"\"%s\": seq_length %d times kv_channels %d "
						"is more than %d",
						r->path, config->context, config->head_dim, MAX_ROPE);
	return true;
}

/*
 * Without multi_query_attention the published code takes the rows of
 * query_key_value head by head, the query, key and value of one before those of the
 * next; ours are in the order of grouped attention, all queries first.
 */
static bool
read_groups(const reader *r, glm_model_config *config)
{
	bool grouped;

	if (!get_switch(r, "multi_query_attention", false, &grouped))
		return false;
	if (!grouped)
	{
		config->groups = config->heads;
		return config->heads == 1 || glm_fail(r->err, GLM_UNSUPPORTED,
											  "\"%s\": models without multi_query_attention are "
											  "not supported",
											  r->path);
	}
	if (!get_number(r, "multi_query_group_num", 1, config->heads, &config->groups))
		return false;
	if (config->heads % config->groups != 0)
		return glm_fail(r->err, GLM_BAD_FILE,
						"\"%s\": num_attention_heads %d is not a multiple of "
						"multi_query_group_num %d",
						r->path, config->heads, config->groups);
	return true;
}

/* ---- RoPE ---------------------------------------------------------------- */

bool
glm_rope_named(const char *name, glm_rope *rope)
{
	bool two = name != NULL && strcmp(name, "chatglm2") == 0;
	bool three = name != NULL && strcmp(name, "chatglm3") == 0;

	if (two || three)
		*rope = two ? GLM_ROPE_CHATGLM2 : GLM_ROPE_CHATGLM3;
	return two || three;
}

/*
 * ChatGLM2 and ChatGLM3 mean different things by rope_ratio: the one divides
 * positions by it, the other multiplies the base.  Nothing but the name under
 * which a checkpoint was published tells them apart.  It stands in _name_or_path,
 * until save_pretrained() puts a local path there or leaves the key out; before
 * "--" in auto_map; and in tokenizer_config.json.  A name that is both tells
 * nothing, and where nothing tells, the user has to.
 */
static void
look_for_names(json_t *value, bool *two, bool *three)
{
	const char *text = glm_json_text(value);

	if (text == NULL)
		return;
	*two = *two || strcasestr(text, "chatglm2") != NULL;
	*three = *three || strcasestr(text, "chatglm3") != NULL;
}

static glm_rope
rope_of(json_t *value)
{
	bool		two = false;
	bool		three = false;
	const char *key;
	json_t	   *item;

	look_for_names(value, &two, &three);
	json_object_foreach(value, key, item)
		look_for_names(item, &two, &three);
	return two == three ? GLM_ROPE_BY_NAME : two ? GLM_ROPE_CHATGLM2 : GLM_ROPE_CHATGLM3;
}

/* The name in tokenizer_config.json, should there be any. */
static glm_rope
rope_of_tokenizer(const reader *r)
{
	glm_rope	 rope = GLM_ROPE_BY_NAME;
	glm_error	 none;
	glm_buf		 text = {0};
	json_error_t why;
	json_t		*root = NULL;
	char		*path;

	if (asprintf(&path, "%s/tokenizer_config.json", r->dir) < 0)
		return rope;
	if (glm_file_read(&text, path, CONFIG_LIMIT, &none))
		root = glm_json_parse(text.data ? text.data : "", text.length, true, &why);
	rope = rope_of(json_object_get(root, "name_or_path"));
	json_decref(root);
	glm_buf_free(&text);
	free(path);
	return rope;
}

static bool
read_rope(const reader *r, glm_model_config *config)
{
	glm_rope rope = r->rope;
	double	 ratio = 1.0;

	if (!get_real(r, "rope_ratio", 1e9, &ratio))
		return false;
	config->rope_base = 10000.0;
	config->rope_scale = 1.0;
	if (ratio == 1.0)
		return true;
	if (rope == GLM_ROPE_BY_NAME)
		rope = rope_of(get(r, "_name_or_path"));
	if (rope == GLM_ROPE_BY_NAME)
		rope = rope_of(get(r, "auto_map"));
	if (rope == GLM_ROPE_BY_NAME)
		rope = rope_of_tokenizer(r);
	switch (rope)
	{
		case GLM_ROPE_CHATGLM2:
			config->rope_scale = ratio;
			return true;
		case GLM_ROPE_CHATGLM3:
			config->rope_base *= ratio;
			return true;
		case GLM_ROPE_BY_NAME:
			break;
	}
	glm_fail(r->err, GLM_UNSUPPORTED,
			 "\"%s\": rope_ratio is %g, and nothing tells whether as "
			 "ChatGLM2 or as ChatGLM3 means it",
			 r->path, ratio);
	glm_hint(r->err,
			 "Load the model with the option \"rope\", which is \"chatglm2\" or \"chatglm3\".");
	return false;
}

static bool
read_reals(const reader *r, glm_model_config *config)
{
	double eps;

	if (get(r, "layernorm_epsilon") == NULL)
		return missing(r, "layernorm_epsilon");
	if (!get_real(r, "layernorm_epsilon", 1.0, &eps))
		return false;
	config->norm_eps = (float) eps;
	return read_rope(r, config);
}

/* A number, a list of numbers, or left out: then it is 2, as published. */
static bool
read_eos(const reader *r, glm_model_config *config)
{
	json_t *value = get(r, "eos_token_id");
	size_t	n = json_is_array(value) ? json_array_size(value) : 1;

	config->eos[0] = 2;
	config->n_eos = 1;
	if (value == NULL)
		return true;
	if (n < 1 || n > (size_t) MAX_EOS)
		return glm_fail(r->err, GLM_BAD_FILE, "\"%s\": eos_token_id has %zu ids, not 1 to %d",
						r->path, n, MAX_EOS);
	for (size_t i = 0; i < n; i++)
	{
		json_t *id = json_is_array(value) ? json_array_get(value, i) : value;

		if (!json_is_integer(id) || json_integer_value(id) < 0 ||
			json_integer_value(id) >= config->vocab)
			return glm_fail(r->err, GLM_BAD_FILE,
							"\"%s\": eos_token_id is not an id below "
							"padded_vocab_size %d",
							r->path, config->vocab);
		config->eos[i] = (int32_t) json_integer_value(id);
	}
	config->n_eos = (int) n;
	return true;
}

/* ---- Values ------------------------------------------------------------ */

/* NULL when the key is left out or null. */
static json_t *
get(const reader *r, const char *key)
{
	json_t *value = json_object_get(r->root, key);

	return json_is_null(value) ? NULL : value;
}

static bool
missing(const reader *r, const char *key)
{
	return glm_fail(r->err, GLM_BAD_FILE, "\"%s\" has no key \"%s\"", r->path, key);
}

static bool
get_switch(const reader *r, const char *key, bool standard, bool *out)
{
	json_t *value = get(r, key);

	*out = value ? json_is_true(value) : standard;
	if (value != NULL && !json_is_boolean(value))
		return glm_fail(r->err, GLM_BAD_FILE, "\"%s\": %s is neither true nor false", r->path, key);
	return true;
}

static bool
get_number(const reader *r, const char *key, int min, int max, int *out)
{
	json_t	  *value = get(r, key);
	json_int_t n = json_integer_value(value);

	if (value == NULL)
		return missing(r, key);
	if (!json_is_integer(value) || n < min || n > max)
		return glm_fail(r->err, GLM_BAD_FILE, "\"%s\": %s is not a whole number from %d to %d",
						r->path, key, min, max);
	*out = (int) n;
	return true;
}

/* A number above 0 and at most max; *out stays when the key is left out. */
static bool
get_real(const reader *r, const char *key, double max, double *out)
{
	json_t *value = get(r, key);
	double	x = json_number_value(value);

	if (value == NULL)
		return true;
	if (!json_is_number(value) || !(x > 0) || x > max)
		return glm_fail(r->err, GLM_BAD_FILE, "\"%s\": %s is not a number above 0 and at most %g",
						r->path, key, max);
	*out = x;
	return true;
}
