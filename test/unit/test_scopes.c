/*
 * test_scopes.c - requests of different scopes show each other nothing: what is
 * cached, drafted or just being computed for one does not change what another is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "client.h"

#define COMPANY 8
#define ROOMY ((size_t) 64 << 20)

static glm_request *
make_scoped(uint64_t scope, int max_tokens)
{
	glm_request *req =
		make_request("Dear bank, a note about my card. Please keep it for your files here. "
					 "My PIN is 347607 and I would like you to send a new card to my home "
					 "address, thanks a lot.",
					 max_tokens, false);

	req->scope = scope;
	return req;
}

/*
 * A request of another scope is told what it would be told if nobody had asked before:
 * of cached tokens, and of those that were drafted.
 */
static void
scopes_show_nothing(void **state)
{
	glm_engine *engine = open_engine(2, 4, ROOMY);
	glm_event	first = {0};

	(void) state;
	glm_engine_set_speculation(engine, GLM_SPECULATE_ALWAYS);
	for (uint64_t scope = 1; scope <= 3; scope++)
	{
		for (int again = 0; again < 3; again++)
		{
			const glm_event *last = &wait_for(engine, submit(engine, make_scoped(scope, 40)))->last;

			if (again > 0)
				assert_true(last->cached_tokens > 0 &&
							last->accepted_tokens > first.accepted_tokens);
			else if (scope > 1)
			{
				assert_int_equal(last->cached_tokens, 0);
				assert_int_equal(last->accepted_tokens, first.accepted_tokens);
			}
			else
				first = *last;
		}
	}
	glm_engine_close(engine);
}

/* Nor does it wait for one of another scope that computes what it begins with. */
static void
scopes_wait_apart(void **state)
{
	glm_engine *engine = open_engine(2, COMPANY, ROOMY);
	int			ticket[COMPANY];

	(void) state;
	for (int i = 0; i < COMPANY; i++)
		ticket[i] = submit(engine, make_scoped((uint64_t) i + 1, 20));
	for (int i = 0; i < COMPANY; i++)
		assert_int_equal(wait_for(engine, ticket[i])->last.cached_tokens, 0);
	assert_int_equal(stats_of(engine).prompt_tokens,
					 COMPANY * answers[ticket[0]].last.prompt_tokens);
	glm_engine_close(engine);
}

/* What of its prompts is still cached does not tell a scope how much others have asked. */
static void
others_push_nothing_out(void **state)
{
	glm_engine *engine = open_engine(2, 4, (size_t) 4 << 20);
	int			cached;

	(void) state;
	wait_for(engine, submit(engine, make_scoped(1, 1)));
	cached = wait_for(engine, submit(engine, make_scoped(1, 1)))->last.cached_tokens;
	assert_true(cached > 0);
	for (int i = 0; stats_of(engine).kv_evictions < 20; i++)
	{
		char		 prompt[64];
		glm_request *req;

		assert_true(i < 1000);
		snprintf(prompt, sizeof(prompt), "%d%d%d lamps for room %d", i, i, i, i * 7);
		req = make_request(prompt, 100, false);
		req->temperature = 100;
		req->seed = (uint64_t) i;
		req->scope = 2;
		wait_for(engine, submit(engine, req));
	}
	assert_int_equal(wait_for(engine, submit(engine, make_scoped(1, 1)))->last.cached_tokens,
					 cached);
	glm_engine_close(engine);
}

/* Scope 0 finds nothing, not even its own, and leaves nothing. */
static void
no_scope_no_sharing(void **state)
{
	glm_engine *engine = open_engine(1, 4, ROOMY);

	(void) state;
	for (int again = 0; again < 2; again++)
		assert_int_equal(wait_for(engine, submit(engine, make_scoped(0, 20)))->last.cached_tokens,
						 0);
	assert_int_equal(stats_of(engine).kv_bytes_cached, 0);
	glm_engine_close(engine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scopes_show_nothing),
		cmocka_unit_test(scopes_wait_apart),
		cmocka_unit_test(no_scope_no_sharing),
		cmocka_unit_test(others_push_nothing_out),
	};

	return cmocka_run_group_tests_name("scopes", tests, NULL, NULL);
}
