/*
 * test_score.c - requests for the probabilities of labels and of given tokens: that they are
 * what the logits of GLM_LOGITS come to, and what is refused.
 */
#include "labels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- By force ------------------------------------------------------------------------ */

static const int32_t no_end = -1;

/* The ids that end an answer: </s>, <|user|>, <|observation|>. */
static int
end_ids(int32_t *ends)
{
	int32_t		 ids[8];
	const char	*found;
	int			 n = 0;
	glm_request *req;
	answer		*a;

	for (int32_t id = 0; id < 3000 && n < 3; id++)
	{
		ids[0] = id;
		req = make_for_tokens(GLM_DETOKENIZE, ids, 1);
		a = wait_for(lb_engine, submit(lb_engine, req));
		if (a->last.kind != GLM_EVENT_DONE)
			break;
		found = a->text;
		if (strcmp(found, "<|user|>") == 0 || strcmp(found, "<|observation|>") == 0)
			ends[n++] = id;
	}
	ends[n++] = 2; /* as config.json has it */
	return n;
}

/* Gives the labels that begin with these n ids of the first their parts of p. */
static void
part(lb_label **labels, int n_labels, int32_t *ids, int n_prompt, int depth, double p, double *mass)
{
	static int32_t ends[4];
	static int	   n_ends;
	double		   e[LB_LABELS + 1], sum = 0, all = 0;
	int			   vocab, n = 0;
	int32_t		   child[LB_LABELS + 1];
	float		   logits[4096];
	const float	  *after;

	if (n_ends == 0)
		n_ends = end_ids(ends);
	if (n_labels == 1)
	{
		labels[0]->p += p;
		return;
	}
	for (int i = 0; i < depth; i++)
		ids[n_prompt + i] = labels[0]->ids[i];
	after = lb_logits(ids, n_prompt + depth, &vocab);
	memcpy(logits, after, (size_t) vocab * sizeof(*logits));
	for (int i = 0; i < n_labels; i++)
	{
		int32_t id = labels[i]->n > depth ? labels[i]->ids[depth] : no_end;
		int		k = 0;

		while (k < n && child[k] != id)
			k++;
		child[k] = id;
		n += k == n;
	}
	for (int k = 0; k < n; k++)
	{
		e[k] = child[k] >= 0 ? exp(logits[child[k]]) : 0;
		for (int i = 0; i < n_ends && child[k] < 0; i++)
			e[k] += exp(logits[ends[i]]);
		sum += e[k];
	}
	for (int i = 0; i < vocab; i++)
		all += exp(logits[i]);
	if (n > 1 && *mass == 0)
		*mass = sum / all;
	for (int k = 0; k < n; k++)
	{
		lb_label *below[LB_LABELS];
		int		  n_below = 0;

		for (int i = 0; i < n_labels; i++)
		{
			int32_t id = labels[i]->n > depth ? labels[i]->ids[depth] : no_end;

			if (id == child[k])
				below[n_below++] = labels[i];
		}
		part(below, n_below, ids, n_prompt, depth + 1, n > 1 ? p * (e[k] / sum) : p, mass);
	}
}

static void
labels_as_by_force(void **state)
{
	(void) state;
	for (int i = 0; i < LB_QUESTIONS; i++)
	{
		const lb_question *q = &lb_questions[i];
		char			   json[LB_JSON];
		lb_label		   labels[LB_LABELS] = {0}, *all[LB_LABELS];
		int32_t			   ids[LB_MOST];
		int				   n = lb_prompt(q->prompt, ids);
		double			   mass = 0, sum = 0;
		answer			  *a;
		double			   p[LB_LABELS + 1];

		for (int k = 0; k < q->n; k++)
		{
			labels[k].n = lb_ids(GLM_TOKENIZE, q->labels[k], labels[k].ids);
			all[k] = &labels[k];
		}
		part(all, q->n, ids, n, 0, 1, &mass);
		lb_write(json, q);
		a = lb_ask(lb_about(GLM_SCORE, GLM_PROMPT, q->prompt, json, 0));
		assert_int_equal(a->length, (q->n + 1) * sizeof(double));
		assert_int_equal(a->last.completion_tokens, 0);
		memcpy(p, a->text, a->length);
		for (int k = 0; k < q->n; k++)
		{
			if (fabs(p[k] - labels[k].p) > 1e-8 * labels[k].p)
				fail_msg("\"%s\" of question %d is %.12g, not %.12g", q->labels[k], i, p[k],
						 labels[k].p);
			sum += p[k];
		}
		assert_true(fabs(sum - 1) < 1e-12);
		if (q->n > 1)
			assert_true(fabs(p[q->n] - mass) <= 1e-8 * mass);
		assert_true(p[q->n] > 0 && p[q->n] <= 1);
	}
}

