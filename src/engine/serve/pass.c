/*
 * pass.c - one forward pass: rows from sequences, results back to them.
 *
 * Has the model run over the rows that plan.c wrote, and then the results of each sequence
 * taken by its kind (kinds.h).  In between others may be started, at homes that have no
 * device in common with this one: what is done here is done to the sequences of the pass's
 * home alone.  KV blocks that are complete become known to other sequences.  Sequences that
 * end leave at once.
 *
 * Sampling walks the vocabulary several times, so the compute threads share the
 * sequences, if the device has not picked; all the rest is done in the engine thread.  A token
 * that it picked may turn out not to be allowed: then the logits come home after all.
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

/* Of whom there are results to take: running sequences, of a home; or those that lacked logits. */
typedef struct takers
{
	glm_sequence   *first;
	const glm_home *home;
	bool			again;
} takers;

/*
 * What a compute thread has to sample: every count-th of the sequences with results, which are
 * told by what nobody changes meanwhile.
 */
static void
sample_share(void *arg, int index, int count)
{
	const takers *t = arg;
	int64_t		  since_ns = glm_now_ns();
	int			  i = 0;

	for (glm_sequence *seq = t->first; seq != NULL; seq = seq->next)
	{
		if (!glm_sequence_is_at(seq, t->home) || seq->n_wanted == 0 || seq->kind->sample == NULL ||
			(t->again && seq->fetched_from == seq->n_wanted) || i++ % count != index)
			continue;
		seq->lacks_logits = false;
		seq->kind->sample(seq);
		seq->sample_ns = lap(&since_ns) + (t->again ? seq->sample_ns : 0);
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

/* Do its tokens take long to find?  Not where the device picked them. */
static bool
is_heavy(const glm_sequence *seq)
{
	for (int i = 0; i < seq->n_wanted; i++)
		if (glm_sequence_has_logits(seq, i))
			return true;
	return seq->constrained != NULL;
}

/* Tells every sequence that has results where they are; of how many are they heavy? */
static int
give_results(glm_scheduler *s, const glm_flight *flight)
{
	const glm_model_config *config = &flight->config;
	const glm_results	   *results = &flight->results;
	int						n = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (!glm_sequence_is_at(seq, flight->home))
			continue;
		seq->logits = NULL;
		seq->device_picked = NULL;
		seq->hidden = NULL;
		seq->copied = false;
		seq->n_picked = 0;
		seq->fetched_from = seq->n_wanted;
		count_computed(seq);
		if (seq->n_wanted == 0)
			continue;
		if (seq->kind->want == GLM_WANT_HIDDEN)
		{
			seq->hidden = results->hidden + (size_t) seq->slot * (size_t) config->hidden;
			n++;
			continue;
		}
		if (results->picked != NULL)
			seq->device_picked = results->picked + seq->slot;
		if (results->logits != NULL)
			seq->logits = results->logits + (size_t) seq->slot * (size_t) config->vocab;
		n += is_heavy(seq);
	}
	return n;
}

static void
sample_all(const glm_scheduler *s, takers *t, int heavy)
{
	if (heavy >= SHARED_SAMPLES)
		glm_threads_run(s->engine->threads, sample_share, t);
	else
		sample_share(t, 0, 1);
}

/* Has logits that sequences lack come home, their rows' from there on, as drafts may go on; of how many? */
static int
fetch_logits(glm_scheduler *s, const glm_served *served, glm_flight *flight)
{
	const glm_home *home = flight->home;
	size_t			vocab = (size_t) flight->config.vocab;
	int				n = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (!glm_sequence_is_at(seq, home) || seq->n_wanted == 0 || !seq->lacks_logits)
			continue;
		seq->fetched_from = seq->n_picked;
		glm_forward_fetch(s->engine->forward, atomic_load(&served->weights), vocab,
						  home->rows[home->turn].pass.n_logits, seq->slot + seq->n_picked,
						  seq->n_wanted - seq->n_picked, &flight->results);
		seq->logits = flight->results.logits + (size_t) seq->slot * vocab;
		n++;
	}
	return n;
}

/* Goes on with sequences that lack logits; if these do not come, with their failure. */
static void
sample_again(glm_scheduler *s, const glm_served *served, glm_flight *flight)
{
	takers	  t = {s->running, flight->home, true};
	glm_error err = {0};
	int		  n = fetch_logits(s, served, flight);

	if (n == 0)
		return;
	if (glm_forward_fetched(s->engine->forward, atomic_load(&served->weights), &err))
	{
		sample_all(s, &t, n);
		return;
	}
	glm_device_look(s->engine, &err);
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
		if (glm_sequence_is_at(seq, flight->home) && seq->lacks_logits)
		{
			seq->lacks_logits = false;
			seq->pick_error = err;
		}
}

/* Has the results of every sequence that has some taken; those that end leave. */
static void
use_results(glm_scheduler *s, const glm_served *served, glm_flight *flight)
{
	glm_engine *e = s->engine;
	takers		t = {s->running, flight->home, false};
	int64_t		since_ns;

	sample_all(s, &t, give_results(s, flight));
	sample_again(s, served, flight);
	e->sampled_ns = since_ns = glm_now_ns();
	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		glm_sequence *seq = *at;
		glm_finish	  finish = GLM_FINISH_NONE;
		glm_error	  err = {0};
		bool		  ok;

		if (seq->n_wanted == 0 || !glm_sequence_is_at(seq, flight->home))
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
fail_pass(glm_scheduler *s, const glm_home *home, const glm_error *err)
{
	glm_device_look(s->engine, err);
	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		if (glm_sequence_is_at(*at, home) && ((*at)->n_rows > 0 || (*at)->copied))
			glm_sequence_fail(s, glm_sequence_remove(s, at), err);
		else
			at = &(*at)->next;
	}
}

