/*
 * make_random_model.c - model directories of any shape, filled at random.
 *
 *     make_random_model [option=value ...] TARGET
 *
 * Big models for benchmarks and tests, by default one of ChatGLM3-6B's shape in
 * INT4, written straight to disk as glm_quantize would write it: same order, same
 * widths, true hashes.  With bits=16 it writes what glm_quantize reads, a plain
 * F16 directory.  The tokenizer is another model's, whose vocabulary may be smaller.
 *
 * What it says makes no sense, but is well-behaved: weights have the variance
 * 1 / columns, so that activations keep their size from layer to layer, and
 * every tensor is drawn by a generator of its own, seeded with its name, so
 * that no two layers share a byte and the same command makes the same model.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/half.h"
#include "engine/base/json.h"
#include "engine/quantize/pack.h"
#include "engine/model/model.h"

typedef struct shape
{
	int			bits;	   /* of the matrices: 4, 8 or 16 */
	int			head_bits; /* of the output head; 0 = 8 in an INT4 model */
	int			group;
	int			layers;
	int			hidden;
	int			heads;
	int			groups;
	int			head_dim;
	int			ffn;
	int			vocab;
	int			context;
	int			seed;
	const char *tokenizer; /* directory */
	const char *target;
} shape;

typedef struct plan
{
	glm_pack_tensor *tensor;
	int				 n;
} plan;

static const struct
{
	const char *key;
	size_t		offset;
} numbers[] = {
	{"bits", offsetof(shape, bits)},		{"head_bits", offsetof(shape, head_bits)},
	{"group", offsetof(shape, group)},		{"layers", offsetof(shape, layers)},
	{"hidden", offsetof(shape, hidden)},	{"heads", offsetof(shape, heads)},
	{"kv_groups", offsetof(shape, groups)}, {"head_dim", offsetof(shape, head_dim)},
	{"ffn", offsetof(shape, ffn)},			{"vocab", offsetof(shape, vocab)},
	{"context", offsetof(shape, context)},	{"seed", offsetof(shape, seed)},
};

#define N_NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

static bool
fail_usage(const char *why, const char *what)
{
	fprintf(stderr,
			"make_random_model: %s \"%s\"\n"
			"usage: make_random_model [tokenizer=DIRECTORY] [",
			why, what);
	for (size_t i = 0; i < N_NUMBERS; i++)
		fprintf(stderr, "%s%s=N", i > 0 ? " " : "", numbers[i].key);
	fprintf(stderr, "] TARGET\n");
	return false;
}

/* "key=value" */
static bool
read_option(shape *s, char *argument)
{
	char  *value = strchr(argument, '=') + 1;
	size_t length = (size_t) (value - argument - 1);
	char  *end;

	if (strncmp(argument, "tokenizer=", length + 1) == 0)
	{
		s->tokenizer = value;
		return true;
	}
	for (size_t i = 0; i < N_NUMBERS; i++)
	{
		long number = strtol(value, &end, 10);

		if (strncmp(argument, numbers[i].key, length) != 0 || numbers[i].key[length] != '\0')
			continue;
		if (*value == '\0' || *end != '\0' || number < 0 || number > 1 << 22)
			return fail_usage("bad number in", argument);
		*(int *) ((char *) s + numbers[i].offset) = (int) number;
		return true;
	}
	return fail_usage("unknown option", argument);
}

static bool
read_arguments(shape *s, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		if (strchr(argv[i], '=') == NULL)
			s->target = argv[i];
		else if (!read_option(s, argv[i]))
			return false;
	}
	if (s->target == NULL)
		return fail_usage("no directory after", argv[argc - 1]);
	if ((s->bits != 4 && s->bits != 8 && s->bits != 16) ||
		(s->head_bits != 0 && s->head_bits != 4 && s->head_bits != 8))
		return fail_usage("bits is not 4, 8 or 16, or head_bits not 4 or 8 for", s->target);
	if (!glm_packed_group_known(s->group))
		return fail_usage("group is not 32, 64 or 128 for", s->target);
	return true;
}

