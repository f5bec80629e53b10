/*
 * test_json.c - JSON as Python reads it: integers of any size, no NULs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/literal.h"

/* What the value is when it is written again; NULL: it is no JSON. */
static void
assert_parsed(const char *json, bool constants, const char *want)
{
	size_t		 n = strlen(json);
	char		*exact = malloc(n + 1); /* so that a sanitizer sees what is read behind it */
	json_error_t why;
	json_t		*value;
	glm_buf		 out = {0};

	memcpy(exact, json, n);
	value = glm_json_parse(exact, n, constants, &why);
	if (want == NULL && value != NULL)
		fail_msg("accepted: %s", json);
	if (want != NULL && value == NULL)
		fail_msg("%s: %s", json, why.text);
	if (want == NULL)
		assert_true(why.text[0] != '\0');
	else
	{
		assert_true(glm_literal_write(&out, value, GLM_STYLE_JSON));
		assert_string_equal(out.data, want);
	}
	glm_buf_free(&out);
	json_decref(value);
	free(exact);
}

static void
integers_keep_their_digits(void **state)
{
	(void) state;
	assert_parsed("9223372036854775807", false, "9223372036854775807");
	assert_parsed("9223372036854775808", false, "9223372036854775808");
	assert_parsed("-9223372036854775808", false, "-9223372036854775808");
	assert_parsed("-9223372036854775809", false, "-9223372036854775809");
	assert_parsed("{\"a\": [18446744073709551615, {\"b\": -100000000000000000000}], \"c\": 7}",
				  false,
				  "{\"a\": [18446744073709551615, {\"b\": -100000000000000000000}], \"c\": 7}");
	/* digits in strings, and numbers that are no integers, are left alone */
	assert_parsed("[\"123456789012345678901\", 12345678901234567890.0, 1e30]", false,
				  "[\"123456789012345678901\", 1.2345678901234567e+19, 1e+30]");
	assert_parsed("[\"\\\"\", 123456789012345678901, \"\\\\\"]", false,
				  "[\"\\\"\", 123456789012345678901, \"\\\\\"]");
}

static void
what_is_no_json_stays_none(void **state)
{
	static const char *const bad[] = {"",
									  "00000000000000000000001",
									  "-",
									  "123456789012345678901x",
									  "[123456789012345678901",
									  "12345678901234567890 1",
									  "+123456789012345678901",
									  "1e999",
									  "\"a",
									  "\"\\u0000\"",
									  "{\"a\\u0000\": 1}",
									  "NaN",
									  "-Infinity",
									  "\"\\",
									  "{123456789012345678901: 1}"};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_parsed(bad[i], false, NULL);
	assert_parsed("\"\\\\u0000\"", false, "\"\\\\u0000\"");
	assert_parsed("NaN", true, "NaN");
	assert_parsed("[Infinity, -Infinity, -1, \"NaN\", null]", true,
				  "[Infinity, -Infinity, -1, \"NaN\", null]");
	assert_parsed("Nan", true, NULL);
	assert_parsed("{NaN: 1}", true, NULL);
}

static void
a_number_is_no_text(void **state)
{
	json_error_t why;
	json_t		*big = glm_json_parse("12345678901234567890", 20, false, &why);
	json_t		*text = glm_json_parse("\"\"", 2, false, &why);

	(void) state;
	assert_null(glm_json_text(big));
	assert_string_equal(glm_json_big(big), "12345678901234567890");
	assert_string_equal(glm_json_text(text), "");
	assert_null(glm_json_big(text));
	assert_null(glm_json_text(NULL));
	assert_null(glm_json_big(NULL));
	json_decref(big);
	json_decref(text);
}

static void
errors_say_where(void **state)
{
	static const char json[] = "[1,\n \"ab\\u0000\"]";
	json_error_t	  why;

	(void) state;
	assert_null(glm_json_parse(json, strlen(json), false, &why));
	assert_int_equal(why.line, 2);
	assert_int_equal(why.column, 2);
	assert_null(strstr(why.text, "JSON_ALLOW_NUL"));
	assert_null(glm_json_parse("[1e400]", 7, false, &why));
	assert_string_equal(why.text, "a number is too large");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_keep_their_digits),
		cmocka_unit_test(what_is_no_json_stays_none),
		cmocka_unit_test(a_number_is_no_text),
		cmocka_unit_test(errors_say_where),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
