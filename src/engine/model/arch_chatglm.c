/*
 * arch_chatglm.c - ChatGLM2 and ChatGLM3 as they were published: config.json and tensors.
 *
 * The keys are those of the published code, and so are the defaults of keys that may
 * be left out; null means left out.  Three tables say it all: numbers with their
 * ranges, switches that must stand where our forward pass has them, and features that
 * must not be used.  A model that would run but answer wrongly is refused here, never
 * recognised by its directory's name, but for what rope_ratio means (see there).
 *
 * Ranges are generous for models and small enough that rows and columns of
 * every tensor fit an int and no table built from them is absurd; elements of a
 * matrix are counted in 64 bits (vocab * hidden may reach 2^38).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/model/arch.h"

#define MAX_PROJECTION 65536 /* heads * head_dim */
#define MAX_ROPE (1 << 28)	 /* context * head_dim: 512 MB of cos and sin */
#define MAX_EOS ((int) (sizeof(((glm_model_config *) 0)->eos) / sizeof(int32_t)))

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

/* ---- Parts of a configuration ------------------------------------------ */

/* Is it a variant that we run? */
static bool
check_variant(const glm_config_reader *r)
{
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++)
	{
		const char *key = switches[i].key;
		bool		on;

		if (!glm_config_switch(r, key, switches[i].standard, &on))
			return false;
		if (on != switches[i].wanted)
			return glm_fail(r->err, GLM_UNSUPPORTED, "\"%s\": %s = %s is not supported", r->path,
							key, on ? "true" : "false");
	}

	for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++)
	{
		json_t *value = glm_config_get(r, unsupported[i]);

		if (value != NULL && !json_is_false(value) &&
			!(json_is_integer(value) && json_integer_value(value) == 0))
			return glm_fail(r->err, GLM_UNSUPPORTED, "\"%s\": models with %s are not supported",
							r->path, unsupported[i]);
	}
	return true;
}