/* ---- Random numbers ------------------------------------------------------------ */

/* splitmix64 */
static uint64_t
draw(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static double
uniform(uint64_t *state, double low, double high)
{
	return low + (high - low) * (double) (draw(state) >> 11) * 0x1p-53;
}

/* Four dice in one: near enough to a Gaussian, of mean 0 and variance 1. */
static float
gaussian(uint64_t *state)
{
	uint64_t x = draw(state);
	double	 sum = 0;

	for (int i = 0; i < 4; i++, x >>= 16)
		sum += (double) (x & 0xffff) / 65536 - 0.5;
	return (float) (sum * 1.7320508075688772);
}

static uint64_t
seed_of(const shape *s, const char *name)
{
	uint64_t hash = 0xcbf29ce484222325 ^ (uint64_t) s->seed;

	while (*name != '\0')
		hash = (hash ^ (uint8_t) *name++) * 0x100000001b3;
	return hash;
}

/* ---- What there is ---------------------------------------------------------------- */

static glm_dtype
dtype_of(int bits)
{
	return bits == 4 ? GLM_Q4 : bits == 8 ? GLM_Q8 : GLM_F16;
}

/* layer -1: none.  cols 0: a vector, in F16. */
static bool
add(plan *p, int layer, const char *name, glm_dtype dtype, int group, int rows, int cols)
{
	glm_pack_tensor *t = &p->tensor[p->n++];
	char			*full;

	if ((layer < 0 ? asprintf(&full, "transformer.%s", name)
				   : asprintf(&full, "transformer.encoder.layers.%d.%s", layer, name)) < 0)
		return false;
	t->name = full;
	t->form = (glm_tensor){.dtype = cols > 0 ? dtype : GLM_F16,
						   .n_dims = cols > 0 ? 2 : 1,
						   .shape = {rows, cols > 0 ? cols : 1},
						   .group = group};
	return true;
}

static bool
add_layer(plan *p, const shape *s, int l)
{
	glm_dtype dtype = dtype_of(s->bits);
	int		  query = s->heads * s->head_dim;
	int		  qkv = query + 2 * s->groups * s->head_dim;

	return add(p, l, "input_layernorm.weight", dtype, 0, s->hidden, 0) &&
		   add(p, l, "self_attention.query_key_value.weight", dtype, s->group, qkv, s->hidden) &&
		   add(p, l, "self_attention.query_key_value.bias", dtype, 0, qkv, 0) &&
		   add(p, l, "self_attention.dense.weight", dtype, s->group, s->hidden, query) &&
		   add(p, l, "post_attention_layernorm.weight", dtype, 0, s->hidden, 0) &&
		   add(p, l, "mlp.dense_h_to_4h.weight", dtype, s->group, 2 * s->ffn, s->hidden) &&
		   add(p, l, "mlp.dense_4h_to_h.weight", dtype, s->group, s->hidden, s->ffn);
}

/* All tensors, in glm_quantize's order. */
static bool
add_all(plan *p, const shape *s)
{
	int head = s->bits == 4 ? (s->head_bits != 0 ? s->head_bits : 8) : s->bits;

	p->tensor = calloc((size_t) s->layers * 7 + 3, sizeof(*p->tensor));
	if (p->tensor == NULL || !add(p, -1, "embedding.word_embeddings.weight", dtype_of(s->bits),
								  s->group, s->vocab, s->hidden))
		return false;
	for (int l = 0; l < s->layers; l++)
		if (!add_layer(p, s, l))
			return false;
	return add(p, -1, "encoder.final_layernorm.weight", GLM_F16, 0, s->hidden, 0) &&
		   add(p, -1, "output_layer.weight", dtype_of(head), s->group, s->vocab, s->hidden);
}

static double
bits_a_weight(const plan *p)
{
	double bytes = 0;
	double weights = 0;

	for (int i = 0; i < p->n; i++)
	{
		bytes += (double) glm_tensor_bytes(&p->tensor[i].form);
		weights += (double) p->tensor[i].form.shape[0] * (double) p->tensor[i].form.shape[1];
	}
	return bytes * 8 / weights;
}

/* ---- What is in it ---------------------------------------------------------------- */

/* Norms are about 1, biases small, rows of a matrix of variance 1 / cols. */
static bool
put_plain(glm_pack *pack, const glm_pack_tensor *t, uint64_t seed, glm_error *err)
{
	size_t	  cols = (size_t) (t->form.n_dims == 2 ? t->form.shape[1] : t->form.shape[0]);
	int64_t	  rows = t->form.n_dims == 2 ? t->form.shape[0] : 1;
	float	  middle = t->form.n_dims == 1 && strstr(t->name, "norm") != NULL ? 1 : 0;
	float	  spread = t->form.n_dims == 2 ? 1 / sqrtf((float) cols) : 0.05F;
	uint16_t *row = malloc(cols * sizeof(*row));
	bool	  ok = row != NULL || glm_no_memory(err);

	for (int64_t r = 0; ok && r < rows; r++)
	{
		for (size_t k = 0; k < cols; k++)
			row[k] = glm_f32_to_f16(middle + spread * gaussian(&seed));
		ok = glm_pack_put(pack, row, cols * sizeof(*row), err);
	}
	free(row);
	return ok;
}

/* One tile before it is written as such. */
typedef struct tile
{
	uint8_t	 *code;	 /* [16, groups * group] */
	uint16_t *scale; /* [16, groups] */
	uint8_t	 *zero;	 /* [16, groups] */
	uint8_t	 *bytes;
} tile;

/* Codes are spread evenly, so their deviation is steps / sqrt(12). */
static void
fill_tile(tile *out, const glm_tensor *form, int rows, uint64_t *seed)
{
	size_t	 cols = (size_t) form->shape[1];
	size_t	 groups = glm_packed_groups(cols, (size_t) form->group);
	size_t	 width = groups * (size_t) form->group;
	uint64_t mask = form->dtype == GLM_Q4 ? 0x0f0f0f0f0f0f0f0f : UINT64_MAX;
	double	 step = sqrt(12.0 / (double) cols) / (form->dtype == GLM_Q4 ? 16 : 256);

	for (size_t i = 0; i < (size_t) rows * groups; i++)
	{
		out->scale[i] = glm_f32_to_f16((float) (step * uniform(seed, 0.75, 1.25)));
		out->zero[i] = (uint8_t) uniform(seed, 104, 137);
	}
	for (int r = 0; r < rows; r++)
	{
		uint8_t *code = out->code + (size_t) r * width;

		for (size_t k = 0; k < width; k += 8)
		{
			uint64_t codes = draw(seed) & mask;

			memcpy(code + k, &codes, 8);
		}
		memset(code + cols, 0, width - cols);
	}
}

static bool
put_packed(glm_pack *pack, const glm_pack_tensor *t, uint64_t seed, glm_error *err)
{
	const glm_tensor *form = &t->form;
	size_t			  cols = (size_t) form->shape[1];
	size_t			  group = (size_t) form->group;
	size_t			  groups = glm_packed_groups(cols, group);
	size_t			  bytes = glm_packed_tile_bytes(form->dtype, cols, group);
	tile			  next = {malloc(GLM_TILE_ROWS * groups * group),
							  malloc(GLM_TILE_ROWS * groups * sizeof(uint16_t)), malloc(GLM_TILE_ROWS * groups),
							  malloc(bytes)};
	bool			  ok =
		(next.code != NULL && next.scale != NULL && next.zero != NULL && next.bytes != NULL) ||
		glm_no_memory(err);

	for (int64_t r = 0; ok && r < form->shape[0]; r += GLM_TILE_ROWS)
	{
		int64_t left = form->shape[0] - r;
		int		rows = left < GLM_TILE_ROWS ? (int) left : GLM_TILE_ROWS;

		fill_tile(&next, form, rows, &seed);
		glm_tile_write(next.bytes, form->dtype, rows, (int) cols, form->group, next.code,
					   next.scale, next.zero);
		ok = glm_pack_put(pack, next.bytes, bytes, err);
	}
	free(next.code);
	free(next.scale);
	free(next.zero);
	free(next.bytes);
	return ok;
}

static bool
put_config(glm_pack *pack, const shape *s, glm_error *err)
{
	json_t *root = json_pack(
		"{s:s, s:i, s:i, s:i, s:i, s:b, s:i, s:i, s:i, s:i, s:f, s:b, s:s, s:i}", "model_type",
		"chatglm", "num_layers", s->layers, "hidden_size", s->hidden, "num_attention_heads",
		s->heads, "kv_channels", s->head_dim, "multi_query_attention", 1, "multi_query_group_num",
		s->groups, "ffn_hidden_size", s->ffn, "padded_vocab_size", s->vocab, "seq_length",
		s->context, "layernorm_epsilon", 1e-5, "add_qkv_bias", 1, "torch_dtype", "float16",
		"eos_token_id", 2);
	char *text = root != NULL ? json_dumps(root, JSON_INDENT(1)) : NULL;
	bool  ok = text != NULL ? glm_pack_add(pack, "config.json", text, strlen(text), err)
							: glm_no_memory(err);

	free(text);
	json_decref(root);
	return ok;
}

/* Is what was written a model?  A tokenizer may have more ids than the vocabulary. */
static bool
check_model(const glm_pack *pack, glm_error *err)
{
	glm_model *model = glm_model_open("random", glm_pack_path(pack), err);

	glm_model_close(model);
	return model != NULL;
}

static bool
write_model(glm_pack *pack, const shape *s, const plan *p, glm_error *err)
{
	const glm_pack_info info = {.dtype = dtype_of(s->bits),
								.group = s->group,
								.method = "random",
								.bits_per_weight = bits_a_weight(p)};

	if (!glm_pack_plan(pack, p->tensor, p->n, GLM_PACK_FILE_MAX, err))
		return false;
	for (int i = 0; i < p->n; i++)
	{
		const glm_pack_tensor *t = &p->tensor[i];
		uint64_t			   seed = seed_of(s, t->name);

		if (!(glm_is_packed(t->form.dtype) ? put_packed : put_plain)(pack, t, seed, err))
			return false;
	}
	return put_config(pack, s, err) && glm_pack_copy(pack, s->tokenizer, "tokenizer.model", err) &&
		   glm_pack_copy(pack, s->tokenizer, "tokenizer_config.json", err) &&
		   glm_pack_seal(pack, s->bits == 16 ? NULL : &info, err) && check_model(pack, err) &&
		   glm_pack_publish(pack, err);
}

int
main(int argc, char **argv)
{
	shape	  s = {.bits = 4,
				   .group = 64,
				   .layers = 28,
				   .hidden = 4096,
				   .heads = 32,
				   .groups = 2,
				   .head_dim = 128,
				   .ffn = 13696,
				   .vocab = 65024,
				   .context = 8192,
				   .tokenizer = "models/tiny-chatglm3"};
	plan	  p = {0};
	glm_error err = {0};
	glm_pack *pack = NULL;
	bool	  ok = read_arguments(&s, argc, argv);

	if (!ok)
		return 2;
	if (!add_all(&p, &s))
		ok = glm_no_memory(&err);
	else
		ok = (pack = glm_pack_open(s.target, &err)) != NULL && write_model(pack, &s, &p, &err);
	if (ok)
		printf("%s: %.3f bits a weight\n", s.target, bits_a_weight(&p));
	else
		fprintf(stderr, "make_random_model: %s\n", err.message);
	glm_pack_close(pack);
	for (int i = 0; i < p.n; i++)
		free((char *) p.tensor[i].name);
	free(p.tensor);
	return ok ? 0 : 1;
}