/* Texts of one label are added up, and need not differ from one another. */
static void
texts_of_one_label(void **state)
{
	double apart[5], together[3];

	(void) state;
	memcpy(apart,
		   lb_ask(lb_about(GLM_SCORE, GLM_PROMPT, "Well?", "[\"yes\", \"Yes\", \"no\", \"No\"]", 0))
			   ->text,
		   sizeof(apart));
	memcpy(together,
		   lb_ask(lb_about(GLM_SCORE, GLM_PROMPT, "Well?",
						   "[[\"yes\", \"Yes\", \"yes\"], [\"no\", \"No\"]]", 0))
			   ->text,
		   sizeof(together));
	assert_true(fabs(together[0] - apart[0] - apart[1]) < 1e-12);
	assert_true(fabs(together[1] - apart[2] - apart[3]) < 1e-12);
	assert_memory_equal(&together[2], &apart[4], sizeof(double));
}
/* ---- Given tokens -------------------------------------------------------------------- */

/* n tokens behind a prompt, judged by the logits before each. */
static void
check_judged(answer *judged, int32_t *ids, int n_prompt, int n, int top, const char *says)
{
	static answer	  kept;
	const answer	 *a = &kept;
	glm_token_logprob out[LB_MOST];

	const char *text = a->text + n * (1 + top) * sizeof(*out);
	char		joined[1024] = "";

	kept = *judged; /* its ticket will be another's */
	assert_true(a->length > n * (1 + top) * sizeof(*out));
	assert_int_equal(a->last.prompt_tokens, n_prompt);
	assert_int_equal(a->last.completion_tokens, n);
	memcpy(out, a->text, n * (1 + top) * sizeof(*out));
	for (int i = 0; i < n * (1 + top); i++)
	{
		if (i % (1 + top) == 0)
			strcat(joined, text);
		text += strlen(text) + 1;
	}
	assert_ptr_equal(text, a->text + a->length);
	assert_non_null(strstr(joined, says));
	for (int i = 0; i < n; i++)
	{
		const glm_token_logprob *one = &out[i * (1 + top)];
		int						 vocab, above = 0;
		const float				*logits = lb_logits(ids, n_prompt + i, &vocab);
		double					 all = 0;

		for (int k = 0; k < vocab; k++)
			all += exp(logits[k]);
		assert_int_equal(one->token_id, ids[n_prompt + i]);
		for (int k = 0; k <= top; k++)
			assert_true(fabs(one[k].logprob - (logits[one[k].token_id] - log(all))) < 1e-5);
		for (int k = 2; k <= top; k++)
			assert_true(one[k - 1].logprob >= one[k].logprob);
		for (int k = 0; k < vocab && top > 0; k++)
			above += logits[k] > logits[one[top].token_id];
		assert_true(above < (top > 0 ? top : 1));
	}
}

static void
tokens_as_by_force(void **state)
{
	static const char text[] = "positive, they said; and the lamp was still on the table.";
	int32_t			  ids[LB_MOST], joined[LB_MOST];
	int				  n, n_joined, same = 0;
	answer			 *a;

	(void) state;
	n = lb_prompt("I love it.", ids);
	n_joined = lb_ids(GLM_TOKENIZE, text, ids + n);
	for (int top = 0; top <= 5; top += 5)
	{
		a = lb_ask(lb_about(GLM_LOGPROBS, GLM_PROMPT, "I love it.", text, top));
		check_judged(a, ids, n, n_joined, top, text);
	}
	/* behind a raw prompt: a piece may span the border */
	n = 2 + lb_ids(GLM_TOKENIZE, "I love it. Sent", ids + 2);
	n_joined = 2 + lb_ids(GLM_TOKENIZE, "I love it. Sentiment: good", joined + 2);
	lb_ids(GLM_CHAT_TOKENS, "x", ids); /* begins with the same two */
	memcpy(joined, ids, 2 * sizeof(*ids));
	n = 2 + lb_ids(GLM_TOKENIZE, "I love it. Sent", ids + 2);
	while (same < n && ids[same] == joined[same])
		same++;
	a = lb_ask(lb_about(GLM_LOGPROBS, GLM_RAW, "I love it. Sent", "iment: good", 3));
	check_judged(a, joined, same, n_joined - same, 3, "iment: good");
	/* all of a text */
	a = lb_ask(lb_about(GLM_LOGPROBS, GLM_RAW, "", "I love it. Sentiment: good", 0));
	check_judged(a, joined, 2, n_joined - 2, 0, "I love it. Sentiment: good");
}
/* ---- What is refused --------------------------------------------------------------------- */

