/*
 * pass.c - one forward pass: rows from sequences, results back to them.
 *
 * Runs the model over the rows that plan.c wrote and has the results of each sequence
 * taken by its kind (kinds.h).  KV blocks that are complete become known to other
 * sequences.  Sequences that end leave at once.
 *
 * Sampling walks the vocabulary several times, so the compute threads share the
 * sequences, if the device has not picked; all the rest is done in the engine thread.
 * Nothing here allocates.
 */
#include "engine/serve/account.h"
#include "engine/serve/branch.h"

#define LOOK_NS INT64_C(20000000) /* of a pass, between two looks around */
#define SHARED_SAMPLES 4		  /* sequences for which waking the compute threads pays */

/* What has passed since *since_ns, which is then now: the clock is read once a sequence. */
static int64_t
lap(int64_t *since_ns)
{
	int64_t now_ns = glm_now_ns(), ns = now_ns - *since_ns;

	*since_ns = now_ns;
	return ns;
}

/* What a compute thread has to sample: every count-th of the sequences with results. */
static void
sample_share(void *arg, int index, int count)
{
	const glm_scheduler *s = arg;
	int64_t				 since_ns = glm_now_ns();
	int					 i = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (seq->n_wanted == 0 || seq->kind->sample == NULL || i++ % count != index)
			continue;
		seq->kind->sample(seq);
		seq->sample_ns = lap(&since_ns);
	}
}

/* Counts the rows of a sequence as computed; its full blocks can be shared. */
static void
count_computed(glm_sequence *seq)
{
	int n = seq->n_rows;
	int lasting = glm_sequence_lasting(seq);

	seq->n_rows = 0;
	seq->n_computed += n;
	glm_branches_count_computed(seq);
	if (n > 0 && seq->request->scope != 0)
		glm_chain_index(glm_sequence_prefix(seq), &seq->chain, seq->tokens.data,
						seq->n_computed < lasting ? seq->n_computed : lasting);
}

/* Tells every sequence that has results where they are; how many have some. */
static int
give_results(glm_scheduler *s, const glm_model_config *config, const glm_results *results)
{
	size_t row = 0, hidden_row = 0;
	int	   n = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		seq->logits = NULL;
		seq->device_picked = NULL;
		seq->hidden = NULL;
		seq->copied = false;
		count_computed(seq);
		if (seq->n_wanted == 0)
			continue;
		n++;
		if (seq->kind->want == GLM_WANT_HIDDEN)
		{
			seq->hidden = results->hidden + hidden_row * (size_t) config->hidden;
			hidden_row += (size_t) seq->n_wanted;
			continue;
		}
		if (results->picked != NULL)
			seq->device_picked = results->picked + row;
		else
			seq->logits = results->logits + row * (size_t) config->vocab;
		row += (size_t) seq->n_wanted;
	}
	return n;
}

/* Has the results of every sequence that has some taken; those that end leave. */
static void
use_results(glm_scheduler *s, const glm_model_config *config, const glm_results *results)
{
	glm_engine *e = s->engine;
	int64_t		since_ns;

	if (give_results(s, config, results) >= SHARED_SAMPLES && results->picked == NULL)
		glm_threads_run(e->threads, sample_share, s);
	else
		sample_share(s, 0, 1);
	e->sampled_ns = since_ns = glm_now_ns();
	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		glm_sequence *seq = *at;
		glm_finish	  finish = GLM_FINISH_NONE;
		glm_error	  err = {0};
		bool		  ok;

		if (seq->n_wanted == 0)
		{
			at = &seq->next;
			continue;
		}
		ok = seq->kind->take(e, seq, &finish, &err);
		glm_account_results(e, seq, lap(&since_ns));
		if (!ok)
			glm_sequence_fail(s, glm_sequence_remove(s, at), &err);
		else if (finish != GLM_FINISH_NONE)
			glm_sequence_finish(s, glm_sequence_remove(s, at), finish);
		else
			at = &seq->next;
	}
}

/* ---- The pass -------------------------------------------------------------- */

