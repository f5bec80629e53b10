/*
 * test_pack.c - packed directories: written whole or not at all, and as good as
 * the methods promise.
 *
 * Conversions are those of the embedded model; the odd shapes, which need
 * padding and several files, are a made-up one's.
 */
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkpoint.h"
#include "engine/quantize/convert.h"
#include "engine/quantize/pack.h"
#include "engine/model/model.h"
#include "sanitized.h"

#define MODEL_PATH "models/tiny-chatglm3"

static const char chats[] =
	"[\"[{\\\"role\\\": \\\"user\\\", \\\"content\\\": \\\"Who are you?\\\"},"
	" {\\\"role\\\": \\\"assistant\\\", \\\"content\\\":"
	" \\\"I am tiny-chatglm3, a small language model that lives in PostgreSQL.\\\"}]\","
	" \"[{\\\"role\\\": \\\"system\\\", \\\"content\\\": \\\"Classify the sentiment of the "
	"review.\\\"},"
	" {\\\"role\\\": \\\"user\\\", \\\"content\\\": \\\"I love it, it works great.\\\"},"
	" {\\\"role\\\": \\\"assistant\\\", \\\"content\\\": \\\"positive\\\"}]\"]";

/* ---- Helpers ------------------------------------------------------------ */

typedef struct place
{
	char dir[CK_PATH];	  /* a new directory */
	char target[CK_PATH]; /* a name in it that does not exist */
} place;

static void
open_place(place *p)
{
	ck_open(p->dir);
	ck_path(p->target, p->dir, "packed");
}

static void
close_place(place *p)
{
	struct stat st;

	if (lstat(p->target, &st) == 0)
		ck_close(p->target);
	ck_close(p->dir);
}

typedef struct witness
{
	atomic_bool cancel;
	int			calls;
	int			cancel_at; /* 0 = never */
	uint64_t	total;
	uint64_t	done;
	size_t		memory; /* that the job may take; 0 = default */
	size_t		most;	/* that was in use at any call */
} witness;

/* Bytes that the main thread's malloc has given out. */
static size_t
in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void
see(void *arg, const char *phase, const char *tensor, uint64_t bytes)
{
	witness *w = arg;
	size_t	 now = in_use();

	if (now > w->most)
		w->most = now;
	assert_non_null(tensor);
	assert_true(phase[0] != '\0');
	if (w->total == 0)
		w->total = bytes;
	else
		w->done += bytes;
	if (++w->calls == w->cancel_at)
		atomic_store(&w->cancel, true);
}

static bool
convert(const char *source, const char *target, const char *options, const char *texts, witness *w,
		glm_quantized **rows, int *n, glm_error *err)
{
	glm_threads		*pool = glm_threads_open(2, err);
	glm_quantize_job job = {.name = "test",
							.path = source,
							.target = target,
							.options = options,
							.texts = texts,
							.memory = w->memory,
							.kernels = "auto",
							.work = {.pool = pool, .cancel = &w->cancel},
							.progress = see,
							.arg = w};
	bool			 ok;

	assert_non_null(pool);
	*rows = NULL;
	ok = glm_convert(&job, rows, n, err);
	glm_threads_close(pool);
	return ok;
}

/* Converts the embedded model; returns the row of the whole. */
static glm_quantized
convert_tiny(const char *options, const char *texts)
{
	place		   p;
	witness		   w = {0};
	glm_quantized *rows;
	glm_quantized  total;
	glm_error	   err = {0};
	glm_model	  *model;
	int			   n;

	open_place(&p);
	if (!convert(MODEL_PATH, p.target, options, texts, &w, &rows, &n, &err))
		fail_msg("%s: %s", options, err.message);
	assert_int_equal(w.done, w.total);
	assert_int_equal(ck_count(p.dir), 1);
	model = glm_model_open("packed", p.target, &err);
	if (model == NULL)
		fail_msg("%s", err.message);
	assert_true(glm_shards_verify(model->shards, &err));
	glm_model_close(model);
	total = rows[n - 1];
	assert_string_equal(total.name, "");
	for (int i = 0; i < n; i++)
		assert_true(rows[i].weight_error >= 0 && rows[i].weight_error < 0.2);
	free(rows);
	close_place(&p);
	return total;
}