static void
check_refused(glm_request *req, glm_status status, const char *part_of_message)
{
	answer *a = wait_for(lb_engine, submit(lb_engine, req));

	if (a->last.kind != GLM_EVENT_ERROR || a->last.status != status)
		fail_msg("no \"%s\": %d, %s", part_of_message, a->last.status, a->message);
	if (strstr(a->message, part_of_message) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", a->message, part_of_message);
}

static void
what_is_refused(void **state)
{
	char  *many = malloc(300000);
	size_t n = 0;
	static const struct
	{
		const char *labels;
		glm_status	status;
		const char *message;
	} refused[] = {
		{"[]", GLM_BAD_ARGUMENT, "no labels"},
		{"{}", GLM_BAD_ARGUMENT, "no labels"},
		{"[\"a\", \"\"]", GLM_BAD_ARGUMENT, "label 2"},
		{"[\"a\", 5]", GLM_BAD_ARGUMENT, "label 2"},
		{"[\"a\", []]", GLM_BAD_ARGUMENT, "label 2"},
		{"[\"a\", [\"b\", null]]", GLM_BAD_ARGUMENT, "label 2"},
		{"[\"a\", \"b\", [\"c\", \"a\"]]", GLM_BAD_ARGUMENT, "labels 1 and 3"},
		{"[\"a\"", GLM_BAD_JSON, "JSON"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		check_refused(lb_about(GLM_SCORE, GLM_PROMPT, "x", refused[i].labels, 0), refused[i].status,
					  refused[i].message);
	for (int i = 0; i < 1001; i++)
		n += (size_t) sprintf(many + n, "%c\"%d\"", i > 0 ? ',' : '[', i);
	strcpy(many + n, "]");
	check_refused(lb_about(GLM_SCORE, GLM_PROMPT, "x", many, 0), GLM_TOO_COMPLEX, "1001");
	n = (size_t) sprintf(many, "[[\"x\"");
	for (int i = 0; i < 4000; i++)
		n += (size_t) sprintf(many + n, ",\"%d\"", i);
	strcpy(many + n, "]]");
	check_refused(lb_about(GLM_SCORE, GLM_PROMPT, "x", many, 0), GLM_TOO_COMPLEX, "4000");
	check_refused(lb_about(GLM_LOGPROBS, GLM_PROMPT, "x", "", 0), GLM_BAD_ARGUMENT, "continuation");
	/* does not fit behind its prompt, or by itself */
	memset(many, 0, 300000);
	for (int i = 0; i < 40000; i++)
		memcpy(many + 3 * i, "a\t ", 4);
	check_refused(lb_about(GLM_LOGPROBS, GLM_PROMPT, "x", many, 0), GLM_TOO_LONG, "tokens");
	many[0] = '[';
	many[1] = '"';
	for (int i = 2; i < 9000; i++)
		many[i] = "a ,"[i % 3];
	strcpy(many + 9000, "x\", \"y\"]");
	check_refused(lb_about(GLM_SCORE, GLM_PROMPT, "x", many, 0), GLM_TOO_LONG, "tokens");
	free(many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(labels_as_by_force, lb_open, lb_close),
		cmocka_unit_test_setup_teardown(texts_of_one_label, lb_open, lb_close),
		cmocka_unit_test_setup_teardown(tokens_as_by_force, lb_open, lb_close),
		cmocka_unit_test_setup_teardown(what_is_refused, lb_open, lb_close),
	};

	return cmocka_run_group_tests_name("score", tests, NULL, NULL);
}