static bool
read_shape(const glm_config_reader *r, glm_model_config *config)
{
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
	{
		int *field = (int *) ((char *) config + numbers[i].offset);

		if (!glm_config_number(r, numbers[i].key, numbers[i].min, numbers[i].max, field))
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
read_groups(const glm_config_reader *r, glm_model_config *config)
{
	bool grouped;

	if (!glm_config_switch(r, "multi_query_attention", false, &grouped))
		return false;
	if (!grouped)
	{
		config->groups = config->heads;
		return config->heads == 1 || glm_fail(r->err, GLM_UNSUPPORTED,
											  "\"%s\": models without multi_query_attention are "
											  "not supported",
											  r->path);
	}
	if (!glm_config_number(r, "multi_query_group_num", 1, config->heads, &config->groups))
		return false;
	if (config->heads % config->groups != 0)
		return glm_fail(r->err, GLM_BAD_FILE,
						"\"%s\": num_attention_heads %d is not a multiple of "
						"multi_query_group_num %d",
						r->path, config->heads, config->groups);
	return true;
}

/* ---- RoPE ---------------------------------------------------------------- */

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
rope_of_tokenizer(const glm_config_reader *r)
{
	glm_rope	 rope = GLM_ROPE_BY_NAME;
	glm_error	 none;
	glm_buf		 text = {0};
	json_error_t why;
	json_t		*root = NULL;
	char		*path;

	if (asprintf(&path, "%s/tokenizer_config.json", r->dir) < 0)
		return rope;
	if (glm_file_read(&text, path, GLM_CONFIG_LIMIT, &none))
		root = glm_json_parse(text.data ? text.data : "", text.length, true, &why);
	rope = rope_of(json_object_get(root, "name_or_path"));
	json_decref(root);
	glm_buf_free(&text);
	free(path);
	return rope;
}

static bool
read_rope(const glm_config_reader *r, glm_model_config *config)
{
	glm_rope rope = r->rope;
	double	 ratio = 1.0;

	if (!glm_config_real(r, "rope_ratio", 1e9, &ratio))
		return false;
	config->rotary = config->head_dim / 2;
	config->rotary_style = GLM_ROTARY_PAIRS;
	config->rope_base = 10000.0;
	config->rope_scale = 1.0;
	if (ratio == 1.0)
		return true;
	if (rope == GLM_ROPE_BY_NAME)
		rope = rope_of(glm_config_get(r, "_name_or_path"));
	if (rope == GLM_ROPE_BY_NAME)
		rope = rope_of(glm_config_get(r, "auto_map"));
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
read_reals(const glm_config_reader *r, glm_model_config *config)
{
	double eps;

	if (glm_config_get(r, "layernorm_epsilon") == NULL)
		return glm_config_missing(r, "layernorm_epsilon");
	if (!glm_config_real(r, "layernorm_epsilon", 1.0, &eps))
		return false;
	config->norm_eps = (float) eps;
	return read_rope(r, config);
}

/* A number, a list of numbers, or left out: then it is 2, as published. */
static bool
read_eos(const glm_config_reader *r, glm_model_config *config)
{
	json_t *value = glm_config_get(r, "eos_token_id");
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

static bool
match_chatglm(const glm_config_reader *r)
{
	const char *type = glm_json_text(glm_config_get(r, "model_type"));

	return type != NULL && strcmp(type, "chatglm") == 0;
}

static bool
read_chatglm(const glm_config_reader *r, glm_model_config *config)
{
	return check_variant(r) && read_shape(r, config) && read_groups(r, config) &&
		   read_reals(r, config) && read_eos(r, config) &&
		   glm_config_switch(r, "post_layer_norm", true, &config->final_norm) &&
		   glm_config_switch(r, "add_qkv_bias", false, &config->qkv_bias) &&
		   glm_config_switch(r, "tie_word_embeddings", false, &config->tied);
}

/* ---- Tensors ------------------------------------------------------------- */

#define EMBEDDING "transformer.embedding.word_embeddings.weight"

/* Adds a tensor of a layer, or, without one, of an end; `name` is what follows. */
static bool
add_named(glm_tensor_list *list, glm_tensor_entry entry, const char *name, glm_error *err)
{
	if (entry.layer == GLM_NO_LAYER)
		snprintf(entry.name, sizeof(entry.name), "transformer.%s", name);
	else
		snprintf(entry.name, sizeof(entry.name), "transformer.encoder.layers.%d.%s", entry.layer,
				 name);
	return glm_tensor_list_add(list, &entry, err);
}

static bool
add_norm(glm_tensor_list *list, glm_norm norm, int layer, int n, const char *name, glm_error *err)
{
	return add_named(
		list, (glm_tensor_entry){.use = GLM_USE_NORM, .norm = norm, .layer = layer, .rows = n},
		name, err);
}

static bool
add_matrix(glm_tensor_list *list, glm_projection projection, int layer, int rows, int cols,
		   const char *name, glm_error *err)
{
	return add_named(list,
					 (glm_tensor_entry){.use = GLM_USE_MATRIX,
										.projection = projection,
										.layer = layer,
										.rows = rows,
										.cols = cols},
					 name, err);
}

/* Tensors that would change the answers, were they left out. */
static bool
add_refused(glm_tensor_list *list, int layer, const char *name, glm_status status,
			const char *fault, glm_error *err)
{
	glm_tensor_entry entry = {.use = GLM_USE_NONE, .layer = layer, .status = status};

	snprintf(entry.fault, sizeof(entry.fault), "%s", fault);
	return add_named(list, entry, name, err);
}

static bool
add_bias(const glm_model_config *c, glm_tensor_list *list, int layer, int rows, glm_error *err)
{
	static const char name[] = "self_attention.query_key_value.bias";

	if (!c->qkv_bias)
		return add_refused(list, layer, name, GLM_BAD_FILE,
						   "contradicts add_qkv_bias of config.json", err);
	return add_named(list,
					 (glm_tensor_entry){
						 .use = GLM_USE_BIAS, .projection = GLM_QKV, .layer = layer, .rows = rows},
					 name, err);
}

static bool
add_layer(const glm_model_config *c, glm_tensor_list *list, int l, glm_error *err)
{
	static const char *const biases[] = {
		"self_attention.dense.bias", "mlp.dense_h_to_4h.bias",		  "mlp.dense_4h_to_h.bias",
		"input_layernorm.bias",		 "post_attention_layernorm.bias",
	};
	int	 query = c->heads * c->head_dim;
	int	 qkv = query + 2 * c->groups * c->head_dim;
	bool ok =
		add_norm(list, GLM_ATTN_NORM, l, c->hidden, "input_layernorm.weight", err) &&
		add_matrix(list, GLM_QKV, l, qkv, c->hidden, "self_attention.query_key_value.weight",
				   err) &&
		add_bias(c, list, l, qkv, err) &&
		add_matrix(list, GLM_DENSE, l, c->hidden, query, "self_attention.dense.weight", err) &&
		add_norm(list, GLM_FFN_NORM, l, c->hidden, "post_attention_layernorm.weight", err) &&
		add_matrix(list, GLM_GATE_UP, l, 2 * c->ffn, c->hidden, "mlp.dense_h_to_4h.weight", err) &&
		add_matrix(list, GLM_DOWN, l, c->hidden, c->ffn, "mlp.dense_4h_to_h.weight", err);

	for (size_t i = 0; ok && i < sizeof(biases) / sizeof(biases[0]); i++)
		ok = add_refused(list, l, biases[i], GLM_UNSUPPORTED,
						 "is a bias of a kind that is not supported", err);
	return ok;
}

static bool
list_chatglm(const glm_model_config *c, glm_tensor_list *list, glm_error *err)
{
	glm_tensor_entry head = {.use = GLM_USE_MATRIX,
							 .projection = GLM_HEAD,
							 .layer = GLM_NO_LAYER,
							 .rows = c->vocab,
							 .cols = c->hidden,
							 .optional = c->tied,
							 .instead = EMBEDDING};
	char			 surplus[64];

	snprintf(surplus, sizeof(surplus), "contradicts num_layers %d of config.json", c->layers);
	if (!add_matrix(list, GLM_EMBEDDING, GLM_NO_LAYER, c->vocab, c->hidden,
					"embedding.word_embeddings.weight", err))
		return false;
	for (int l = 0; l < c->layers; l++)
		if (!add_layer(c, list, l, err))
			return false;
	return add_refused(list, c->layers, "input_layernorm.weight", GLM_BAD_FILE, surplus, err) &&
		   (!c->final_norm || add_norm(list, GLM_FINAL_NORM, GLM_NO_LAYER, c->hidden,
									   "encoder.final_layernorm.weight", err)) &&
		   add_named(list, head, "output_layer.weight", err);
}

const glm_arch glm_arch_chatglm = {
	.name = "chatglm",
	.match = match_chatglm,
	.read_config = read_chatglm,
	.list_tensors = list_chatglm,
};