/*
 * The forward pass failed: so do all sequences that were in it, or had a block copied
 * before it, which may have failed too.
 */
static void
fail_pass(glm_scheduler *s, const glm_error *err)
{
	glm_device_look(s->engine, err);
	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		if ((*at)->n_rows > 0 || (*at)->copied)
			glm_sequence_fail(s, glm_sequence_remove(s, at), err);
		else
			at = &(*at)->next;
	}
}

/* Rows that bring sequences up to their last known token: not one by one. */
static int
count_prefill_rows(const glm_scheduler *s)
{
	int n = 0;

	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (seq->n_rows > 1 || (seq->n_rows == 1 && seq->n_computed < seq->n_prompt))
			n += seq->n_rows;
	}
	return n;
}

static void
count_pass(glm_scheduler *s, glm_served *served, int64_t ns)
{
	glm_counters *count = &s->engine->count;
	int			  prefill = count_prefill_rows(s);

	atomic_fetch_add(&count->steps, 1);
	atomic_fetch_add(&count->step_ns, ns);
	atomic_fetch_add(&count->prompt_tokens, prefill);
	atomic_fetch_add(&served->counters.prefill_tokens, prefill);
	served->runtime.virtual_ns += ns;
	if (served->runtime.cost.matmul_ops == 0)
		glm_account_model(served->model, &served->runtime.cost);
	glm_account_pass(s, served);
	if (served->drafter != NULL && prefill == 0)
		glm_drafter_count_pass(served->drafter, s->engine->rows.pass.n_rows, ns);
}

/*
 * What glm_pause() does in a pass, which may take seconds: sequences that are not in it
 * end in time, and so does it when all that are have ended.
 */
static bool
look_around(void *arg, glm_error *err)
{
	glm_scheduler *s = arg;
	int64_t		   now = glm_now_ns();
	bool		   wanted;

	if (now - s->looked_ns < LOOK_NS)
		return true;
	s->looked_ns = now;
	glm_inbox_take(s);
	wanted = glm_inbox_drop_ended(s, true);
	return (wanted && !atomic_load(&s->engine->stopping)) ||
		   glm_fail(err, GLM_CANCELLED, "nobody waits for the pass any more");
}

/*
 * How the device is to pick by all logits of the pass; NULL: it does not pick, or somebody
 * wants to see logits, and then all are brought home.
 */
static const glm_pick *
describe_picks(const glm_scheduler *s)
{
	glm_pick *pick = s->engine->picks;

	if (pick == NULL)
		return NULL;
	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		for (int i = 0; seq->kind->want == GLM_WANT_LOGITS && i < seq->n_wanted; i++)
		{
			if (seq->kind->describe == NULL || !seq->kind->describe(seq, i, pick++))
				return NULL;
		}
	}
	return s->engine->picks;
}

void
glm_pass_run(glm_scheduler *s, glm_served *served)
{
	const glm_pass		  *pass = &s->engine->rows.pass;
	/* copied, as the model may go with its last sequence */
	const glm_model_config config = served->model->config;
	int64_t				   start = glm_now_ns();
	glm_results			   results = {0};
	glm_error			   err = {0};
	bool				   ok;

	glm_plan_pass(s, served);
	if (pass->n_rows == 0)
		return; /* the only one was preempted */
	s->looked_ns = start;
	glm_pause_with(look_around, s);
	ok = glm_forward_run(s->engine->forward, served->model, atomic_load(&served->weights), pass,
						 describe_picks(s), &results, &err);
	glm_pause_with(NULL, NULL);
	if (GLM_INJECT("pass"))
		ok = glm_fail(&err, GLM_INTERNAL, "the pass was made to fail");
	atomic_store(&served->used_ns, glm_now_ns());
	if (!ok)
	{
		/* who was in a pass that ended is dropped next, each with his own reason */
		if (err.status != GLM_CANCELLED)
			fail_pass(s, &err);
		return;
	}
	count_pass(s, served, glm_now_ns() - start);
	use_results(s, &config, &results);
}
