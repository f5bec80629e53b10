/*
 * model.c - a model directory opened: config, weights and tokenizer together.
 *
 * Matrices are not touched: a glm_tensor is an address in a weight file, whose
 * bytes come in when the part it belongs to is touched for the first time.  What
 * is small and read in every step - norms, biases, the RoPE table - becomes fp32
 * in memory of the model, and is checked for NaN and infinity, which in a norm
 * would spoil every token.  Opening costs what these cost, whatever the size of
 * the weights.
 *
 * Parts.  Each layer is one, the embedding and the output head two more.  A part
 * names all tensors it was read from, vectors too: touching it holds their
 * chunks and thereby verifies them, so that a model whose every part was touched
 * is one whose every byte that counts was.
 *
 * The names are those of the published ChatGLM2/3 checkpoints.  A checkpoint
 * with more than its config.json announces (further layers, biases) is refused:
 * it would run and answer wrongly.
 *
 * A model is immutable once opened, except for the bookkeeping fields, which
 * belong to models.c and its lock, and for what parts are resident, which
 * belongs to the one thread that touches them: the loader that holds it all
 * (loader.c) before the first pass, which then finds everything in place.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/half.h"
#include "engine/model/kv_layout.h"
#include "engine/weights/packed.h"

#define NAME_SIZE 128 /* of a tensor; ours are all shorter */

#define EMBEDDING "transformer.embedding.word_embeddings.weight"
#define FINAL_NORM "transformer.encoder.final_layernorm.weight"
#define OUTPUT "transformer.output_layer.weight"

#define ROPE_SLICE 1024 /* positions between two pauses */

/* A layer has most: four matrices, two norms, a bias. */
#define PART_TENSORS 8

typedef struct glm_model_part
{
	glm_tensor tensor[PART_TENSORS];
	int		   n;
	bool	   resident; /* all of them are held */
} glm_model_part;

static bool open_weights(glm_model *model, glm_error *err);
static bool bind_ends(glm_model *model, glm_error *err);
static bool bind_layer(glm_model *model, int number, glm_error *err);
static bool bind_bias(glm_model *model, int number, glm_error *err);
static bool check_surplus(const glm_model *model, glm_error *err);
static bool make_rope(glm_model *model, glm_error *err);

static double
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

/* ---- Entry points ------------------------------------------------------ */

glm_model *
glm_model_open(const char *name, const char *path, glm_error *err)
{
	return glm_model_open_with(name, path, NULL, err);
}

glm_model *
glm_model_open_with(const char *name, const char *path, const glm_open_options *options,
					glm_error *err)
{
	double	   start = now_ms();
	glm_model *model = calloc(1, sizeof(*model));

	if (model == NULL || (model->name = strdup(name)) == NULL ||
		(model->path = strdup(path)) == NULL)
	{
		glm_no_memory(err);
		goto fail;
	}
	if (options != NULL)
		model->rope_option = options->rope;
	if (!glm_config_read_with(&model->config, path, model->rope_option, err))
		goto fail;
	model->shards = glm_shards_open(path, options != NULL ? &options->weights : NULL, err);
	if (model->shards == NULL || !open_weights(model, err))
		goto fail;
	model->tokenizer = glm_tokenizer_open(path, model->config.vocab, err);
	if (model->tokenizer == NULL || !make_rope(model, err))
		goto fail;
	model->chat = glm_chat_choose(model->tokenizer, err);
	if (model->chat == NULL)
		goto fail;
	model->kv_dtype = glm_kv_dtype(options != NULL ? options->kv_type : GLM_KV_AUTO, model->dtype);
	model->kv_block_bytes = glm_kv_block_bytes(&model->config, model->kv_dtype);
	model->load_ms = now_ms() - start;
	return model;

fail:
	glm_model_close(model);
	return NULL;
}

/* Takes NULL and what glm_model_open left half done. */
void
glm_model_close(glm_model *model)
{
	if (model == NULL)
		return;
	for (int i = 0; model->layer != NULL && i < model->config.layers; i++)
	{
		free(model->layer[i].attn_norm);
		free(model->layer[i].qkv_bias);
		free(model->layer[i].ffn_norm);
	}
	free(model->layer);
	if (model->part != NULL)
	{
		for (int i = GLM_PART_OUTPUT; i < model->config.layers; i++)
			glm_model_release(model, i);
		free(model->part);
	}
	free(model->final_norm);
	free(model->rope);
	if (model->tokenizer != NULL)
		glm_tokenizer_close(model->tokenizer);
	glm_shards_close(model->shards);
	free(model->path);
	free(model->name);
	free(model);
}

/* ---- Parts -------------------------------------------------------------- */

/* The two parts that are no layers come first. */
static glm_model_part *
part_of(const glm_model *model, int number)
{
	return &model->part[number - GLM_PART_OUTPUT];
}

static void
drop_tensors(const glm_model *model, const glm_model_part *part, int n)
{
	for (int i = 0; i < n; i++)
		glm_shards_drop(model->shards, &part->tensor[i]);
}

