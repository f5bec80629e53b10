/*
 * test_request.c - blocks of bytes that are, or are not, requests.
 */
#include "engine/base/base.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "checkpoint.h"

/* A request with every span present; tests spoil it. */
typedef struct sample
{
	glm_request req;
	int32_t		tokens[4]; /* three, and the NUL behind them */
	char		text[64];
} sample;

static glm_span
put(sample *s, uint32_t *at, const char *bytes, uint32_t n)
{
	glm_span span = {offsetof(sample, text) + *at, n};

	memcpy(s->text + *at, bytes, n);
	s->text[*at + n] = '\0';
	*at += n + 1;
	return span;
}

static sample
good(void)
{
	sample	 s = {0};
	uint32_t at = 0;

	s.req.size = sizeof(s);
	s.req.kind = GLM_GENERATE;
	s.req.form = GLM_MESSAGES;
	s.req.model = put(&s, &at, "tiny", 4);
	s.req.path = put(&s, &at, "/models/tiny", 12);
	s.req.options = put(&s, &at, "{}", 2);
	s.req.text = put(&s, &at, "你好", 6);
	s.req.system = put(&s, &at, "", 0);
	s.req.tools = put(&s, &at, "[]", 2);
	s.req.stop = put(&s, &at, "ab\0c\0", 5);
	s.req.tokens = (glm_span){offsetof(sample, tokens), 12};
	s.req.max_tokens = 1;
	s.req.top_p = 1;
	s.req.repetition_penalty = 1;
	return s;
}

static void
assert_good(const sample *s)
{
	glm_error err = {0};

	if (!glm_request_check(s, sizeof(*s), &err))
		fail_msg("%s", err.message);
}

static void
assert_bad(const sample *s, glm_status status, const char *fragment)
{
	glm_error err = {0};

	assert_false(glm_request_check(s, sizeof(*s), &err));
	ck_assert_error(&err, status, fragment);
}

static void
a_good_request_passes(void **state)
{
	sample s = good();

	(void) state;
	assert_good(&s);
	assert_string_equal(glm_request_text(&s.req, s.req.text), "你好");
	assert_string_equal(glm_request_text(&s.req, s.req.system), "");
	s.req.system = (glm_span){0, 0};
	assert_null(glm_request_text(&s.req, s.req.system));
	s.req.stop = s.req.tools = s.req.options = s.req.tokens = (glm_span){0, 0};
	assert_good(&s);
}

static void
sizes_must_agree(void **state)
{
	sample			s = good();
	glm_error		err = {0};
	static uint64_t shifted[sizeof(sample) / 8 + 1];

	(void) state;
	assert_false(glm_request_check(NULL, sizeof(s), &err));
	assert_false(glm_request_check(&s, 0, &err));
	assert_false(glm_request_check(&s, sizeof(glm_request) - 1, &err));
	assert_false(glm_request_check(&s, sizeof(s) - 1, &err));
	ck_assert_error(&err, GLM_INTERNAL, "bad request");
	s.req.size = GLM_REQUEST_MAX + 1;
	assert_false(glm_request_check(&s, GLM_REQUEST_MAX + 1, &err));
	ck_assert_error(&err, GLM_INTERNAL, "bad request");
	s = good();
	memcpy((char *) shifted + 1, &s, sizeof(s));
	assert_false(glm_request_check((char *) shifted + 1, sizeof(s), &err));
	ck_assert_error(&err, GLM_INTERNAL, "aligned");
}

static void
enums_and_flags_must_be_known(void **state)
{
	sample s = good();

	(void) state;
	s.req.kind = 0;
	assert_bad(&s, GLM_INTERNAL, "kind");
	s.req.kind = GLM_N_KIND;
	assert_bad(&s, GLM_INTERNAL, "kind");
	s = good();
	s.req.form = GLM_MESSAGES + 1;
	assert_bad(&s, GLM_INTERNAL, "form");
	s = good();
	s.req.stream = 2;
	assert_bad(&s, GLM_INTERNAL, "flag");
}

