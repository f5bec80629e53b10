/*
 * test_text.c - buffers, lists, UTF-8 and error messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/base.h"

/* ---- Buffer and list ----------------------------------------------------- */

static void
buffer_grows_and_ends_in_a_nul(void **state)
{
	glm_buf buf = {0};

	(void) state;
	for (int i = 0; i < 1000; i++)
		glm_buf_puts(&buf, "abcdefg");
	glm_buf_add(&buf, "\0z", 2);
	assert_false(buf.failed);
	assert_int_equal(buf.length, 7002);
	assert_memory_equal(buf.data + 6993, "abcdefg\0z", 10);
	glm_buf_free(&buf);
	assert_null(buf.data);
	glm_buf_add(&buf, "", 0);
	assert_string_equal(buf.data, "");
	glm_buf_free(&buf);
}

static void
buffer_remembers_that_memory_ran_out(void **state)
{
	glm_buf buf = {0};

	(void) state;
	glm_buf_puts(&buf, "kept");
	glm_buf_add(&buf, "x", SIZE_MAX / 2);
	assert_true(buf.failed);
	glm_buf_puts(&buf, "not added");
	assert_string_equal(buf.data, "kept");
	glm_buf_free(&buf);
}

static void
ids_are_kept_in_order(void **state)
{
	glm_ids	  ids = {0};
	glm_error err;

	(void) state;
	for (int32_t i = 0; i < 5000; i++)
		assert_true(glm_ids_add(&ids, i * 3, &err));
	assert_int_equal(ids.length, 5000);
	for (int32_t i = 0; i < 5000; i++)
		assert_int_equal(ids.data[i], i * 3);
	glm_ids_free(&ids);
	assert_int_equal(ids.length, 0);
}

/* ---- UTF-8 --------------------------------------------------------------- */

/* The rule itself, written the slow way: decode, then look at the code point. */
static int
slow_length(const unsigned char *s)
{
	uint32_t c;
	int n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : -1;
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

	if (n <= 1)
		return n;
	c = s[0] & (0xFF >> (n + 1));
	for (int i = 1; i < n; i++)
	{
		if (s[i] >> 6 != 2)
			return -1;
		c = c << 6 | (s[i] & 0x3F);
	}
	return c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000) ? -1 : n;
}

static void
every_lead_and_second_byte_is_judged_right(void **state)
{
	(void) state;
	for (int a = 0; a < 256; a++)
		for (int b = 0; b < 256; b++)
		{
			unsigned char s[4] = {a, b, 0x80, 0xBF};

			assert_int_equal(glm_utf8_length((char *) s, 4), slow_length(s));
		}
}

static void
a_beginning_is_no_error_until_it_is_one(void **state)
{
	(void) state;
	assert_int_equal(glm_utf8_length("", 0), 0);
	assert_int_equal(glm_utf8_length("\xE4", 1), 0);
	assert_int_equal(glm_utf8_length("\xE4\xBD", 2), 0);
	assert_int_equal(glm_utf8_length("\xE4\xBD\xA0", 3), 3);
	assert_int_equal(glm_utf8_length("\xE0\x80", 2), -1); /* overlong */
	assert_int_equal(glm_utf8_length("\xED\xA0", 2), -1); /* surrogate */
	assert_int_equal(glm_utf8_length("\xF4\x90", 2), -1); /* past U+10FFFF */
	assert_int_equal(glm_utf8_length("\xF0\x9F\x99"
									 "a",
									 4),
					 -1);
}

static void
check_finds_the_first_bad_byte(void **state)
{
	(void) state;
	assert_int_equal(glm_utf8_check("", 0), -1);
	assert_int_equal(glm_utf8_check("a你好🙂", 11), -1);
	assert_int_equal(glm_utf8_check("a\0b", 3), -1);
	assert_int_equal(glm_utf8_check("ab\xC0\x80", 4), 2);
	assert_int_equal(glm_utf8_check("你\xE5\xA5", 5), 3);
}

/* ---- Errors -------------------------------------------------------------- */

static void
errors_keep_status_message_and_hint(void **state)
{
	glm_error err;

	(void) state;
	memset(&err, 'x', sizeof(err));
	assert_false(glm_fail(&err, GLM_BAD_FILE, "\"%s\" at %d", "a.json", 7));
	assert_int_equal(err.status, GLM_BAD_FILE);
	assert_string_equal(err.message, "\"a.json\" at 7");
	assert_string_equal(err.hint, "");
	glm_hint(&err, "Try %s.", "again");
	assert_string_equal(err.hint, "Try again.");
	assert_false(glm_no_memory(&err));
	assert_int_equal(err.status, GLM_NO_ROOM);
	assert_string_equal(err.hint, "");
}

static void
messages_are_utf8_whatever_they_quote(void **state)
{
	glm_error err;
	char	  name[600];

	(void) state;
	glm_fail(&err, GLM_BAD_FILE, "%s",
			 "a\xFF"
			 "b\xE4\xBDz");
	assert_string_equal(err.message, "a?b??z");
	/* 400 bytes do not divide by three: the last character is left out whole */
	for (int i = 0; i < 199; i++)
		memcpy(name + 3 * i, "你", 4);
	glm_fail(&err, GLM_BAD_FILE, "%s", name);
	assert_int_equal(strlen(err.message), 399);
	glm_fail(&err, GLM_BAD_FILE, "x%s", name);
	assert_int_equal(strlen(err.message), 397);
	assert_int_equal(glm_utf8_check(err.message, 397), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffer_grows_and_ends_in_a_nul),
		cmocka_unit_test(buffer_remembers_that_memory_ran_out),
		cmocka_unit_test(ids_are_kept_in_order),
		cmocka_unit_test(every_lead_and_second_byte_is_judged_right),
		cmocka_unit_test(a_beginning_is_no_error_until_it_is_one),
		cmocka_unit_test(check_finds_the_first_bad_byte),
		cmocka_unit_test(errors_keep_status_message_and_hint),
		cmocka_unit_test(messages_are_utf8_whatever_they_quote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
