/*
 * checkpoint.c - writes the small model directories of checkpoint.h.
 */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint.h"

#include <cmocka.h>

/* ---- Files -------------------------------------------------------------- */

void
ck_open(char dir[CK_PATH])
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, CK_PATH, "%s/glm-test-XXXXXX", tmp ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		fail_msg("cannot make a directory %s", dir);
}

void
ck_close(const char *dir)
{
	DIR			  *d = opendir(dir);
	struct dirent *item;
	char		   path[CK_PATH];

	assert_non_null(d);
	while ((item = readdir(d)) != NULL)
	{
		if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
			continue;
		ck_path(path, dir, item->d_name);
		assert_int_equal(remove(path), 0);
	}
	closedir(d);
	assert_int_equal(rmdir(dir), 0);
}

int
ck_count(const char *dir)
{
	DIR *d = opendir(dir);
	int	 n = -2; /* . and .. */

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

void
ck_path(char path[CK_PATH], const char *dir, const char *name)
{
	assert_true(snprintf(path, CK_PATH, "%s/%s", dir, name) < CK_PATH);
}

static FILE *
create(const char *dir, const char *name)
{
	char  path[CK_PATH];
	FILE *f;

	ck_path(path, dir, name);
	f = fopen(path, "wb");
	if (f == NULL)
		fail_msg("cannot write %s", path);
	return f;
}

void
ck_write(const char *dir, const char *name, const void *bytes, size_t n)
{
	FILE *f = create(dir, name);

	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

void
ck_puts(const char *dir, const char *name, const char *text)
{
	ck_write(dir, name, text, strlen(text));
}

static void
put_header(FILE *f, const char *header)
{
	uint64_t length = strlen(header);

	for (int i = 0; i < 8; i++)
		fputc((int) (length >> 8 * i & 0xff), f);
	fputs(header, f);
}

void
ck_raw(const char *dir, const char *name, const char *header, size_t data_size)
{
	FILE *f = create(dir, name);

	put_header(f, header);
	for (size_t i = 0; i < data_size; i++)
		fputc((int) (i & 0xff), f);
	assert_int_equal(fclose(f), 0);
}

/* ---- config.json --------------------------------------------------------- */

json_t *
ck_config(void)
{
	json_t *config = glm_json_new();

	ck_config_set(config, "model_type", "\"chatglm\"");
	ck_config_set(config, "num_layers", "2");
	ck_config_set(config, "hidden_size", "24");
	ck_config_set(config, "num_attention_heads", "4");
	ck_config_set(config, "kv_channels", "8");
	ck_config_set(config, "multi_query_attention", "true");
	ck_config_set(config, "multi_query_group_num", "2");
	ck_config_set(config, "ffn_hidden_size", "40");
	ck_config_set(config, "padded_vocab_size", "1024");
	ck_config_set(config, "seq_length", "64");
	ck_config_set(config, "layernorm_epsilon", "1e-5");
	ck_config_set(config, "add_qkv_bias", "true");
	ck_config_set(config, "eos_token_id", "2");
	return config;
}

/* Sets a key to a JSON text; NULL removes it. */
void
ck_config_set(json_t *config, const char *key, const char *json)
{
	json_t *value;

	if (json == NULL)
	{
		json_object_del(config, key);
		return;
	}
	value = json_loads(json, JSON_DECODE_ANY, NULL);
	assert_non_null(value);
	assert_int_equal(json_object_set_new(config, key, value), 0);
}

void
ck_config_save(const json_t *config, const char *dir)
{
	char path[CK_PATH];

	ck_path(path, dir, "config.json");
	assert_int_equal(json_dump_file(config, path, JSON_INDENT(2)), 0);
}

static int
number(const json_t *config, const char *key)
{
	return (int) json_integer_value(json_object_get(config, key));
}

/* ---- Weights ------------------------------------------------------------- */

ck_tensor *
ck_weights_add(ck_weights *w, const char *name, const char *dtype, int64_t rows, int64_t cols)
{
	ck_tensor *t = &w->tensor[w->n++];

	assert_true(w->n <= 64);
	memset(t, 0, sizeof(*t));
	snprintf(t->name, sizeof(t->name), "%s", name);
	t->dtype = dtype;
	t->n_dims = cols == 0 ? 1 : 2;
	t->shape[0] = rows;
	t->shape[1] = cols == 0 ? 1 : cols;
	return t;
}

static void
add_layer_part(ck_weights *w, int layer, const char *part, const char *dtype, int rows, int cols)
{
	char name[96];

	snprintf(name, sizeof(name), "transformer.encoder.layers.%d.%s", layer, part);
	ck_weights_add(w, name, dtype, rows, cols);
}

void
ck_weights_init(ck_weights *w, const json_t *config, const char *dtype)
{
	int hidden = number(config, "hidden_size");
	int ffn = number(config, "ffn_hidden_size");
	int vocab = number(config, "padded_vocab_size");
	int query = number(config, "num_attention_heads") * number(config, "kv_channels");
	int key = number(config, "multi_query_group_num") * number(config, "kv_channels");

	w->n = 0;
	ck_weights_add(w, "transformer.embedding.word_embeddings.weight", dtype, vocab, hidden);
	for (int i = 0; i < number(config, "num_layers"); i++)
	{
		add_layer_part(w, i, "input_layernorm.weight", dtype, hidden, 0);
		add_layer_part(w, i, "self_attention.query_key_value.weight", dtype, query + 2 * key,
					   hidden);
		add_layer_part(w, i, "self_attention.query_key_value.bias", dtype, query + 2 * key, 0);
		add_layer_part(w, i, "self_attention.dense.weight", dtype, hidden, query);
		add_layer_part(w, i, "post_attention_layernorm.weight", dtype, hidden, 0);
		add_layer_part(w, i, "mlp.dense_h_to_4h.weight", dtype, 2 * ffn, hidden);
		add_layer_part(w, i, "mlp.dense_4h_to_h.weight", dtype, hidden, ffn);
	}
	ck_weights_add(w, "transformer.encoder.final_layernorm.weight", dtype, hidden, 0);
	ck_weights_add(w, "transformer.output_layer.weight", dtype, vocab, hidden);
}

ck_tensor *
ck_weights_get(ck_weights *w, const char *name)
{
	for (int i = 0; i < w->n; i++)
		if (strcmp(w->tensor[i].name, name) == 0)
			return &w->tensor[i];
	fail_msg("no tensor %s in this checkpoint", name);
	return NULL;
}

void
ck_weights_drop(ck_weights *w, const char *name)
{
	ck_tensor *t = ck_weights_get(w, name);

	memmove(t, t + 1, (size_t) (&w->tensor[w->n] - (t + 1)) * sizeof(*t));
	w->n--;
}

float
ck_value(const char *name, int64_t i)
{
	uint64_t h = 1469598103934665603u + (uint64_t) i * 2654435761u;

	for (const char *p = name; *p; p++)
		h = (h ^ (uint8_t) *p) * 1099511628211u;
	return (float) ((int) (h >> 58) - 32) / 64;
}

/* Writes x, NaN or a multiple of 1/64, as dtype says. */
static void
put_value(FILE *f, const char *dtype, float x)
{
	uint32_t bits;
	uint16_t half;

	memcpy(&bits, &x, sizeof(bits));
	if (strcmp(dtype, "F32") == 0)
	{
		fwrite(&bits, sizeof(bits), 1, f);
		return;
	}
	half = (uint16_t) (bits >> 16);
	if (strcmp(dtype, "F16") == 0)
	{
		half &= 0x8000;
		if (isnan(x))
			half |= 0x7e00;
		else if (x != 0)
			half |= (uint16_t) (((bits >> 23 & 0xff) - 112) << 10 | (bits >> 13 & 0x3ff));
	}
	fwrite(&half, sizeof(half), 1, f);
}

void
ck_weights_save(const ck_weights *w, int first, int end, const char *dir, const char *name)
{
	json_t	  *header = glm_json_new();
	json_int_t offset = 0;
	char	  *text;
	FILE	  *f = create(dir, name);

	json_object_set_new(header, "__metadata__", json_pack("{s:s}", "format", "pt"));
	for (int i = first; i < end; i++)
	{
		const ck_tensor *t = &w->tensor[i];
		json_int_t		 bytes = t->shape[0] * t->shape[1] * (strcmp(t->dtype, "F32") == 0 ? 4 : 2);
		json_t			*shape = json_pack("[I]", (json_int_t) t->shape[0]);

		if (t->n_dims == 2)
			json_array_append_new(shape, json_integer(t->shape[1]));
		json_object_set_new(header, t->name,
							json_pack("{s:s, s:o, s:[I, I]}", "dtype", t->dtype, "shape", shape,
									  "data_offsets", offset, offset + bytes));
		offset += bytes;
	}
	text = json_dumps(header, JSON_COMPACT);
	assert_non_null(text);
	put_header(f, text);
	for (int i = first; i < end; i++)
	{
		const ck_tensor *t = &w->tensor[i];
		int64_t			 count = t->shape[0] * t->shape[1];

		for (int64_t j = 0; j < count; j++)
			put_value(f, t->dtype, t->poisoned && j == count - 1 ? NAN : ck_value(t->name, j));
	}
	free(text);
	json_decref(header);
	assert_int_equal(fclose(f), 0);
}

/* ---- Checks -------------------------------------------------------------- */

void
ck_assert_error(const glm_error *err, glm_status status, const char *fragment)
{
	if (err->status != status || strstr(err->message, fragment) == NULL)
		fail_msg("status %d, message \"%s\"; expected status %d and \"%s\"", err->status,
				 err->message, status, fragment);
}

const char *
ck_golden(void)
{
	const char *dir = getenv("GLM_GOLDEN");
	struct stat st;

	if (dir == NULL)
		dir = "../shared/golden";
	return stat(dir, &st) == 0 ? dir : NULL;
}