bool
glm_model_touch(const glm_model *model, int number, glm_error *err)
{
	glm_model_part *part;

	if (model->part == NULL) /* weights that are in no file, as in tests */
		return true;
	part = part_of(model, number);
	if (part->resident)
		return true;
	/* a pass begins here and needs every chunk: several threads check them sooner than one */
	if (number == GLM_PART_EMBEDDING && !glm_shards_verify(model->shards, err))
		return false;
	for (int i = 0; i < part->n; i++)
	{
		if (!glm_shards_hold(model->shards, &part->tensor[i], err))
		{
			drop_tensors(model, part, i);
			return false;
		}
	}
	part->resident = true;
	return true;
}

static bool
populate_part(const glm_model *model, int number, glm_error *err)
{
	const glm_model_part *part = part_of(model, number);

	for (int i = 0; i < part->n; i++)
	{
		if (!glm_shards_populate(model->shards, &part->tensor[i], err))
			return false;
	}
	return true;
}

bool
glm_model_hold(glm_model *model, glm_error *err)
{
	for (int i = 0; model->part != NULL && i < model->config.layers - GLM_PART_OUTPUT; i++)
	{
		/* as a pass reads them: the embedding first, the head last */
		int number = i == 0						 ? GLM_PART_EMBEDDING
					 : i <= model->config.layers ? i - 1
												 : GLM_PART_OUTPUT;

		if (!(glm_model_held(model) ? populate_part(model, number, err)
									: glm_model_touch(model, number, err)) ||
			!glm_pause(err))
			return false;
	}
	atomic_store(&model->held, true);
	return true;
}

bool
glm_model_held(const glm_model *model)
{
	return atomic_load(&model->held);
}

void
glm_model_release(const glm_model *model, int number)
{
	glm_model_part *part = part_of(model, number);

	if (part->resident)
		drop_tensors(model, part, part->n);
	part->resident = false;
}

/* Finds a tensor of a part. */
static bool
find(const glm_model *model, int number, const char *name, int64_t rows, int64_t cols,
	 glm_tensor *out, glm_error *err)
{
	glm_model_part *part = part_of(model, number);

	if (!glm_shards_find(model->shards, name, rows, cols, out, err))
		return false;
	part->tensor[part->n++] = *out;
	return true;
}

/* ---- Vectors ----------------------------------------------------------- */

/* Element i of data as fp32. */
static float
element(const void *data, glm_dtype dtype, int i)
{
	uint16_t h;

	if (dtype == GLM_F32)
		return ((const float *) data)[i];
	h = ((const uint16_t *) data)[i];
	return dtype == GLM_F16 ? glm_f16_to_f32(h) : glm_bf16_to_f32(h);
}

/*
 * A tensor of shape [n] as fp32 in malloc'd memory, *out.  Its bytes are read,
 * not mapped: for a few KB no chunk comes in.
 */
static bool
read_vector(const glm_model *model, int part, const char *name, int n, float **out, glm_error *err)
{
	glm_tensor t;
	void	  *data = NULL;
	bool	   ok = false;

	if (!find(model, part, name, n, 0, &t, err))
		return false;
	data = malloc(glm_tensor_bytes(&t));
	*out = malloc((size_t) n * sizeof(float));
	if (data == NULL || *out == NULL)
		glm_no_memory(err);
	else
		ok = glm_shards_read(model->shards, &t, data, err);
	for (int i = 0; ok && i < n; i++)
	{
		(*out)[i] = element(data, t.dtype, i);
		if (!isfinite((*out)[i]))
			ok = glm_fail(err, GLM_BAD_FILE, "tensor \"%s\" in \"%s\" holds NaN or infinity", name,
						  glm_shards_file(model->shards, name));
	}
	free(data);
	return ok;
}

/* ---- Weights ----------------------------------------------------------- */

static bool
open_weights(glm_model *model, glm_error *err)
{
	int layers = model->config.layers;

	model->layer = calloc((size_t) layers, sizeof(*model->layer));
	model->part = calloc((size_t) (layers - GLM_PART_OUTPUT), sizeof(*model->part));
	if (model->layer == NULL || model->part == NULL)
		return glm_no_memory(err);
	if (!bind_ends(model, err))
		return false;
	for (int i = 0; i < layers; i++)
	{
		if (!bind_layer(model, i, err) || !glm_pause(err))
			return false;
	}
	model->dtype = model->layer[0].qkv.dtype;
	return check_surplus(model, err);
}

/* What lies before and behind the layers. */
static bool
bind_ends(glm_model *model, glm_error *err)
{
	const glm_model_config *c = &model->config;

	if (!find(model, GLM_PART_EMBEDDING, EMBEDDING, c->vocab, c->hidden, &model->embedding, err))
		return false;
	if (c->final_norm &&
		!read_vector(model, GLM_PART_OUTPUT, FINAL_NORM, c->hidden, &model->final_norm, err))
		return false;
	if (c->tied && glm_shards_file(model->shards, OUTPUT) == NULL)
		return find(model, GLM_PART_OUTPUT, EMBEDDING, c->vocab, c->hidden, &model->output, err);
	return find(model, GLM_PART_OUTPUT, OUTPUT, c->vocab, c->hidden, &model->output, err);
}

