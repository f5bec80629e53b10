/*
 * masks_score.c - do masks let all valid instances pass and none that is invalid?
 *
 * The machine is used as it is, without what a matcher puts around it: no schema is refused
 * for having no value, no token because there is no known way to an end behind it.
 */
#include "masks_run.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/constrain/json_machine.h"

#define ARENA_BYTES ((size_t) 64 << 20)
#define SHOWN 60 /* bytes of an instance before the place that is reported */

static uint64_t
now_ns(const masks_bench *b)
{
	struct timespec t;

	if (!b->cpu)
		return (uint64_t) glm_now_ns();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static void
record(masks_times *times, uint64_t ns)
{
	if (times->n == times->capacity)
	{
		times->capacity = times->capacity > 0 ? times->capacity * 2 : 1024;
		times->ns = realloc(times->ns, sizeof(*times->ns) * times->capacity);
		if (times->ns == NULL)
			abort();
	}
	times->ns[times->n++] = ns < UINT32_MAX ? (uint32_t) ns : UINT32_MAX;
}

static void
make_mask(masks_bench *b, const void *state)
{
	b->machine->kind->mask(b->machine, &b->walk, state, masks_tokens_vocabulary(b->tokens),
						   b->allowed);
}

static bool
is_allowed(const masks_bench *b, int32_t id)
{
	return b->allowed[id / 64] >> id % 64 & 1;
}

static bool
step_all(masks_bench *b, void *state, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!b->machine->kind->step(b->machine, &b->walk, state, (uint8_t) bytes[i]))
			return false;
	return true;
}

/* Is the mask what stepping the bytes of every token says? */
static void
compare_mask(masks_bench *b, const void *state)
{
	size_t size = b->machine->kind->state_size;
	void  *copy = glm_arena_get(&b->walk, size);

	b->checked++;
	for (int32_t id = 0; id < masks_tokens_count(b->tokens); id++)
	{
		glm_arena_mark mark = glm_arena_here(&b->walk);
		size_t		   n = 0;
		const char	  *bytes = masks_tokens_bytes(b->tokens, id, &n);
		bool		   fits;

		memcpy(copy, state, size);
		fits = n > 0 && n <= GLM_TOKEN_BYTES && step_all(b, copy, bytes, n);
		glm_arena_back(&b->walk, mark);
		if (fits != is_allowed(b, id))
		{
			if (b->differ++ < 20)
				fprintf(stderr, "DIFFERS %s: token %d \"%.*s\" is %s, mask says %s\n",
						b->now->name.data, id, (int) n, bytes, fits ? "allowed" : "refused",
						fits ? "refused" : "allowed");
			return;
		}
	}
}

/* Compiles, and makes the first mask. */
static void
open_machine(masks_bench *b, void **state)
{
	uint64_t	begin = now_ns(b);
	glm_schema *schema = glm_schema_compile(
		&b->arena, glm_value_read(&b->arena, b->now->schema.data, b->now->schema.length));

	b->machine = glm_json_machine(&b->arena, schema, b->order, b->space);
	*state = glm_arena_get(&b->walk, b->machine->kind->state_size);
	b->machine->kind->start(b->machine, &b->walk, *state);
	make_mask(b, *state);
	record(&b->first, now_ns(b) - begin);
}

/* Is this instance an answer?  *at: how many of its tokens were. */
static bool
feed(masks_bench *b, void *state, const glm_ids *ids, size_t *at)
{
	bool ok = true;

	for (*at = 0; ok && *at < ids->length; *at += ok)
	{
		int32_t		id = ids->data[*at];
		size_t		n = 0;
		const char *bytes = masks_tokens_bytes(b->tokens, id, &n);
		uint64_t	begin = now_ns(b), made;

		make_mask(b, state);
		made = now_ns(b) - begin;
		if (b->check > 0 && masks_draw(b) % (uint64_t) b->check == 0)
			compare_mask(b, state);
		begin = now_ns(b);
		ok = is_allowed(b, id) && step_all(b, state, bytes, n);
		record(&b->mask, made + now_ns(b) - begin);
	}
	return ok && b->machine->kind->ends(b->machine, &b->walk, state);
}

static void
report(const masks_bench *b, const masks_instance *instance, const glm_ids *ids, size_t at)
{
	size_t length = 0, n = 0, from;

	for (size_t i = 0; i < at; i++, length += n)
		masks_tokens_bytes(b->tokens, ids->data[i], &n);
	from = length > SHOWN ? length - SHOWN : 0;
	if (at < ids->length)
		masks_tokens_bytes(b->tokens, ids->data[at], &n);
	else
		n = 0;
	fprintf(stderr, "%s %s: instance %d, token %zu of %zu: %s%.*s >>%.*s<<\n",
			instance->valid ? "VALID-REFUSED" : "INVALID-ACCEPTED", b->now->name.data,
			(int) (instance - b->now->instance), at, ids->length, from > 0 ? "..." : "",
			(int) (length - from), instance->text.data + from, (int) n,
			instance->text.data + length);
}

static void
try_instance(masks_bench *b, const masks_instance *instance, const void *start, bool *good)
{
	glm_arena_mark mark = glm_arena_here(&b->walk);
	size_t		   size = b->machine->kind->state_size, at;
	void		  *state = glm_arena_get(&b->walk, size);
	glm_ids		   ids = {0};

	memcpy(state, start, size);
	if (!masks_tokens_encode(b->tokens, instance->text.data, instance->text.length, &ids))
		abort();
	if (feed(b, state, &ids, &at) != instance->valid)
	{
		*good = false;
		b->validation_errors += instance->valid;
		b->invalidation_errors += !instance->valid;
		if (b->verbose)
			report(b, instance, &ids, at);
	}
	glm_ids_free(&ids);
	glm_arena_back(&b->walk, mark);
}

static void
try_case(masks_bench *b)
{
	bool  good = true;
	void *start;

	open_machine(b, &start);
	b->stepping = true;
	for (int i = 0; i < b->now->n; i++)
		try_instance(b, &b->now->instance[i], start, &good);
	b->passing += good;
}

void
masks_score(masks_bench *b, const masks_case *c)
{
	jmp_buf	  escape;
	glm_error err;

	b->now = c;
	b->stepping = false;
	b->schemas++;
	glm_arena_init(&b->arena, ARENA_BYTES);
	glm_arena_init(&b->walk, ARENA_BYTES);
	b->arena.escape = b->walk.escape = &escape;
	b->arena.err = b->walk.err = &err;
	if (setjmp(escape) == 0)
		try_case(b);
	else
	{
		b->compile_errors++;
		if (b->verbose)
			fprintf(stderr, "%s %s: %s\n", b->stepping ? "LIMIT" : "REFUSED", c->name.data,
					err.message);
	}
	glm_arena_free(&b->walk);
	glm_arena_free(&b->arena);
}
