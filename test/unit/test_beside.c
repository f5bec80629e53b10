/*
 * test_beside.c - probabilities of labels and given tokens do not depend on what is computed
 * beside them.
 */
#include "labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Beside others ------------------------------------------------------------------- */

#define ASKED 24

static char longer[740];

/* Request i, always the same. */
static glm_request *
numbered(int i)
{
	char		 json[LB_JSON];
	glm_request *req;

	if (i % 3 == 0)
		req = lb_about(GLM_LOGPROBS, i % 2 ? GLM_RAW : GLM_PROMPT, i % 4 ? longer : "Lamp",
					   longer + 300 + 37 * (i % 5), i % 6 ? 0 : 2);
	else
	{
		lb_write(json, i % 7 == 1 ? &lb_crowd : &lb_questions[i % LB_QUESTIONS]);
		req = lb_about(GLM_SCORE, i % 5 ? GLM_PROMPT : GLM_RAW,
					   i % 2 ? lb_questions[i % LB_QUESTIONS].prompt : longer, json, 0);
	}
	req->tenant = i % 2;
	req->batch = i % 3 == 1;
	return req;
}

typedef struct beside
{
	int				threads;
	int				sequences;
	int				budget;
	size_t			kv_mb;
	glm_speculation speculation;
} beside;

static answer alone[ASKED];

static void
ask_alone(void)
{
	lb_engine = open_engine(1, 1, LB_ROOMY);
	glm_engine_set_speculation(lb_engine, GLM_SPECULATE_OFF);
	for (int i = 0; i < ASKED; i++)
	{
		glm_request *req = numbered(i);

		req->scope = 0;
		alone[i] = *lb_ask(req);
	}
	glm_engine_close(lb_engine);
}

/* All of them with as many answers, twice: the second time much of it is cached. */
static void
ask_together(void)
{
	for (int round = 0; round < 2; round++)
	{
		int ticket[ASKED], other[ASKED];

		for (int i = 0; i < ASKED; i++)
		{
			ticket[i] = submit(lb_engine, numbered(i));
			other[i] = submit(lb_engine, make_request(longer + i % 3 * 100, 30, false));
		}
		for (int i = 0; i < ASKED; i++)
		{
			answer *a = wait_for(lb_engine, ticket[i]);

			if (a->last.kind != GLM_EVENT_DONE)
				fail_msg("%d: %s", i, a->message);
			assert_int_equal(a->length, alone[i].length);
			assert_memory_equal(a->text, alone[i].text, a->length);
			assert_int_equal(a->last.prompt_tokens, alone[i].last.prompt_tokens);
			assert_int_equal(a->last.completion_tokens, alone[i].last.completion_tokens);
		}
		for (int i = 0; i < ASKED; i++)
			wait_for(lb_engine, other[i]);
	}
}

static void
results_alone_and_beside_others(void **state)
{
	static const beside conditions[] = {{2, 64, 256, 64, GLM_SPECULATE_OFF},
										{2, 4, 64, 64, GLM_SPECULATE_ALWAYS},
										{1, 16, 7, 64, GLM_SPECULATE_ALWAYS},
										{2, 40, 512, 3, GLM_SPECULATE_ALWAYS},
										{1, 2, 512, 3, GLM_SPECULATE_AUTO}};

	(void) state;
	for (size_t i = 0; i + 20 < sizeof(longer); i += 20)
		sprintf(longer + i, "the lamp no. %5zu, ", i * 7919 % 99991);
	ask_alone();
	for (size_t c = 0; c < sizeof(conditions) / sizeof(*conditions); c++)
	{
		const beside *how = &conditions[c];

		lb_engine = open_engine(how->threads, how->sequences, how->kv_mb << 20);
		glm_engine_set_prefill_budget(lb_engine, how->budget);
		glm_engine_set_speculation(lb_engine, how->speculation);
		ask_together();
		if (how->kv_mb == 3 && how->sequences > 2)
			assert_true(stats_of(lb_engine).preemptions > 0);
		glm_engine_close(lb_engine);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_alone_and_beside_others),
	};

	return cmocka_run_group_tests_name("beside", tests, NULL, NULL);
}