/* Converts and expects this error, and nothing left behind. */
static void
refuse(const char *source, const char *options, const char *texts, int cancel_at, glm_status status,
	   const char *fragment)
{
	place		   p;
	witness		   w = {.cancel_at = cancel_at};
	glm_quantized *rows;
	glm_error	   err = {0};
	int			   n;

	open_place(&p);
	assert_false(convert(source, p.target, options, texts, &w, &rows, &n, &err));
	ck_assert_error(&err, status, fragment);
	assert_int_equal(ck_count(p.dir), 0);
	close_place(&p);
}

/* ---- Methods --------------------------------------------------------------- */

static void
test_methods(void **state)
{
	glm_quantized rtn = convert_tiny("{\"method\": \"rtn\"}", chats);
	glm_quantized hqq = convert_tiny("{\"method\": \"hqq\"}", chats);
	glm_quantized gptq = convert_tiny("{\"method\": \"gptq\"}", chats);

	(void) state;
	assert_true(hqq.weight_error <= 0.93 * rtn.weight_error);
	assert_true(gptq.output_error <= 0.75 * rtn.output_error);
	assert_true(gptq.output_error <= hqq.output_error);
	assert_true(rtn.bits <= 4.6);
	assert_true(gptq.perplexity_before >= 1 && gptq.perplexity_before < 2);
	assert_true(gptq.perplexity_before == rtn.perplexity_before);
	assert_true(fabs(gptq.perplexity_after / gptq.perplexity_before - 1) < 0.2);
}

/* Of a book, only what is asked for is read; the tokens are those of its beginning. */
static void
test_long_text(void **state)
{
	static const char options[] = "{\"max_calibration_tokens\": 64, \"method\": \"rtn\"}";
	static const char sentence[] = "The colour of this lamp is not what I ordered. ";
	const size_t	  length = sizeof(sentence) - 1;
	const size_t	  n = 100000;
	char			 *texts = malloc(n * length + 8);
	glm_quantized	  total[2];

	(void) state;
	assert_non_null(texts);
	for (int i = 0; i < 2; i++)
	{
		size_t count = i == 0 ? 20 : n;

		strcpy(texts, "[\"");
		for (size_t j = 0; j < count; j++)
			memcpy(texts + 2 + j * length, sentence, length);
		strcpy(texts + 2 + count * length, "\"]");
		total[i] = convert_tiny(options, texts);
	}
	free(texts);
	assert_true(total[0].perplexity_before > 1);
	assert_true(total[0].perplexity_before == total[1].perplexity_before);
}

static void
test_int8(void **state)
{
	glm_quantized total = convert_tiny("{\"bits\": 8, \"group_size\": 32}", chats);

	(void) state;
	assert_true(total.bits > 8 && total.bits < 8.7);
	assert_true(total.output_error < 0.02);
	assert_true(fabs(total.perplexity_after / total.perplexity_before - 1) < 0.02);
}

static void
test_without_calibration(void **state)
{
	glm_quantized total = convert_tiny(NULL, NULL);

	(void) state;
	assert_string_equal(total.method, "hqq");
	assert_true(isnan(total.output_error));
	assert_true(isnan(total.perplexity_before) && isnan(total.perplexity_after));
}

static void
test_keep_and_wide(void **state)
{
	place		   p;
	witness		   w = {0};
	glm_quantized *rows;
	glm_error	   err = {0};
	int			   n;

	(void) state;
	open_place(&p);
	if (!convert(MODEL_PATH, p.target, "{\"keep\": [\"*embedding*\"], \"wide\": [\"*.dense.*\"]}",
				 NULL, &w, &rows, &n, &err))
		fail_msg("%s", err.message);
	for (int i = 0; i < n - 1; i++)
	{
		if (strstr(rows[i].name, "embedding") != NULL)
			assert_string_equal(rows[i].method, "copy");
		if (strstr(rows[i].name, ".dense.") != NULL)
			assert_true(rows[i].bits > 8);
	}
	free(rows);
	close_place(&p);
}

/* ---- Memory ------------------------------------------------------------------ */

/* n plain texts of about 50 tokens each, as the JSON that the quantizer takes. */
static char *
many_texts(int n)
{
	static const char text[] = "\"The colour of this lamp is not what I ordered. "
							   "Please send me another one, or my money back.\",";
	const size_t	  length = sizeof(text) - 1;
	char			 *texts = malloc((size_t) n * length + 2);

	assert_non_null(texts);
	texts[0] = '[';
	for (int i = 0; i < n; i++)
		memcpy(texts + 1 + (size_t) i * length, text, length);
	strcpy(texts + (size_t) n * length, "]");
	return texts;
}