/* Rows that bring sequences up to their last known token: not one by one. */
static int
count_prefill_rows(const glm_scheduler *s, const glm_home *home)
{
	int n = 0;

	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (glm_sequence_is_at(seq, home) &&
			(seq->n_rows > 1 || (seq->n_rows == 1 && seq->n_computed < seq->n_prompt)))
			n += seq->n_rows;
	}
	return n;
}

static void
count_pass(glm_scheduler *s, glm_served *served, const glm_home *home, int64_t ns)
{
	glm_counters *count = &s->engine->count;
	int			  prefill = count_prefill_rows(s, home);

	atomic_fetch_add(&count->steps, 1);
	atomic_fetch_add(&count->step_ns, ns);
	atomic_fetch_add(&count->prompt_tokens, prefill);
	atomic_fetch_add(&served->counters.prefill_tokens, prefill);
	if (served->runtime.cost.matmul_ops == 0)
		glm_account_model(served->model, &served->runtime.cost);
	glm_account_pass(s, served);
	if (served->drafter != NULL && prefill == 0)
		glm_drafter_count_pass(served->drafter, home->rows[home->turn].pass.n_rows, ns);
}

/* Whose turn the step is has had this time of it too, if the model is still there. */
static void
count_step(glm_scheduler *s, int64_t now_ns)
{
	const glm_sequence *seq = s->running;

	while (seq != NULL && seq->served != s->leader)
		seq = seq->next;
	if (seq != NULL)
		s->leader->runtime.virtual_ns += now_ns - s->counted_ns;
	s->counted_ns = now_ns;
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
 * How the device is to pick by the logits of the pass; nothing by those of rows that somebody
 * wants to see.  NULL: it does not pick at all.
 */
static const glm_pick *
describe_picks(const glm_scheduler *s, glm_home *home)
{
	glm_pick	  *pick = home->picks[home->turn];
	glm_pick_room *room = &home->pick_room[home->turn];
	bool		   any = false;

	if (pick == NULL)
		return NULL;
	room->used = 0;
	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		for (int i = 0; glm_sequence_is_at(seq, home) && seq->kind->want == GLM_WANT_LOGITS &&
						i < seq->n_wanted;
			 i++, pick++)
		{
			if (seq->kind->describe != NULL && seq->kind->describe(seq, i, room, pick))
				any = true;
			else
				*pick = (glm_pick){.n_ids = 0};
		}
	}
	return any ? home->picks[home->turn] : NULL;
}

/* Who was in a pass that was ended is dropped next, each with his own reason. */
static void
end_failed(glm_scheduler *s, glm_served *served, const glm_home *home, const glm_error *err)
{
	atomic_store(&served->used_ns, glm_now_ns());
	if (err->status != GLM_CANCELLED)
		fail_pass(s, home, err);
}

void
glm_pass_start(glm_scheduler *s, glm_served *served)
{
	glm_home	   *home = &s->engine->home[atomic_load(&served->home)->place];
	glm_flight	   *flight = &s->flight[home->place];
	const glm_pass *pass = &home->rows[home->turn].pass;
	glm_error		err = {0};
	bool			ok;

	/* copied, as the model may go with its last sequence */
	*flight = (glm_flight){.home = home, .config = served->model->config, .start_ns = glm_now_ns()};
	glm_plan_pass(s, served, home);
	if (pass->n_rows == 0)
		return; /* the only one was preempted */
	s->looked_ns = flight->start_ns;
	glm_pause_with(look_around, s);
	ok = glm_forward_start(s->engine->forward, served->model, atomic_load(&served->weights), pass,
						   describe_picks(s, home), &flight->results, &err);
	glm_pause_with(NULL, NULL);
	if (ok)
		flight->served = served;
	else
		end_failed(s, served, home, &err);
}

/* What came of a pass that is over. */
static void
take_pass(glm_scheduler *s, glm_flight *flight, glm_served *served, bool was_over)
{
	int64_t now_ns = glm_now_ns(), ns = now_ns - flight->start_ns;

	atomic_store(&served->used_ns, now_ns);
	served->runtime.last_ns = ns / (was_over ? 2 : 1);
	count_pass(s, served, flight->home, ns);
	count_step(s, now_ns);
	use_results(s, served, flight);
	glm_follow_move_up(s, flight, now_ns);
}

void
glm_pass_finish(glm_scheduler *s, glm_flight *flight)
{
	glm_served *served = flight->served;
	bool		kept = flight->kept;
	glm_error	err = {0};
	/* it was over when nobody looked, some time since it began */
	bool was_over = flight->late && glm_forward_ready(s->engine->forward, flight->home->place);
	bool ok = glm_forward_finish(s->engine->forward, atomic_load(&served->weights), &err);

	flight->served = NULL;
	for (int i = 0; i < s->engine->n_homes; i++)
		s->flight[i].late = true;
	if (GLM_INJECT("pass"))
		ok = glm_fail(&err, GLM_INTERNAL, "the pass was made to fail");
	if (ok)
		take_pass(s, flight, served, was_over);
	else
	{
		glm_follow_drop(s, flight->home);
		end_failed(s, served, flight->home, &err);
	}
	if (kept)
		glm_models_release(&s->engine->models, served);
}
