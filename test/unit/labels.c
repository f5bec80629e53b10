/*
 * labels.c - see labels.h.
 */
#include "labels.h"

#include <stdio.h>
#include <string.h>

glm_engine *lb_engine;

int
lb_open(void **state)
{
	(void) state;
	lb_engine = open_engine(2, 8, LB_ROOMY);
	return 0;
}

int
lb_close(void **state)
{
	(void) state;
	glm_engine_close(lb_engine);
	return 0;
}

/* ---- Requests ---------------------------------------------------------------------- */

glm_request *
lb_about(glm_kind kind, glm_form form, const char *prompt, const char *continuation, int top)
{
	/* a span of the same place in a request for something constrained */
	glm_request *req = constrain(make_request(prompt, 16, false), GLM_UNCONSTRAINED, continuation);

	req->continuation = req->constraint;
	req->constraint = (glm_span){0};
	req->kind = kind;
	req->form = form;
	req->top_logprobs = top;
	return req;
}

answer *
lb_ask(glm_request *req)
{
	answer *a = wait_for(lb_engine, submit(lb_engine, req));

	if (a->last.kind != GLM_EVENT_DONE)
		fail_msg("%s", a->message);
	return a;
}

int
lb_ids(glm_kind kind, const char *text, int32_t *ids)
{
	glm_request *req = make_request(text, 1, false);
	answer		*a;

	req->kind = kind;
	req->scope = 0;
	if (kind == GLM_TOKENIZE)
		req->form = GLM_RAW;
	a = lb_ask(req);
	assert_true(a->length <= LB_MOST * sizeof(*ids));
	memcpy(ids, a->text, a->length);
	return (int) (a->length / sizeof(*ids));
}

/* A chat's prompt with what stands before the content of its answer. */
int
lb_prompt(const char *prompt, int32_t *ids)
{
	int n = lb_ids(GLM_CHAT_TOKENS, prompt, ids);

	return n + lb_ids(GLM_TOKENIZE, "\n", ids + n);
}

const float *
lb_logits(const int32_t *ids, int n, int *vocab)
{
	glm_request *req = make_for_tokens(GLM_LOGITS, ids, n);
	answer		*a;

	req->scope = 0;
	a = lb_ask(req);
	*vocab = (int) (a->length / sizeof(float));
	return (const float *) (const void *) a->text;
}

const lb_question lb_questions[LB_QUESTIONS] = {
	{"I love it, it works great.", 3, {"positive", "negative", "neutral"}},
	{"The lamp came late.", 2, {"a", "b"}},
	/* the first is the beginning of the second, and so on */
	{"Which one?", 4, {"re", "return", "returns", "return to sender"}},
	{"Wo?", 5, {"Berlin", "Bern", "Bergen", "in Berlin", "in Bergen an der Dumme"}},
	{"北京今天天气怎么样", 4, {"晴", "晴天", "多云", "多云转晴"}},
	{"One", 1, {"alone"}},
	{"Long ones",
	 4,
	 {"It was a long way to the station, and nobody knew which of the two roads was shorter, so "
	  "we took the first and came late; then we went home by the other road, and it was longer",
	  "It was a long way to the station, and nobody knew which of the two roads was shorter, so "
	  "we took the first and came late; then we went home by the other road, which was shorter",
	  "It was a long way to the station, and nobody knew which of the two roads was shorter, so "
	  "we took the second and came late",
	  "It was a short way"}},
};

/* Labels that part at many places, on three or four levels. */
const lb_question lb_crowd = {"Which one?",
							  42,
							  {"account",
							   "account closed",
							   "account locked",
							   "billing",
							   "billing address",
							   "billing charged twice",
							   "billing refund",
							   "billing refund late",
							   "Berlin",
							   "Bern",
							   "Bergen",
							   "Bremen",
							   "card",
							   "cards",
							   "cargo",
							   "delivery",
							   "delivery late",
							   "delivery lost",
							   "delivery damaged",
							   "exchange",
							   "exchange size",
							   "exchange colour",
							   "neutral",
							   "negative",
							   "no",
							   "not sure",
							   "order",
							   "order cancelled",
							   "order changed",
							   "password",
							   "password lost",
							   "pass",
							   "positive",
							   "posted",
							   "return",
							   "returns",
							   "return to sender",
							   "sale",
							   "sales",
							   "shipping",
							   "shipping cost",
							   "ship"}};

void
lb_write(char *json, const lb_question *q)
{
	strcpy(json, "[");
	for (int i = 0; i < q->n; i++)
		sprintf(json + strlen(json), "%s\"%s\"", i > 0 ? ", " : "", q->labels[i]);
	strcat(json, "]");
}
