/*
 * vocabularies.c - the tokens of served models as constraints see them.
 *
 * A vocabulary is made when the first constrained request comes for a model, and goes with
 * the model.  Two tasks may come first at once: both make one, and one of the two is kept.
 */
#include "engine/serve/vocabularies.h"

bool
glm_model_stops_at(const glm_model *model, int32_t token)
{
	const glm_model_config *c = &model->config;

	for (int i = 0; i < c->n_eos; i++)
	{
		if (token == c->eos[i])
			return true;
	}
	return glm_chat_stops(model->chat, model->tokenizer, token);
}

/* Adds an id to n others, if it is one that a model can write; how many they are then. */
static int
add_stop(const glm_model *model, int32_t id, int32_t *ids, int n, int max)
{
	if (id < 0 || id >= glm_tokenizer_size(model->tokenizer) || n == max)
		return n;
	for (int i = 0; i < n; i++)
	{
		if (ids[i] == id)
			return n;
	}
	ids[n] = id;
	return n + 1;
}

int
glm_model_stops(const glm_model *model, int32_t *ids, int max)
{
	const glm_model_config *c = &model->config;
	int						n = 0;

	for (int i = 0; i < c->n_eos; i++)
		n = add_stop(model, c->eos[i], ids, n, max);
	for (const char *const *name = model->chat->stops; *name != NULL; name++)
		n = add_stop(model, glm_tokenizer_special(model->tokenizer, *name), ids, n, max);
	return n;
}

/* ---- What a vocabulary asks ---------------------------------------------------------- */

static const char *
token_bytes(void *model, int32_t id, size_t *n)
{
	return glm_tokenizer_bytes(((const glm_model *) model)->tokenizer, id, n);
}

static bool
token_ends(void *model, int32_t id)
{
	return glm_model_stops_at(model, id);
}

static bool
encode_bytes(void *model, const char *bytes, size_t n, glm_ids *out)
{
	glm_error ignored;

	return glm_tokenizer_encode_inner(((const glm_model *) model)->tokenizer, bytes, n, out,
									  &ignored);
}

/* ---- Open and close -------------------------------------------------------------------- */

const glm_vocabulary *
glm_served_vocabulary(glm_served *served, glm_error *err)
{
	glm_vocabulary			   *made, *other = atomic_load(&served->vocabulary);
	const glm_vocabulary_source source = {.n_ids = glm_tokenizer_size(served->model->tokenizer),
										  .bytes = token_bytes,
										  .ends = token_ends,
										  .encode = encode_bytes,
										  .arg = served->model};

	if (other != NULL)
		return other;
	made = glm_vocabulary_open(&source, err);
	if (made == NULL || atomic_compare_exchange_strong(&served->vocabulary, &other, made))
		return made;
	glm_vocabulary_close(made);
	return other;
}

void
glm_served_close_vocabulary(glm_models *models, glm_served *served)
{
	glm_vocabulary *vocabulary = atomic_load(&served->vocabulary);

	if (vocabulary == NULL)
		return;
	glm_constraints_forget(models->constraints, vocabulary);
	glm_vocabulary_close(vocabulary);
}
