/*
 * test_score.c - requests for the probabilities of labels and of given tokens: that they are
 * what the logits of GLM_LOGITS come to, that they do not depend on what is computed beside
 * them, and that tokens which are taken back spoil nothing that others share.
 */
#include "client.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOMY ((size_t) 64 << 20)
#define MOST 512 /* tokens */

static glm_engine *engine;

/* ---- Requests ---------------------------------------------------------------------- */

static glm_request *
make_about(glm_kind kind, glm_form form, const char *prompt, const char *continuation, int top)
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

static answer *
ask(glm_request *req)
{
	answer *a = wait_for(engine, submit(engine, req));

	if (a->last.kind != GLM_EVENT_DONE)
		fail_msg("%s", a->message);
	return a;
}

static int
ids_of(glm_kind kind, const char *text, int32_t *ids)
{
	glm_request *req = make_request(text, 1, false);
	answer		*a;

	req->kind = kind;
	req->scope = 0;
	if (kind == GLM_TOKENIZE)
		req->form = GLM_RAW;
	a = ask(req);
	assert_true(a->length <= MOST * sizeof(*ids));
	memcpy(ids, a->text, a->length);
	return (int) (a->length / sizeof(*ids));
}

/* A chat's prompt with what stands before the content of its answer. */
static int
prompt_ids(const char *prompt, int32_t *ids)
{
	int n = ids_of(GLM_CHAT_TOKENS, prompt, ids);

	return n + ids_of(GLM_TOKENIZE, "\n", ids + n);
}

static const float *
logits_after(const int32_t *ids, int n, int *vocab)
{
	glm_request *req = make_for_tokens(GLM_LOGITS, ids, n);
	answer		*a;

	req->scope = 0;
	a = ask(req);
	*vocab = (int) (a->length / sizeof(float));
	return (const float *) (const void *) a->text;
}

/* ---- By force ------------------------------------------------------------------------ */

#define LABELS 64

typedef struct label
{
	int32_t ids[MOST / 2];
	int		n;
	double	p;
} label;

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
		a = wait_for(engine, submit(engine, req));
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
part(label **labels, int n_labels, int32_t *ids, int n_prompt, int depth, double p, double *mass)
{
	static int32_t ends[4];
	static int	   n_ends;
	double		   e[LABELS + 1], sum = 0, all = 0;
	int			   vocab, n = 0;
	int32_t		   child[LABELS + 1];
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
	after = logits_after(ids, n_prompt + depth, &vocab);
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
		label *below[LABELS];
		int	   n_below = 0;

		for (int i = 0; i < n_labels; i++)
		{
			int32_t id = labels[i]->n > depth ? labels[i]->ids[depth] : no_end;

			if (id == child[k])
				below[n_below++] = labels[i];
		}
		part(below, n_below, ids, n_prompt, depth + 1, n > 1 ? p * (e[k] / sum) : p, mass);
	}
}

typedef struct question
{
	const char *prompt;
	int			n;
	const char *labels[LABELS];
} question;

