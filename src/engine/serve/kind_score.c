/*
 * kind_score.c - how likely each of several labels is to come next, of these alone.
 *
 * The prompt is computed up to where labels part (choice.c), with what is cached of it.
 * One row of logits there decides, if all go on by different tokens.  Where several begin
 * alike, the tokens that they share are put behind the prompt, and the row behind them is
 * asked for; the next pass asks at all such places, one in the sequence and the others in its
 * branches (branch.c).  Then those tokens are taken back and others put in their place, whose
 * KV is written over theirs.  So there are about as many passes as labels part one after
 * another on the way to one of them, however many there are.
 *
 * In a chat a label is what the content of the answer begins with; its ids are those of the
 * text alone, behind the line of metadata.  Behind a raw prompt they are those that both
 * have together, as pieces may span the border.
 */
#include "engine/serve/engine.h"

#include <string.h>

#include "engine/base/json.h"
#include "engine/serve/choice.h"
#include "engine/serve/vocabularies.h"
#include "engine/text/prompt.h"

#define LABELS_MAX 1000
#define TEXTS_MAX 4000 /* of all labels */

_Static_assert(GLM_CHOICE_AT_ONCE <= GLM_DRAFT_MAX + 1, "a pass has room for so many results");

/* ---- Reading the labels ------------------------------------------------------------ */

static bool
add_label_text(glm_sequence *seq, glm_choice *choice, int label, const json_t *value,
			   glm_error *err)
{
	const glm_model *model = seq->model;
	const char		*text = json_string_value(value);
	size_t			 most = 2 * (size_t) model->config.context;
	glm_ids			 ids = {0};
	bool			 ok;

	if (text == NULL || json_string_length(value) == 0)
		return glm_fail(err, GLM_BAD_ARGUMENT, "label %d is no text, or an empty one", label + 1);
	ok = glm_pause(err) &&
		 glm_prompt_continuation(model->chat, model->tokenizer, seq->request, text,
								 json_string_length(value), most, &ids, err) &&
		 glm_choice_add(choice, label, ids.data, ids.length, err);
	glm_ids_free(&ids);
	return ok;
}

/* A label is a text, or several that say it. */
static bool
add_label(glm_sequence *seq, glm_choice *choice, int label, const json_t *value, int *texts,
		  glm_error *err)
{
	size_t n = json_is_array(value) ? json_array_size(value) : 1;

	*texts += (int) (n <= TEXTS_MAX ? n : TEXTS_MAX + 1);
	if (*texts > TEXTS_MAX)
		return glm_fail(err, GLM_TOO_COMPLEX, "there are more than %d texts of labels", TEXTS_MAX);
	if (!json_is_array(value))
		return add_label_text(seq, choice, label, value, err);
	if (n == 0)
		return glm_fail(err, GLM_BAD_ARGUMENT, "label %d has no text", label + 1);
	for (size_t i = 0; i < n; i++)
	{
		if (!add_label_text(seq, choice, label, json_array_get(value, i), err))
			return false;
	}
	return true;
}

static bool
read_labels(glm_sequence *seq, const json_t *labels, glm_error *err)
{
	size_t	n = json_array_size(labels);
	int32_t ends[GLM_CHOICE_ENDS];
	int		n_ends = glm_model_stops(seq->model, ends, GLM_CHOICE_ENDS);
	int		texts = 0;

	if (n == 0)
		return glm_fail(err, GLM_BAD_ARGUMENT, "there are no labels");
	if (n > LABELS_MAX)
		return glm_fail(err, GLM_TOO_COMPLEX, "there are %zu labels, more than %d", n, LABELS_MAX);
	seq->own = glm_choice_open((int) n, ends, n_ends);
	if (seq->own == NULL)
		return glm_no_memory(err);
	for (size_t i = 0; i < n; i++)
	{
		if (!add_label(seq, seq->own, (int) i, json_array_get(labels, i), &texts, err))
			return false;
	}
	if (seq->request->top_logprobs == 1)
		glm_choice_settle(seq->own);
	/* the ids of a raw prompt came with those of its labels */
	if (seq->request->form == GLM_RAW)
		seq->tokens.length = 0;
	if (!glm_choice_begin(seq->own, &seq->tokens, &seq->more, err))
		return false;
	seq->n_branches = seq->more > 0 ? glm_choice_most(seq->own) - 1 : 0;
	return true;
}

static bool
open_choice(glm_sequence *seq, glm_error *err)
{
	const glm_request *req = seq->request;
	json_error_t	   why;
	json_t			  *labels = glm_json_parse(glm_request_text(req, req->continuation),
											   req->continuation.length, false, &why);
	bool			   ok;

	if (labels == NULL)
		return glm_pause(err) && glm_fail(err, GLM_BAD_JSON, "labels are no JSON: %s", why.text);
	ok = read_labels(seq, labels, err);
	glm_json_free(labels);
	return ok;
}

static bool
read_question(const glm_request *req, const glm_model *model, glm_ids *tokens, glm_error *err)
{
	return glm_read_prompt(req, model, tokens, err) &&
		   glm_prompt_answer(model->chat, model->tokenizer, req, tokens, err);
}

/* ---- Passes ------------------------------------------------------------------------- */

static void
score_nodes(glm_sequence *seq)
{
	glm_choice_take(seq->own, seq->logits, (size_t) seq->model->config.vocab, seq->n_wanted,
					glm_tokenizer_size(seq->model->tokenizer), &seq->pick_error);
}

static bool
next_node(const glm_sequence *seq, int i, const int32_t **ids, int *n)
{
	return glm_choice_next(seq->own, i + 1, ids, n);
}

/* Puts the ids that lead to the next node behind the prompt; what stays is computed. */
static void
go_to(glm_sequence *seq, const int32_t *ids, int n)
{
	int32_t *behind = seq->tokens.data + seq->n_prompt;
	int		 had = (int) seq->tokens.length - seq->n_prompt;
	int		 same = 0;

	while (same < had && same < n && behind[same] == ids[same])
		same++;
	if (n > 0) /* the root has none */
		memcpy(behind, ids, (size_t) n * sizeof(*ids));
	seq->tokens.length = (size_t) (seq->n_prompt + n);
	if (seq->n_computed > seq->n_prompt + same)
		seq->n_computed = seq->n_prompt + same;
}

static bool
take_node(glm_engine *e, glm_sequence *seq, glm_finish *finish, glm_error *err)
{
	const int32_t *ids;
	const double  *p;
	int			   n;

	if (seq->pick_error.status != GLM_OK)
	{
		*err = seq->pick_error;
		return false;
	}
	if (glm_choice_next(seq->own, 0, &ids, &n))
	{
		go_to(seq, ids, n);
		return true;
	}
	go_to(seq, NULL, 0);
	p = glm_choice_result(seq->own, &n);
	glm_send_result(e, seq->ticket, p, (size_t) n * sizeof(*p));
	*finish = GLM_FINISH_STOP;
	return true;
}

static void
close_choice(void *choice)
{
	glm_choice_close(choice);
}

const glm_request_kind glm_kind_score = {
	.name = "score",
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_TEXT,
	.read_tokens = read_question,
	.open = open_choice,
	.close = close_choice,
	.goes_back = true,
	.want = GLM_WANT_LOGITS,
	.wants_from = glm_sequence_last_known,
	.sample = score_nodes,
	.branch = next_node,
	.take = take_node,
};