static void
spans_must_lie_inside(void **state)
{
	static const glm_span spans[] = {
		{0, 1},
		{1, 0},
		{sizeof(glm_request) - 1, 1},
		{sizeof(sample), 0},
		{sizeof(sample) - 1, 1},
		{UINT32_MAX, 0},
		{UINT32_MAX, UINT32_MAX},
		{sizeof(glm_request), UINT32_MAX},
		{sizeof(sample) - 4, UINT32_MAX - 2},
		{offsetof(sample, text), 2} /* no NUL behind it */
	};
	static const size_t members[] = {
		offsetof(glm_request, model),	  offsetof(glm_request, path),
		offsetof(glm_request, options),	  offsetof(glm_request, text),
		offsetof(glm_request, system),	  offsetof(glm_request, tools),
		offsetof(glm_request, stop),	  offsetof(glm_request, tokens),
		offsetof(glm_request, constraint)};

	(void) state;
	for (size_t m = 0; m < sizeof(members) / sizeof(members[0]); m++)
		for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++)
		{
			sample s = good();

			memcpy((char *) &s.req + members[m], &spans[i], sizeof(glm_span));
			assert_bad(&s, GLM_INTERNAL, "lies outside");
		}
}

static void
texts_must_be_utf8_without_nuls(void **state)
{
	sample s = good();

	(void) state;
	((char *) &s)[s.req.text.offset] = '\xFF';
	assert_bad(&s, GLM_BAD_TEXT, "\"text\" is not valid UTF-8 at byte 0");
	s = good();
	((char *) &s)[s.req.model.offset + 2] = '\0';
	assert_bad(&s, GLM_BAD_TEXT, "\"model\" holds a NUL at byte 2");
}

static void
stop_strings_must_end_and_not_be_empty(void **state)
{
	sample s = good();

	(void) state;
	s.req.stop = s.req.system; /* no strings: an empty array */
	assert_good(&s);
	s = good();
	((char *) &s)[s.req.stop.offset] = '\0';
	assert_bad(&s, GLM_BAD_ARGUMENT, "\"stop\"");
	s = good();
	((char *) &s)[s.req.stop.offset + 4] = 'x';
	assert_bad(&s, GLM_INTERNAL, "no end");
	s = good();
	((char *) &s)[s.req.stop.offset + 3] = '\x80';
	assert_bad(&s, GLM_BAD_TEXT, "\"stop\"");
}