static const char *
layer_name(char *name, int number, const char *part)
{
	snprintf(name, NAME_SIZE, "transformer.encoder.layers.%d.%s", number, part);
	return name;
}

static bool
bind_matrix(const glm_model *model, int number, const char *part, int rows, int cols,
			glm_tensor *out, glm_error *err)
{
	char name[NAME_SIZE];

	return find(model, number, layer_name(name, number, part), rows, cols, out, err);
}

static bool
bind_vector(const glm_model *model, int number, const char *part, int n, float **out,
			glm_error *err)
{
	char name[NAME_SIZE];

	return read_vector(model, number, layer_name(name, number, part), n, out, err);
}

/* Rows of query_key_value: all query heads, then the groups' keys and values. */
static int
qkv_rows(const glm_model_config *c)
{
	return (c->heads + 2 * c->groups) * c->head_dim;
}

static bool
bind_layer(glm_model *model, int number, glm_error *err)
{
	const glm_model_config *c = &model->config;
	glm_layer			   *l = &model->layer[number];

	return bind_vector(model, number, "input_layernorm.weight", c->hidden, &l->attn_norm, err) &&
		   bind_matrix(model, number, "self_attention.query_key_value.weight", qkv_rows(c),
					   c->hidden, &l->qkv, err) &&
		   bind_bias(model, number, err) &&
		   bind_matrix(model, number, "self_attention.dense.weight", c->hidden,
					   c->heads * c->head_dim, &l->dense, err) &&
		   bind_vector(model, number, "post_attention_layernorm.weight", c->hidden, &l->ffn_norm,
					   err) &&
		   bind_matrix(model, number, "mlp.dense_h_to_4h.weight", 2 * c->ffn, c->hidden,
					   &l->gate_up, err) &&
		   bind_matrix(model, number, "mlp.dense_4h_to_h.weight", c->hidden, c->ffn, &l->down, err);
}

static bool
bind_bias(glm_model *model, int number, glm_error *err)
{
	static const char part[] = "self_attention.query_key_value.bias";
	char			  name[NAME_SIZE];
	const char		 *file = glm_shards_file(model->shards, layer_name(name, number, part));

	if (model->config.qkv_bias)
		return bind_vector(model, number, part, qkv_rows(&model->config),
						   &model->layer[number].qkv_bias, err);
	if (file != NULL)
		return glm_fail(err, GLM_BAD_FILE,
						"tensor \"%s\" in \"%s\" contradicts add_qkv_bias "
						"of config.json",
						name, file);
	return true;
}

/* Tensors that would change the answers, were they not left out. */
static bool
check_surplus(const glm_model *model, glm_error *err)
{
	static const char *const biases[] = {
		"self_attention.dense.bias", "mlp.dense_h_to_4h.bias",		  "mlp.dense_4h_to_h.bias",
		"input_layernorm.bias",		 "post_attention_layernorm.bias",
	};
	int			layers = model->config.layers;
	char		name[NAME_SIZE];
	const char *file;

	file = glm_shards_file(model->shards, layer_name(name, layers, "input_layernorm.weight"));
	if (file != NULL)
		return glm_fail(err, GLM_BAD_FILE,
						"tensor \"%s\" in \"%s\" contradicts num_layers %d "
						"of config.json",
						name, file, layers);
	for (int i = 0; i < layers; i++)
	{
		for (size_t j = 0; j < sizeof(biases) / sizeof(biases[0]); j++)
		{
			file = glm_shards_file(model->shards, layer_name(name, i, biases[j]));
			if (file != NULL)
				return glm_fail(err, GLM_UNSUPPORTED,
								"tensor \"%s\" in \"%s\" is a bias of a kind "
								"that is not supported",
								name, file);
		}
	}
	return true;
}

/* ---- RoPE -------------------------------------------------------------- */

/*
 * rope[p][i] = cos, sin of p / scale * base^(-2i / (head_dim / 2)): the angle by
 * which the pair (2i, 2i + 1) of a head turns at position p.  Half of the head turns,
 * so there are head_dim / 4 pairs.  In double up to the last rounding: at
 * position 100,000 an fp32 angle would be wrong in the third digit.
 */
static bool
make_rope(glm_model *model, glm_error *err)
{
	int	   pairs = model->config.head_dim / 4;
	size_t count = (size_t) model->config.context * (size_t) pairs;
	float *out = malloc(count * 2 * sizeof(float));
	double theta[256]; /* head_dim is at most 1024 */

	if (out == NULL)
		return glm_no_memory(err);
	model->rope = out;
	for (int i = 0; i < pairs; i++)
		theta[i] = pow(model->config.rope_base, -2.0 * i / (model->config.head_dim / 2)) /
				   model->config.rope_scale;
	for (int p = 0; p < model->config.context; p++)
	{
		for (int i = 0; i < pairs; i++)
		{
			double sine;
			double cosine;

			sincos(p * theta[i], &sine, &cosine);
			*out++ = (float) cosine;
			*out++ = (float) sine;
		}
		if (p % ROPE_SLICE == 0 && !glm_pause(err))
			return false;
	}
	return true;
}