/* Quantizes by gptq with up to this many tokens; what memory that took beyond `base`. */
static bool
measure(witness *w, const char *texts, size_t tokens, size_t base, size_t *bytes, glm_error *err)
{
	place		   p;
	char		   options[96];
	glm_quantized *rows;
	size_t		   before = in_use();
	int			   n;
	bool		   ok;

	snprintf(options, sizeof(options), "{\"method\": \"%s\", \"max_calibration_tokens\": %zu}",
			 texts != NULL ? "gptq" : "rtn", tokens);
	open_place(&p);
	ok = convert(MODEL_PATH, p.target, options, texts, w, &rows, &n, err);
	free(rows);
	close_place(&p);
	*bytes = w->most > before + base ? w->most - before - base : 0;
	return ok;
}

/*
 * Texts do not make a job larger than it may be: more are refused before the work
 * begins, and the number in the hint is one that does fit, and nearly fills it.
 */
static void
test_memory(void **state)
{
	const size_t memory = (size_t) 24 << 20;
	char		*texts;
	witness		 alone = {0};
	witness		 refused = {.memory = memory};
	witness		 fitting = {.memory = memory};
	glm_error	 err = {0};
	size_t		 base;
	size_t		 bytes;
	size_t		 tokens = 0;

	glm_model_config config;

	(void) state;
	if (!memory_tells())
		skip();
	texts = many_texts(2000);
	assert_true(measure(&alone, NULL, 16384, 0, &base, &err));
	assert_false(measure(&refused, texts, 60000, base, &bytes, &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "24 MB of memory");
	assert_int_equal(refused.calls, 0);
	assert_int_equal(sscanf(err.hint, "Set max_calibration_tokens to at most %zu", &tokens), 1);
	assert_in_range(tokens, 1000, 59999);
	if (!measure(&fitting, texts, tokens, base, &bytes, &err))
		fail_msg("%zu tokens: %s", tokens, err.message);
	assert_true(glm_config_read(&config, MODEL_PATH, &err));
	/* keys and values of a layer are the device's, of which malloc does not know */
	bytes += tokens * 2 * (size_t) config.groups * (size_t) config.head_dim * sizeof(float);
	assert_in_range(bytes, memory * 2 / 3, memory);
	assert_false(measure(&refused, texts, tokens + 1, base, &bytes, &err));
	free(texts);
}

/* ---- Odd shapes -------------------------------------------------------------- */

/* Small tensors of sizes that are no multiples of 64, in several files. */
static void
test_padding_and_files(void **state)
{
	static const glm_pack_tensor tensors[] = {
		{"a", {.dtype = GLM_F16, .n_dims = 1, .shape = {5, 1}}},
		{"b", {.dtype = GLM_F32, .n_dims = 2, .shape = {3, 7}}},
		{"c", {.dtype = GLM_Q4, .n_dims = 2, .shape = {17, 40}, .group = 32}},
		{"d", {.dtype = GLM_BF16, .n_dims = 1, .shape = {9, 1}}},
	};
	const glm_pack_info info = {GLM_Q4, 32, "rtn", 4.5};
	glm_weight_options	options = {.verify = GLM_VERIFY_FULL};
	place				p;
	glm_error			err = {0};
	glm_pack		   *pack;
	glm_shards		   *shards;

	(void) state;
	open_place(&p);
	pack = glm_pack_open(p.target, &err);
	assert_non_null(pack);
	assert_true(glm_pack_plan(pack, tensors, 4, 256, &err));
	for (int i = 0; i < 4; i++)
	{
		size_t	 n = glm_tensor_bytes(&tensors[i].form);
		uint8_t *bytes = calloc(1, n);

		assert_non_null(bytes);
		bytes[n - 1] = (uint8_t) (i + 1);
		assert_true(glm_pack_put(pack, bytes, 1, &err));
		assert_true(glm_pack_put(pack, bytes + 1, n - 1, &err));
		free(bytes);
	}
	assert_false(glm_pack_put(pack, "x", 1, &err));
	assert_true(glm_pack_seal(pack, &info, &err));
	assert_true(glm_pack_publish(pack, &err));
	glm_pack_close(pack);

	shards = glm_shards_open(p.target, &options, &err);
	if (shards == NULL)
		fail_msg("%s", err.message);
	assert_true(glm_shards_verify(shards, &err));
	for (int i = 0; i < 4; i++)
	{
		glm_tensor	   t;
		const uint8_t *data;

		assert_true(glm_shards_find(shards, tensors[i].name, tensors[i].form.shape[0],
									tensors[i].form.n_dims == 2 ? tensors[i].form.shape[1] : 0, &t,
									&err));
		assert_int_equal(t.dtype, tensors[i].form.dtype);
		assert_true(glm_shards_hold(shards, &t, &err));
		data = t.data;
		assert_int_equal((uintptr_t) data % 64, 0);
		assert_int_equal(data[glm_tensor_bytes(&tensors[i].form) - 1], i + 1);
		glm_shards_drop(shards, &t);
	}
	glm_shards_close(shards);
	/* two files of tensors, the index, the manifest */
	assert_int_equal(ck_count(p.target), 2 + 3);
	close_place(&p);
}

/* ---- Nothing half done --------------------------------------------------------- */

static void
test_cancel(void **state)
{
	(void) state;
	refuse(MODEL_PATH, NULL, NULL, 1, GLM_CANCELLED, "cancelled");
	refuse(MODEL_PATH, NULL, NULL, 30, GLM_CANCELLED, "cancelled");
	refuse(MODEL_PATH, "{\"method\": \"gptq\"}", chats, 12, GLM_CANCELLED, "cancelled");
}

static void
test_bad_input(void **state)
{
	(void) state;
	refuse(MODEL_PATH, "{\"method\": \"gptq\"}", NULL, 0, GLM_BAD_ARGUMENT, "calibration");
	refuse(MODEL_PATH, "{\"methode\": \"rtn\"}", NULL, 0, GLM_BAD_ARGUMENT, "methode");
	refuse(MODEL_PATH, "{\"bits\": 5}", NULL, 0, GLM_BAD_ARGUMENT, "bits");
	refuse(MODEL_PATH, "{\"group_size\": \"64\"}", NULL, 0, GLM_BAD_ARGUMENT, "group_size");
	refuse(MODEL_PATH, "{\"keep\": [\"nonesuch*\"]}", NULL, 0, GLM_BAD_ARGUMENT, "nonesuch");
	refuse(MODEL_PATH, "[]", NULL, 0, GLM_BAD_ARGUMENT, "object");
	refuse(MODEL_PATH, NULL, "[]", 0, GLM_BAD_ARGUMENT, "empty");
	refuse(MODEL_PATH, NULL, "[1]", 0, GLM_BAD_ARGUMENT, "text 1");
	refuse(MODEL_PATH, NULL, "[\"a\", \"[3]\"]", 0, GLM_BAD_JSON, "text 2");
	refuse("/nonexistent", NULL, NULL, 0, GLM_NO_FILE, "/nonexistent");
}

static void
test_target_exists(void **state)
{
	place	  p;
	glm_error err = {0};

	(void) state;
	open_place(&p);
	assert_int_equal(mkdir(p.target, 0777), 0);
	assert_null(glm_pack_open(p.target, &err));
	ck_assert_error(&err, GLM_EXISTS, p.target);
	assert_null(glm_pack_open("relative", &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "relative");
	assert_null(glm_pack_open("/", &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "absolute");
	assert_null(glm_pack_open("/nonexistent/a/b", &err));
	ck_assert_error(&err, GLM_NO_FILE, "/nonexistent/a");
	close_place(&p);
}

/* What a dead process left goes; what is being written does not, nor what is no directory of ours. */
static void
test_stale(void **state)
{
	place		p;
	glm_error	err = {0};
	char		stale[CK_PATH];
	char		other[CK_PATH];
	struct stat st;
	glm_pack   *pack;

	(void) state;
	open_place(&p);
	ck_path(stale, p.dir, ".packed.tmp-1");
	ck_path(other, p.dir, ".packed.tmp-x");
	assert_int_equal(mkdir(stale, 0777), 0);
	assert_int_equal(mkdir(other, 0777), 0);
	ck_puts(stale, "model.safetensors", "half");
	pack = glm_pack_open(p.target, &err);
	assert_non_null(pack);
	assert_int_not_equal(lstat(stale, &st), 0);
	assert_int_equal(lstat(other, &st), 0);

	/* a second writer of the same target, in the way of the first */
	assert_null(glm_pack_open(p.target, &err));
	assert_int_equal(lstat(glm_pack_path(pack), &st), 0);
	glm_pack_close(pack);
	assert_int_equal(ck_count(p.dir), 1);
	assert_int_equal(rmdir(other), 0);
	close_place(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_padding_and_files),
		cmocka_unit_test(test_target_exists),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_without_calibration),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_int8),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_keep_and_wide),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_bad_input),
		cmocka_unit_test(test_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
