/*
 * readers.c - JSON machines of tests.
 */
#include "readers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/constrain/json_machine.h"

static glm_arena	arena, walk;
static jmp_buf		escape;
static glm_error	err;
static glm_machine *machine;
static void		   *state;
static glm_buf		end;
static const char  *opened;

void
reader_close(void)
{
	glm_arena_free(&arena);
	glm_arena_free(&walk);
	glm_buf_free(&end);
	free(state);
	state = NULL;
	machine = NULL;
}

int
reader_teardown(void **unused)
{
	(void) unused;
	reader_close();
	return 0;
}

/* Everything that may leave by the escape is called below this. */
#define GUARD()                                                                                    \
	if (setjmp(escape) != 0)                                                                       \
	fail_msg("%.200s: %s", opened, err.message)

static void
begin(void)
{
	glm_arena_free(&walk);
	machine->kind->start(machine, &walk, state);
}

static void
open_unguarded(const char *schema, glm_property_order order, glm_json_space space)
{
	machine = glm_json_machine(
		&arena, glm_schema_compile(&arena, glm_value_read(&arena, schema, strlen(schema))), order,
		space);
	state = malloc(machine->kind->state_size);
	assert_non_null(state);
	begin();
}

static void
prepare(const char *schema)
{
	reader_close();
	opened = schema;
	glm_arena_init(&arena, (size_t) 64 << 20);
	glm_arena_init(&walk, (size_t) 64 << 20);
	arena.escape = walk.escape = &escape;
	arena.err = walk.err = &err;
}

void
reader_open(const char *schema, glm_property_order order, glm_json_space space)
{
	prepare(schema);
	GUARD();
	open_unguarded(schema, order, space);
}

void
assert_escapes(const char *schema, const char *text, glm_status status, const char *why)
{
	prepare(schema);
	if (setjmp(escape) != 0)
	{
		if (err.status != status || strstr(err.message, why) == NULL)
			fail_msg("%.200s: status %d, %s", schema, err.status, err.message);
		return;
	}
	open_unguarded(schema, GLM_ORDER_ANY, GLM_SPACE_EXACT);
	for (int i = 0; text[i] != '\0'; i++)
		machine->kind->step(machine, &walk, state, (uint8_t) text[i]);
	fail_msg("%.200s: nothing is wrong with it", schema);
}

/* What is left out before it is tried may not come. */
static bool
step(uint8_t byte)
{
	uint64_t may[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
	bool	 comes;

	machine->kind->narrow(machine, &walk, state, may);
	comes = machine->kind->step(machine, &walk, state, byte);
	assert_true(!comes || may[byte / 64] >> byte % 64 & 1);
	return comes;
}

int
reader_untold(void)
{
	uint64_t may[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
	int		 n = 0;

	GUARD();
	machine->kind->narrow(machine, &walk, state, may);
	for (int i = 0; i < 4; i++)
		n += __builtin_popcountll(may[i]);
	return n;
}

int
reader_reads(const char *text)
{
	GUARD();
	begin();
	for (int i = 0; text[i] != '\0'; i++)
		if (!step((uint8_t) text[i]))
			return i;
	return machine->kind->ends(machine, &walk, state) ? -1 : (int) strlen(text);
}

bool
reader_goes_on(const char *text)
{
	GUARD();
	for (int i = 0; text[i] != '\0'; i++)
		if (!step((uint8_t) text[i]))
			return false;
	return true;
}

const char *
reader_end(long steps)
{
	GUARD();
	end.length = 0;
	glm_buf_puts(&end, "");
	if (!machine->kind->complete(machine, &walk, state, &steps, &end))
		return NULL;
	return end.data;
}

void
assert_cases(const reader_case *cases, size_t n, glm_property_order order, glm_json_space space)
{
	for (size_t i = 0; i < n; i++)
	{
		reader_open(cases[i].schema, order, space);
		for (int k = 0; k < 12 && cases[i].valid[k] != NULL; k++)
			if (reader_reads(cases[i].valid[k]) != -1)
				fail_msg("%s: %s is refused at byte %d", cases[i].schema, cases[i].valid[k],
						 reader_reads(cases[i].valid[k]));
		for (int k = 0; k < 12 && cases[i].invalid[k] != NULL; k++)
			if (reader_reads(cases[i].invalid[k]) == -1)
				fail_msg("%s: %s is accepted", cases[i].schema, cases[i].invalid[k]);
	}
}

void
assert_stops(const char *schema, const char *text, int at)
{
	reader_open(schema, GLM_ORDER_ANY, GLM_SPACE_EXACT);
	if (reader_reads(text) != at)
		fail_msg("%s: %s stops at byte %d, not %d", schema, text, reader_reads(text), at);
}