static void
long_lists_of_stop_strings_are_refused(void **state)
{
	const uint32_t size = sizeof(sample) + 3000;
	glm_request	  *req = calloc(1, size);
	sample		   s = good();
	glm_error	   err = {0};
	char		  *stop = (char *) req + sizeof(s);

	(void) state;
	memcpy(req, &s, sizeof(s));
	req->size = size;
	memset(stop, 'x', 1024);
	req->stop = (glm_span){sizeof(s), 1025};
	assert_true(glm_request_check(req, size, &err));
	stop[1024] = 'x';
	req->stop.length = 1026;
	assert_false(glm_request_check(req, size, &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "\"stop\"");
	for (int i = 0; i < 1026; i++)
		stop[i] = i % 2 ? '\0' : 'x';
	req->stop.length = 128;
	stop[128] = '\0';
	assert_true(glm_request_check(req, size, &err));
	req->stop.length = 130;
	stop[128] = 'x';
	stop[130] = '\0';
	assert_false(glm_request_check(req, size, &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "\"stop\"");
	free(req);
}

static void
tokens_must_be_whole_and_aligned(void **state)
{
	sample s = good();

	(void) state;
	s.req.tokens.length = 11;
	assert_bad(&s, GLM_INTERNAL, "aligned");
	s = good();
	s.req.tokens = (glm_span){offsetof(sample, tokens) + 2, 4};
	assert_bad(&s, GLM_INTERNAL, "aligned");
	s = good();
	s.req.kind = GLM_LOGITS;
	assert_good(&s);
	s.req.tokens.length = 0;
	assert_bad(&s, GLM_BAD_ARGUMENT, "\"tokens\"");
	s.req.kind = GLM_DETOKENIZE;
	assert_good(&s);
}

static void
each_kind_has_what_it_needs(void **state)
{
	sample s = good();

	(void) state;
	s.req.model = (glm_span){0, 0};
	assert_bad(&s, GLM_BAD_ARGUMENT, "\"model\"");
	s = good();
	s.req.path = (glm_span){0, 0};
	assert_bad(&s, GLM_BAD_ARGUMENT, "path");
	s.req.kind = GLM_UNLOAD;
	assert_good(&s);
	s = good();
	s.req.text = (glm_span){0, 0};
	assert_bad(&s, GLM_BAD_ARGUMENT, "\"text\"");
	s.req.kind = GLM_COUNT_TOKENS;
	assert_bad(&s, GLM_BAD_ARGUMENT, "\"text\"");
	s.req.kind = GLM_LOAD;
	assert_good(&s);
}

static void
vectors_and_passages_have_numbers_of_their_own(void **state)
{
	sample s = good();

	(void) state;
	s.req.kind = GLM_EMBED;
	assert_good(&s);
	s.req.normalize = 1;
	s.req.pooling = GLM_POOL_LAST;
	assert_good(&s);
	s.req.pooling = GLM_POOL_LAST + 1;
	assert_bad(&s, GLM_INTERNAL, "pooling");
	s.req.pooling = 0;
	s.req.normalize = 2;
	assert_bad(&s, GLM_INTERNAL, "flag");
	s = good();
	s.req.kind = GLM_PASSAGES;
	s.req.max_tokens = 8;
	s.req.overlap = 7;
	assert_good(&s);
	s.req.overlap = 8;
	assert_bad(&s, GLM_BAD_ARGUMENT, "\"overlap\"");
	s.req.overlap = -1;
	assert_bad(&s, GLM_BAD_ARGUMENT, "\"overlap\"");
	s.req.overlap = 0;
	s.req.max_tokens = 0;
	assert_bad(&s, GLM_BAD_ARGUMENT, "\"tokens\"");
}

static void
parameters_must_be_in_range(void **state)
{
	static const double bad[][4] = {
		/* temperature, top_p, min_p, repetition_penalty */
		{-0.1, 1, 0, 1}, {INFINITY, 1, 0, 1}, {NAN, 1, 0, 1},  {0, 0, 0, 1},   {0, 1.01, 0, 1},
		{0, NAN, 0, 1},	 {0, 1, -1, 1},		  {0, 1, 1.01, 1}, {0, 1, NAN, 1}, {0, 1, 0, 0},
		{0, 1, 0, -1},	 {0, 1, 0, INFINITY}, {0, 1, 0, NAN}};
	static const char *const names[] = {"temperature",
										"temperature",
										"temperature",
										"top_p",
										"top_p",
										"top_p",
										"min_p",
										"min_p",
										"min_p",
										"repetition_penalty",
										"repetition_penalty",
										"repetition_penalty",
										"repetition_penalty"};
	sample					 s;

	(void) state;
	for (int i = 0; i < 13; i++)
	{
		s = good();
		s.req.temperature = bad[i][0];
		s.req.top_p = bad[i][1];
		s.req.min_p = bad[i][2];
		s.req.repetition_penalty = bad[i][3];
		assert_bad(&s, GLM_BAD_ARGUMENT, names[i]);
		s.req.kind = GLM_TOKENIZE; /* which takes no notice of them */
		assert_good(&s);
	}
	s = good();
	s.req.min_p = 1;
	assert_good(&s);
	s.req.truncate = GLM_TRUNCATE_MIDDLE;
	assert_good(&s);
	s.req.truncate++;
	assert_bad(&s, GLM_INTERNAL, "truncation");
	s = good();
	s.req.turns = 2;
	assert_bad(&s, GLM_INTERNAL, "flag");
	s = good();
	s.req.max_tokens = 0;
	assert_bad(&s, GLM_BAD_ARGUMENT, "max_tokens");
	s = good();
	s.req.top_k = -1;
	assert_bad(&s, GLM_BAD_ARGUMENT, "top_k");
	s = good();
	s.req.timeout_ms = -1;
	assert_bad(&s, GLM_BAD_ARGUMENT, "timeout_ms");
}

static void
constraints_must_be_whole(void **state)
{
	sample s = good();

	(void) state;
	s.req.stop = (glm_span){0, 0};
	s.req.constrained = GLM_JSON_OBJECT;
	assert_good(&s);
	s.req.constrained = GLM_REGEX;
	assert_bad(&s, GLM_BAD_ARGUMENT, "\"constraint\" is missing");
	s.req.constraint = s.req.text;
	assert_good(&s);
	s.req.kind = GLM_TOKENIZE;
	assert_bad(&s, GLM_INTERNAL, "constrained");
	s.req.kind = GLM_GENERATE;
	s.req.constrained = GLM_N_CONSTRAINTS;
	assert_bad(&s, GLM_INTERNAL, "unknown constraint");
	s.req.constrained = GLM_TOOL_CALL;
	s.req.property_order = GLM_ORDER_ANY + 1;
	assert_bad(&s, GLM_INTERNAL, "unknown constraint");
	s.req.property_order = GLM_ORDER_ANY;
	s.req.json_space = GLM_SPACE_ANY + 1;
	assert_bad(&s, GLM_INTERNAL, "unknown constraint");
	s.req.json_space = GLM_SPACE_ANY;
	assert_good(&s);
	s.req.constraint = s.req.stop = good().req.stop;
	assert_bad(&s, GLM_BAD_ARGUMENT, "\"stop\"");
	s.req.stop = (glm_span){0, 0};
	assert_bad(&s, GLM_BAD_TEXT, "\"constraint\" holds a NUL at byte 2");
	((char *) &s)[s.req.constraint.offset] = '\xFF';
	assert_bad(&s, GLM_BAD_TEXT, "\"constraint\" is not valid UTF-8 at byte 0");
}

/* Whatever bytes come: what passes has its spans inside and ended. */
static void
noise_is_survived(void **state)
{
	uint32_t random = 3;
	int		 passed = 0;

	(void) state;
	for (int round = 0; round < 200000; round++)
	{
		sample	  s = good();
		glm_error err;

		for (int i = 0; i < 1 + round % 3; i++)
		{
			random = random * 1664525 + 1013904223;
			((unsigned char *) &s)[(random >> 8) % sizeof(s)] ^= 1 << (random >> 29);
		}
		if (!glm_request_check(&s, sizeof(s), &err))
		{
			assert_in_range(err.status, GLM_BAD_ARGUMENT, GLM_INTERNAL);
			continue;
		}
		passed++;
		assert_int_equal(strlen(glm_request_text(&s.req, s.req.text)), s.req.text.length);
		assert_true(s.req.tokens.offset + s.req.tokens.length < sizeof(s));
		assert_true(s.req.stop.offset + s.req.stop.length < sizeof(s));
	}
	assert_in_range(passed, 1000, 199000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_request_passes),
		cmocka_unit_test(sizes_must_agree),
		cmocka_unit_test(enums_and_flags_must_be_known),
		cmocka_unit_test(spans_must_lie_inside),
		cmocka_unit_test(texts_must_be_utf8_without_nuls),
		cmocka_unit_test(stop_strings_must_end_and_not_be_empty),
		cmocka_unit_test(long_lists_of_stop_strings_are_refused),
		cmocka_unit_test(tokens_must_be_whole_and_aligned),
		cmocka_unit_test(each_kind_has_what_it_needs),
		cmocka_unit_test(vectors_and_passages_have_numbers_of_their_own),
		cmocka_unit_test(parameters_must_be_in_range),
		cmocka_unit_test(constraints_must_be_whole),
		cmocka_unit_test(noise_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
