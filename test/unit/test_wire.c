/*
 * test_wire.c - messages between processes: what is taken for one, and what is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/base.h"

#define BLOCK (sizeof(glm_request) + 100)

/* A fragment of length bytes, in memory of exactly its size. */
static glm_fragment *
fragment(uint64_t id, uint32_t size, uint32_t offset, size_t length)
{
	glm_fragment *f = calloc(1, GLM_FRAGMENT_HEADER + length);

	f->id = id;
	f->size = size;
	f->offset = offset;
	for (size_t i = 0; i < length; i++)
		f->bytes[i] = (char) (offset + i);
	return f;
}

static void
check_fragment(uint64_t id, uint32_t size, uint32_t offset, size_t length, bool good)
{
	glm_fragment *f = fragment(id, size, offset, length);

	assert_int_equal(glm_fragment_check(f, GLM_FRAGMENT_HEADER + length), good);
	free(f);
}

static void
what_is_a_fragment(void **state)
{
	(void) state;
	check_fragment(1, BLOCK, 0, BLOCK, true);
	check_fragment(1, BLOCK, 90, BLOCK - 90, true);
	check_fragment(1, GLM_REQUEST_MAX, 0, 10, true);

	check_fragment(0, BLOCK, 0, 10, false);
	check_fragment(1, BLOCK, 0, 0, false);
	check_fragment(1, BLOCK, 0, BLOCK + 1, false);
	check_fragment(1, BLOCK, 90, BLOCK - 89, false);
	check_fragment(1, BLOCK, BLOCK, 1, false);
	check_fragment(1, BLOCK, UINT32_MAX, 1, false);
	check_fragment(1, sizeof(glm_request) - 1, 0, 10, false);
	check_fragment(1, GLM_REQUEST_MAX + 1, 0, 10, false);
	assert_false(glm_fragment_check("", 0));
}

static void
fragments_come_in_order(void **state)
{
	static const uint32_t cuts[] = {0, 1, 90, BLOCK};
	char				 *block = calloc(1, BLOCK);
	uint32_t			  received = 0;

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		size_t		  length = cuts[i + 1] - cuts[i];
		glm_fragment *f = fragment(1, BLOCK, cuts[i], length);
		size_t		  size = GLM_FRAGMENT_HEADER + length;

		assert_true(glm_fragment_put(f, size, block, BLOCK, &received));
		assert_int_equal(received, cuts[i + 1]);
		/* not twice, and not into a block of another size */
		assert_false(glm_fragment_put(f, size, block, BLOCK, &received));
		f->offset = received;
		assert_false(glm_fragment_put(f, size, block, BLOCK + 1, &received));
		assert_int_equal(received, cuts[i + 1]);
		free(f);
	}
	for (size_t i = 0; i < BLOCK; i++)
		assert_int_equal(block[i], (char) i);
	free(block);
}

static void
what_is_an_event(void **state)
{
	size_t	   size = sizeof(glm_event) + 10;
	glm_event *event = calloc(1, size);

	(void) state;
	event->length = 10;
	for (int kind = 0; kind < 8; kind++)
	{
		event->kind = (uint16_t) kind;
		assert_int_equal(glm_event_check(event, size),
						 kind >= GLM_EVENT_TOKEN && kind <= GLM_EVENT_ERROR);
	}
	event->kind = GLM_EVENT_TOKEN;
	for (int told = -1; told < 12; told++)
	{
		event->told = told;
		assert_int_equal(glm_event_check(event, size), told >= 0 && told <= 10);
	}
	event->told = 0;
	assert_false(glm_event_check(event, size - 1));
	assert_false(glm_event_check(event, sizeof(glm_event) - 1));
	event->length = UINT32_MAX;
	assert_false(glm_event_check(event, size));
	free(event);
}

static void
what_is_told(void **state)
{
	static const char *const texts[] = {"", "a", "bcd"};
	char					 bytes[3 * sizeof(glm_told) + 4];
	size_t					 n = 0;
	const char				*at, *text;
	glm_told				 told;

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		told = (glm_told){.id = i, .length = (uint16_t) strlen(texts[i])};
		memcpy(bytes + n, &told, sizeof(told));
		memcpy(bytes + n + sizeof(told), texts[i], told.length);
		n += sizeof(told) + told.length;
	}
	assert_int_equal(n, sizeof(bytes));
	at = bytes;
	for (int i = 0; i < 3; i++)
	{
		assert_true(glm_told_next(&at, bytes + n, &told, &text));
		assert_int_equal(told.id, i);
		assert_memory_equal(text, texts[i], told.length);
	}
	assert_false(glm_told_next(&at, bytes + n, &told, &text));
	assert_ptr_equal(at, bytes + n);
	/* one that is cut off is none, and stays where it is */
	for (size_t cut = n - 3 - sizeof(told); ++cut < n;)
	{
		at = bytes + n - 3 - sizeof(told);
		assert_false(glm_told_next(&at, bytes + cut, &told, &text));
		assert_ptr_equal(at, bytes + n - 3 - sizeof(told));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_a_fragment),
		cmocka_unit_test(fragments_come_in_order),
		cmocka_unit_test(what_is_an_event),
		cmocka_unit_test(what_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