static const question questions[] = {
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

#define QUESTIONS ((int) (sizeof(questions) / sizeof(questions[0])))

/* Labels that part at many places, on three or four levels. */
static const question crowd = {"Which one?",
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

#define JSON_SIZE 4096

static void
write_labels(char *json, const question *q)
{
	strcpy(json, "[");
	for (int i = 0; i < q->n; i++)
		sprintf(json + strlen(json), "%s\"%s\"", i > 0 ? ", " : "", q->labels[i]);
	strcat(json, "]");
}

static void
labels_as_by_force(void **state)
{
	(void) state;
	for (int i = 0; i < QUESTIONS; i++)
	{
		const question *q = &questions[i];
		char			json[JSON_SIZE];
		label			labels[LABELS] = {0}, *all[LABELS];
		int32_t			ids[MOST];
		int				n = prompt_ids(q->prompt, ids);
		double			mass = 0, sum = 0;
		answer		   *a;
		double			p[LABELS + 1];

		for (int k = 0; k < q->n; k++)
		{
			labels[k].n = ids_of(GLM_TOKENIZE, q->labels[k], labels[k].ids);
			all[k] = &labels[k];
		}
		part(all, q->n, ids, n, 0, 1, &mass);
		write_labels(json, q);
		a = ask(make_about(GLM_SCORE, GLM_PROMPT, q->prompt, json, 0));
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
		   ask(make_about(GLM_SCORE, GLM_PROMPT, "Well?", "[\"yes\", \"Yes\", \"no\", \"No\"]", 0))
			   ->text,
		   sizeof(apart));
	memcpy(together,
		   ask(make_about(GLM_SCORE, GLM_PROMPT, "Well?",
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
	glm_token_logprob out[MOST];

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
		const float				*logits = logits_after(ids, n_prompt + i, &vocab);
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
	int32_t			  ids[MOST], joined[MOST];
	int				  n, n_joined, same = 0;
	answer			 *a;

	(void) state;
	n = prompt_ids("I love it.", ids);
	n_joined = ids_of(GLM_TOKENIZE, text, ids + n);
	for (int top = 0; top <= 5; top += 5)
	{
		a = ask(make_about(GLM_LOGPROBS, GLM_PROMPT, "I love it.", text, top));
		check_judged(a, ids, n, n_joined, top, text);
	}
	/* behind a raw prompt: a piece may span the border */
	n = 2 + ids_of(GLM_TOKENIZE, "I love it. Sent", ids + 2);
	n_joined = 2 + ids_of(GLM_TOKENIZE, "I love it. Sentiment: good", joined + 2);
	ids_of(GLM_CHAT_TOKENS, "x", ids); /* begins with the same two */
	memcpy(joined, ids, 2 * sizeof(*ids));
	n = 2 + ids_of(GLM_TOKENIZE, "I love it. Sent", ids + 2);
	while (same < n && ids[same] == joined[same])
		same++;
	a = ask(make_about(GLM_LOGPROBS, GLM_RAW, "I love it. Sent", "iment: good", 3));
	check_judged(a, joined, same, n_joined - same, 3, "iment: good");
	/* all of a text */
	a = ask(make_about(GLM_LOGPROBS, GLM_RAW, "", "I love it. Sentiment: good", 0));
	check_judged(a, joined, 2, n_joined - 2, 0, "I love it. Sentiment: good");
}

/* ---- Beside others ------------------------------------------------------------------- */

#define ASKED 24

static char longer[740];

/* Request i, always the same. */
static glm_request *
numbered(int i)
{
	char		 json[JSON_SIZE];
	glm_request *req;

	if (i % 3 == 0)
		req = make_about(GLM_LOGPROBS, i % 2 ? GLM_RAW : GLM_PROMPT, i % 4 ? longer : "Lamp",
						 longer + 300 + 37 * (i % 5), i % 6 ? 0 : 2);
	else
	{
		write_labels(json, i % 7 == 1 ? &crowd : &questions[i % QUESTIONS]);
		req = make_about(GLM_SCORE, i % 5 ? GLM_PROMPT : GLM_RAW,
						 i % 2 ? questions[i % QUESTIONS].prompt : longer, json, 0);
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
	engine = open_engine(1, 1, ROOMY);
	glm_engine_set_speculation(engine, GLM_SPECULATE_OFF);
	for (int i = 0; i < ASKED; i++)
	{
		glm_request *req = numbered(i);

		req->scope = 0;
		alone[i] = *ask(req);
	}
	glm_engine_close(engine);
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
			ticket[i] = submit(engine, numbered(i));
			other[i] = submit(engine, make_request(longer + i % 3 * 100, 30, false));
		}
		for (int i = 0; i < ASKED; i++)
		{
			answer *a = wait_for(engine, ticket[i]);

			if (a->last.kind != GLM_EVENT_DONE)
				fail_msg("%d: %s", i, a->message);
			assert_int_equal(a->length, alone[i].length);
			assert_memory_equal(a->text, alone[i].text, a->length);
			assert_int_equal(a->last.prompt_tokens, alone[i].last.prompt_tokens);
			assert_int_equal(a->last.completion_tokens, alone[i].last.completion_tokens);
		}
		for (int i = 0; i < ASKED; i++)
			wait_for(engine, other[i]);
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

		engine = open_engine(how->threads, how->sequences, how->kv_mb << 20);
		glm_engine_set_prefill_budget(engine, how->budget);
		glm_engine_set_speculation(engine, how->speculation);
		ask_together();
		if (how->kv_mb == 3 && how->sequences > 2)
			assert_true(stats_of(engine).preemptions > 0);
		glm_engine_close(engine);
	}
}

/* ---- What is shared -------------------------------------------------------------------- */

/* With first tokens that differ all costs one pass, and with all cached one row. */
static void
one_row_decides(void **state)
{
	static const char labels[] = "[\"positive\", \"billing\", \"sales\"]";
	glm_stats		  before;
	answer			 *a;

	(void) state;
	ask(make_about(
		GLM_SCORE, GLM_PROMPT,
		"A lamp, a lamp, another lamp, and one more lamp, and one that is no lamp at all.", labels,
		0));
	before = stats_of(engine);
	a = ask(make_about(
		GLM_SCORE, GLM_PROMPT,
		"A lamp, a lamp, another lamp, and one more lamp, and one that is no lamp at all.", labels,
		0));
	assert_int_equal(stats_of(engine).steps - before.steps, 1);
	assert_in_range(a->last.cached_tokens, 1, a->last.prompt_tokens - 1);
	assert_int_equal(stats_of(engine).prompt_tokens - before.prompt_tokens,
					 a->last.prompt_tokens - a->last.cached_tokens);
}

/* ---- Side by side ------------------------------------------------------------------------ */

/* What the engine will have to look at: places where labels part, and how many after another. */
typedef struct shape
{
	int nodes;
	int levels;
} shape;

static shape
shape_of(label **labels, int n, int depth)
{
	shape of = {0};
	int	  children = 0;
	bool  seen[LABELS] = {false};

	for (int i = 0; i < n; i++)
	{
		label *below[LABELS];
		int	   n_below = 0;
		shape  deeper;

		for (int k = i; k < n && !seen[i]; k++)
		{
			bool same = labels[i]->n > depth
							? labels[k]->n > depth && labels[k]->ids[depth] == labels[i]->ids[depth]
							: labels[k]->n <= depth;

			if (!same || seen[k])
				continue;
			below[n_below++] = labels[k];
			seen[k] = k > i;
		}
		children += n_below > 0;
		if (n_below < 2)
			continue;
		deeper = shape_of(below, n_below, depth + 1);
		of.nodes += deeper.nodes;
		of.levels = deeper.levels > of.levels ? deeper.levels : of.levels;
	}
	of.nodes += children > 1;
	of.levels += children > 1;
	return of;
}

static shape
shape_of_crowd(void)
{
	static label labels[LABELS];
	label		*all[LABELS];

	for (int i = 0; i < crowd.n; i++)
	{
		labels[i].n = ids_of(GLM_TOKENIZE, crowd.labels[i], labels[i].ids);
		all[i] = &labels[i];
	}
	return shape_of(all, crowd.n, 0);
}

/* Weighs them; how many passes that took. */
static int
weigh_crowd(const char *prompt, int top, double *p)
{
	char	 json[JSON_SIZE];
	uint64_t before = stats_of(engine).steps;
	answer	*a;

	write_labels(json, &crowd);
	a = ask(make_about(GLM_SCORE, GLM_PROMPT, prompt, json, top));
	assert_int_equal(a->length, (crowd.n + 1) * sizeof(double));
	memcpy(p, a->text, a->length);
	return (int) (stats_of(engine).steps - before);
}

/* As many passes as levels, all that part on one of them in one: fewer than there are places. */
static void
places_side_by_side(void **state)
{
	shape  of = shape_of_crowd();
	double p[LABELS + 1];

	(void) state;
	assert_in_range(of.levels, 2, of.nodes / 3);
	assert_in_range(weigh_crowd(crowd.prompt, 0, p), of.levels, of.levels + of.nodes / 16);
}

/* Where the pool or the budget has no room for branches there are more passes, and the same bits. */
static void
places_one_by_one(void **state)
{
	double p[LABELS + 1], again[LABELS + 1];
	int	   passes;

	(void) state;
	engine = open_engine(1, 8, ROOMY);
	passes = weigh_crowd(crowd.prompt, 0, p);
	glm_engine_set_prefill_budget(engine, 1);
	assert_true(weigh_crowd(crowd.prompt, 0, again) > passes);
	assert_memory_equal(p, again, (size_t) (crowd.n + 1) * sizeof(*p));
	glm_engine_close(engine);
	/* hardly more blocks than the sequence needs itself */
	engine = open_engine(1, 8, (size_t) 256 << 10);
	assert_true(weigh_crowd(crowd.prompt, 0, again) > passes);
	assert_memory_equal(p, again, (size_t) (crowd.n + 1) * sizeof(*p));
	glm_engine_close(engine);
}

static int
likeliest(const double *p)
{
	int best = 0;

	for (int i = 1; i < crowd.n; i++)
		best = p[i] > p[best] ? i : best;
	return best;
}

/* Who wants the likeliest alone gets the same one, and no pass that cannot change it. */
static void
likeliest_alone(void **state)
{
	static const char *const prompts[] = {"I love it, it works great.", "Where is my order?",
										  "I was charged twice.", "Please send it back.", "x"};
	shape					 of = shape_of_crowd();
	int						 passes = 0;

	(void) state;
	for (int i = 0; i < 5; i++)
	{
		double all[LABELS + 1], some[LABELS + 1];

		weigh_crowd(prompts[i], 0, all);
		passes += weigh_crowd(prompts[i], 1, some);
		assert_int_equal(likeliest(some), likeliest(all));
		assert_memory_equal(&some[crowd.n], &all[crowd.n], sizeof(double));
	}
	/* a row decides in most of these, and the way to a label in the others */
	assert_in_range(passes, 5, 5 * of.levels);
}

/*
 * Wherever a block of the cache ends, what was put behind the prompt and taken back is not
 * what others find there.
 */
static void
nothing_is_spoiled(void **state)
{
	const question *q = &questions[QUESTIONS - 1];
	char			json[JSON_SIZE], prompt[300];

	(void) state;
	write_labels(json, q);
	for (int pad = 0; pad < 33; pad++)
	{
		answer *a;
		double	p[LABELS + 1], again[LABELS + 1];
		char	answered[2048];

		for (int i = 0; i < pad; i++)
			memcpy(prompt + 2 * i, " x", 3);
		prompt[2 * pad] = '\0';
		for (int round = 0; round < 2; round++)
		{
			glm_request *req = make_about(GLM_SCORE, GLM_PROMPT, prompt, json, 0);

			req->scope = round == 0 ? 0 : 7;
			a = ask(req);
			memcpy(round == 0 ? p : again, a->text, a->length);
			/* goes on by what the labels went on by */
			req = make_about(GLM_LOGPROBS, GLM_PROMPT, prompt, q->labels[1], 0);
			req->scope = round == 0 ? 0 : 7;
			a = ask(req);
			assert_true(a->length < sizeof(answered));
			if (round == 0)
				memcpy(answered, a->text, a->length);
			assert_memory_equal(answered, a->text, a->length);
		}
		assert_memory_equal(p, again, (size_t) (q->n + 1) * sizeof(*p));
		/* once more, now that others' continuation is cached */
		{
			glm_request *req = make_about(GLM_SCORE, GLM_PROMPT, prompt, json, 0);

			req->scope = 7;
			a = ask(req);
			assert_memory_equal(p, a->text, a->length);
			req = make_about(GLM_LOGPROBS, GLM_PROMPT, prompt, q->labels[1], 0);
			req->scope = 7;
			a = ask(req);
			assert_memory_equal(answered, a->text, a->length);
		}
	}
}

/* ---- What is refused --------------------------------------------------------------------- */

static void
check_refused(glm_request *req, glm_status status, const char *part_of_message)
{
	answer *a = wait_for(engine, submit(engine, req));

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
		check_refused(make_about(GLM_SCORE, GLM_PROMPT, "x", refused[i].labels, 0),
					  refused[i].status, refused[i].message);
	for (int i = 0; i < 1001; i++)
		n += (size_t) sprintf(many + n, "%c\"%d\"", i > 0 ? ',' : '[', i);
	strcpy(many + n, "]");
	check_refused(make_about(GLM_SCORE, GLM_PROMPT, "x", many, 0), GLM_TOO_COMPLEX, "1001");
	n = (size_t) sprintf(many, "[[\"x\"");
	for (int i = 0; i < 4000; i++)
		n += (size_t) sprintf(many + n, ",\"%d\"", i);
	strcpy(many + n, "]]");
	check_refused(make_about(GLM_SCORE, GLM_PROMPT, "x", many, 0), GLM_TOO_COMPLEX, "4000");
	check_refused(make_about(GLM_LOGPROBS, GLM_PROMPT, "x", "", 0), GLM_BAD_ARGUMENT,
				  "continuation");
	/* does not fit behind its prompt, or by itself */
	memset(many, 0, 300000);
	for (int i = 0; i < 40000; i++)
		memcpy(many + 3 * i, "a\t ", 4);
	check_refused(make_about(GLM_LOGPROBS, GLM_PROMPT, "x", many, 0), GLM_TOO_LONG, "tokens");
	many[0] = '[';
	many[1] = '"';
	for (int i = 2; i < 9000; i++)
		many[i] = "a ,"[i % 3];
	strcpy(many + 9000, "x\", \"y\"]");
	check_refused(make_about(GLM_SCORE, GLM_PROMPT, "x", many, 0), GLM_TOO_LONG, "tokens");
	free(many);
}

static int
open_one(void **state)
{
	(void) state;
	engine = open_engine(2, 8, ROOMY);
	return 0;
}

static int
close_one(void **state)
{
	(void) state;
	glm_engine_close(engine);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(labels_as_by_force, open_one, close_one),
		cmocka_unit_test_setup_teardown(texts_of_one_label, open_one, close_one),
		cmocka_unit_test_setup_teardown(tokens_as_by_force, open_one, close_one),
		cmocka_unit_test_setup_teardown(one_row_decides, open_one, close_one),
		cmocka_unit_test_setup_teardown(places_side_by_side, open_one, close_one),
		cmocka_unit_test(places_one_by_one),
		cmocka_unit_test_setup_teardown(likeliest_alone, open_one, close_one),
		cmocka_unit_test_setup_teardown(nothing_is_spoiled, open_one, close_one),
		cmocka_unit_test_setup_teardown(what_is_refused, open_one, close_one),
		cmocka_unit_test(results_alone_and_beside_others),
	};

	return cmocka_run_group_tests_name("score", tests, NULL, NULL);
}
