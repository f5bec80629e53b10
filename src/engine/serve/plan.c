/*
 * plan.c - what the next pass of a model computes.
 *
 * Two steps: first every sequence is told how many of its tokens it may compute,
 * and gets the KV blocks for them; only then are the rows written, because while
 * blocks are being found a sequence that ranks behind may be preempted.  The
 * sequences are asked in order of rank (rank.c), so one that is preempted has not
 * been asked yet, or is paused and never is.  Of the budget for prompts every tenant that
 * has some gets an equal part; what others do not need goes in order of rank.
 *
 * Tokens that are in the prefix cache are not computed, save those of which something is
 * wanted (kinds.h): of an answer the last that is known.  When the block that a sequence
 * would begin, or half of it at least, is just being computed by another, it is held back
 * for this pass: of a thousand prompts that begin alike and arrive together only one
 * computes the beginning.
 *
 * Behind the rows of some sequences stand those of branches (branch.c), of others drafts.
 *
 * Everything here runs in the engine thread and allocates nothing.
 */
#include "engine/serve/branch.h"
#include "engine/serve/constrained.h"
#include "engine/serve/scheduler.h"

#include <limits.h>
#include <string.h>

#define WAIT_LEAST (GLM_KV_BLOCK / 2) /* tokens to be copied for which a pass is waited */

/* ---- Cached blocks ----------------------------------------------------------- */

/* Is it about to begin a block, and may that be one that others computed? */
static bool
may_share(const glm_sequence *seq)
{
	return seq->request->scope != 0 && seq->n_computed == seq->chain.kv.n_blocks * GLM_KV_BLOCK;
}

/* How many tokens of the block that it would begin may be cached ones. */
static int
known_in_block(const glm_sequence *seq)
{
	int from = seq->kind->wants_from(seq);
	int lasting = glm_sequence_lasting(seq);
	int n = (from < lasting ? from : lasting) - seq->n_computed;

	return n < 0 ? 0 : n < GLM_KV_BLOCK ? n : GLM_KV_BLOCK;
}

/* What a preempted sequence finds was its own. */
void
glm_plan_count_cached(glm_engine *e, glm_sequence *seq, int tokens)
{
	if (seq->preempted || tokens == 0)
		return;
	seq->n_cached += tokens;
	e->ticket[seq->ticket].timing.cached_tokens += tokens;
	atomic_fetch_add(&seq->served->counters.cached_tokens, tokens);
	atomic_fetch_add(&e->count.cached_tokens, tokens);
}

int
glm_plan_adopt(glm_sequence *seq)
{
	int before = seq->n_computed;

	while (
		may_share(seq) && known_in_block(seq) == GLM_KV_BLOCK &&
		glm_chain_adopt(glm_sequence_prefix(seq), &seq->chain, seq->tokens.data + seq->n_computed))
		seq->n_computed += GLM_KV_BLOCK;
	return seq->n_computed - before;
}

/* The same, and the beginning of a cached block that goes on differently. */
static int
adopt_and_copy(glm_sequence *seq)
{
	int n = glm_plan_adopt(seq);
	int known = known_in_block(seq);
	int copied = 0;

	if (may_share(seq))
		copied = glm_chain_copy(glm_sequence_prefix(seq), &seq->chain,
								seq->tokens.data + seq->n_computed,
								known < GLM_KV_BLOCK ? known : GLM_KV_BLOCK - 1);
	seq->n_computed += copied;
	seq->copied |= copied > 0;
	return n + copied;
}

/* Does `other` compute the block that `seq` would begin, or what of it is worth waiting for? */
static bool
computes_block_of(const glm_sequence *other, const glm_sequence *seq)
{
	int begin = seq->n_computed;
	int end = begin + GLM_KV_BLOCK;

	return other->n_rows > 0 && other->request->scope == seq->request->scope &&
		   other->model == seq->model && other->n_computed < end &&
		   end <= (int) other->tokens.length && end <= glm_sequence_lasting(other) &&
		   memcmp(other->tokens.data, seq->tokens.data,
				  (size_t) (begin + WAIT_LEAST) * sizeof(int32_t)) == 0;
}

/* Is it held back, because one before it computes what it would begin with? */
static bool
is_being_computed(const glm_scheduler *s, const glm_sequence *seq)
{
	if (!may_share(seq) || known_in_block(seq) < WAIT_LEAST)
		return false;
	for (const glm_sequence *other = s->running; other != NULL; other = other->next)
	{
		if (other != seq && computes_block_of(other, seq))
			return true;
	}
	return false;
}

/* ---- Blocks for what is to be computed ----------------------------------------- */

/* Takes the blocks for n positions; false: the sequence itself had to give way. */
static bool
find_blocks(glm_scheduler *s, glm_sequence *seq, int n)
{
	while (seq->chain.kv.n_blocks * GLM_KV_BLOCK < n)
	{
		if (glm_chain_grow(glm_sequence_prefix(seq), &seq->chain))
			continue;
		if (!glm_preempt_for(s, seq))
		{
			glm_preempt_alone(s, seq);
			return false;
		}
	}
	return true;
}

/* ---- The budget ------------------------------------------------------------------ */

/* Tokens of its prompt, or of what it lost when it was preempted, that it lacks. */
static int
lacks(const glm_sequence *seq)
{
	int left = (int) seq->tokens.length - seq->n_computed;

	return left > 1 ? left : 0; /* the newest token costs no budget */
}

/* Rows of its known tokens that leave something, if it computes n of them. */
static int
known_wanted(const glm_sequence *seq, int n)
{
	int from = seq->kind->wants_from(seq) - seq->n_computed;

	return n - (from > 0 ? from : 0);
}

/* Tokens that its reader has room for, at most as many as a pass may bring. */
static int
room_for_tokens(const glm_engine *e, const glm_sequence *seq)
{
	int unread = 0;

	if (seq->request->stream)
		unread = (int) (seq->made - atomic_load(&e->ticket[seq->ticket].taken));
	return unread > GLM_OUTBOX - GLM_DRAFT_MAX - 1 ? GLM_OUTBOX - unread : GLM_DRAFT_MAX + 1;
}

/*
 * Rows that may leave something.  A pass has room for the logits of drafts of all that may
 * run; who has none, and wants those of whole texts, gets what others leave of it.  Hidden
 * states have room for as many rows as a pass has.
 */
static int
room_for_results(const glm_scheduler *s, const glm_sequence *seq)
{
	if (seq->sampler != NULL)
		return room_for_tokens(s->engine, seq);
	return seq->kind->want == GLM_WANT_LOGITS ? GLM_DRAFT_MAX + 1 + s->spare_logits : INT_MAX;
}

/* It leaves something of its own room and of what others left. */
static void
spend_results(glm_scheduler *s, const glm_sequence *seq, int n)
{
	int more = known_wanted(seq, n) - (GLM_DRAFT_MAX + 1);

	if (seq->kind->want == GLM_WANT_LOGITS && more > 0)
		s->spare_logits -= more;
}

/* Reserves an equal part of the budget for each tenant, or what it needs. */
static void
share_budget(glm_scheduler *s, int budget)
{
	int n = 0;

	for (glm_tenant *tenant = s->tenants; tenant != NULL; tenant = tenant->next)
		tenant->prefill = 0;
	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (!seq->chosen || lacks(seq) == 0)
			continue;
		n += seq->tenant->prefill == 0;
		seq->tenant->prefill += lacks(seq);
	}
	s->reserved = 0;
	for (glm_tenant *tenant = s->tenants; tenant != NULL; tenant = tenant->next)
	{
		tenant->reserved = n > 0 && tenant->prefill > budget / n ? budget / n : tenant->prefill;
		s->reserved += tenant->reserved;
	}
}

/* So many tokens of the tenant's need no pass any more, or not this one. */
static void
need_less(glm_scheduler *s, glm_tenant *tenant, int tokens)
{
	int reserved;

	tenant->prefill -= tokens;
	reserved = tenant->prefill < tenant->reserved ? tenant->prefill : tenant->reserved;
	s->reserved -= tenant->reserved - reserved;
	tenant->reserved = reserved;
}

/* Takes n tokens from the budget, first from what is reserved for the tenant. */
static void
spend(glm_scheduler *s, glm_tenant *tenant, int n, int *budget)
{
	int own = n < tenant->reserved ? n : tenant->reserved;

	*budget -= n;
	tenant->prefill -= n;
	tenant->reserved -= own;
	s->reserved -= own;
}

/* Of the tokens that a sequence lacks, those for this pass; `most` by the budget. */
static int
count_rows(const glm_scheduler *s, const glm_sequence *seq, int left, int most)
{
	int n = left == 0 ? 1 : left < most ? left : most;
	int wanted, room = room_for_results(s, seq);

	/* an answer goes on by a token at least, whatever prompts there are */
	if (n < 1 && seq->n_computed >= seq->n_prompt)
		n = 1;
	wanted = known_wanted(seq, n); /* below 0 where n do not reach the first of them */
	return wanted > room ? n - (wanted - room) : n;
}

/*
 * Decides how many of its known tokens a sequence computes: the newest, or as many
 * as the budget allows.  False: it was preempted, and nobody ranks behind it.
 */
static bool
plan_sequence(glm_scheduler *s, glm_sequence *seq, int *budget)
{
	glm_tenant *tenant = seq->tenant;
	int			lacked = lacks(seq);
	int			left;
	int			most;
	int			n;

	glm_plan_count_cached(s->engine, seq, adopt_and_copy(seq));
	left = lacks(seq);
	need_less(s, tenant, lacked - left);
	if (is_being_computed(s, seq))
	{
		need_less(s, tenant, left);
		return true;
	}
	most = *budget - (s->reserved - tenant->reserved);
	n = count_rows(s, seq, left, most);
	if (n <= 0)
		return true;
	if (!find_blocks(s, seq, seq->n_computed + n))
		return false;
	if (left > 0 && most > 0)
		spend(s, tenant, n, budget);
	else if (left > 0)
		need_less(s, tenant, n);
	spend_results(s, seq, n);
	seq->n_rows = n;
	return true;
}

/* ---- Drafts ------------------------------------------------------------------------ */

/* How long a draft may be: by the answer, by its reader's outbox, by the budget and blocks. */
static int
room_for_drafts(glm_scheduler *s, glm_sequence *seq, int budget)
{
	int known = (int) seq->tokens.length;
	int most = room_for_tokens(s->engine, seq) - known_wanted(seq, seq->n_rows);

	if (most > budget)
		most = budget;
	if (most > seq->limit - known - 1)
		most = seq->limit - known - 1;
	if (most > 0 && seq->chain.kv.n_blocks * GLM_KV_BLOCK < known + most &&
		!glm_chain_grow(glm_sequence_prefix(seq), &seq->chain))
		most = seq->chain.kv.n_blocks * GLM_KV_BLOCK - known;
	return most;
}

/* Is the sequence going to be sampled, so that a draft may be made? */
static bool
is_sampled(const glm_sequence *seq)
{
	return seq->n_rows > 0 && seq->sampler != NULL &&
		   seq->n_computed + seq->n_rows == (int) seq->tokens.length;
}

/* Drafts for the sequences that are going to be sampled, with what is left of the budget. */
static void
plan_drafts(glm_scheduler *s, const glm_served *served, const glm_home *home, int budget)
{
	glm_speculation speculation = (glm_speculation) atomic_load(&s->engine->speculation);
	bool			always = speculation == GLM_SPECULATE_ALWAYS;
	glm_draft_costs costs;
	int				rows = 0;
	int				sampled = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (!glm_sequence_is_at(seq, home))
			continue;
		seq->draft.n_tokens = 0;
		rows += seq->n_rows;
		sampled += is_sampled(seq);
	}
	if (speculation == GLM_SPECULATE_OFF || served->drafter == NULL)
		return;
	/* a step that is to be watched makes one token */
	if (!always && (atomic_load(&s->engine->step_delay_ms) > 0 ||
					!glm_drafter_costs(served->drafter, sampled, &costs)))
		return;
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		glm_draft_limits limits = {.rows = rows, .costs = always ? NULL : &costs};

		if (!is_sampled(seq) || !glm_sequence_is_at(seq, home))
			continue;
		limits.max = room_for_drafts(s, seq, budget);
		glm_constrained_begin_draft(seq->constrained, &limits);
		glm_draft_make(&seq->draft, seq->ngrams, seq->tokens.data, (int) seq->tokens.length,
					   &limits);
		glm_constrained_end_draft(seq->constrained);
		budget -= seq->draft.n_tokens;
		rows += seq->draft.n_tokens;
	}
}

bool
glm_plan_would_draft(glm_scheduler *s, const glm_served *served, const glm_home *home)
{
	bool would = false;

	plan_drafts(s, served, home, atomic_load(&s->engine->prefill_budget));
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (!glm_sequence_is_at(seq, home))
			continue;
		would |= seq->draft.n_tokens > 0;
		seq->draft.n_tokens = 0;
		seq->draft.expected = 0;
	}
	return would;
}

/* ---- The pass -------------------------------------------------------------------- */

static void
write_rows(glm_rows *rows, glm_sequence *seq)
{
	int from = seq->kind->wants_from(seq);
	int n = seq->n_rows + (seq->n_rows > 0 ? seq->draft.n_tokens : 0);

	seq->n_wanted = 0;
	seq->slot = seq->kind->want == GLM_WANT_HIDDEN ? rows->pass.n_hidden : rows->pass.n_logits;
	if (n > 0)
		glm_rows_begin(rows, &seq->chain.kv);
	for (int i = 0; i < n; i++)
	{
		int		 position = seq->n_computed + i;
		glm_want want = position < from ? GLM_WANT_NOTHING : seq->kind->want;

		seq->n_wanted += want != GLM_WANT_NOTHING;
		glm_rows_add(rows, seq->tokens.data[position], position, want);
	}
	glm_branches_write(rows, seq);
}

void
glm_plan_pass(glm_scheduler *s, glm_served *served, glm_home *home)
{
	int		  budget = atomic_load(&s->engine->prefill_budget);
	int		  n = glm_rank_pass(s, served);
	glm_rows *rows = &home->rows[home->turn];

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
		if (glm_sequence_is_at(seq, home))
			seq->n_rows = 0;
	share_budget(s, budget);
	s->spare_logits = s->engine->max_sequences * (GLM_DRAFT_MAX + 1);
	for (int i = 0; i < n; i++)
		s->spare_logits -= s->engine->ranked[i]->chosen * (GLM_DRAFT_MAX + 1);
	served->runtime.passes++;
	for (int i = 0; i < n; i++)
	{
		glm_sequence *seq = s->engine->ranked[i];

		if (!seq->chosen)
			continue;
		seq->pass = served->runtime.passes;
		if (!plan_sequence(s, seq, &budget))
			break;
	}
	budget = glm_branches_plan(s, home, budget);
	plan_drafts(s, served, home, budget);
	glm_rows_clear(rows);
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
		if (glm_sequence_is_at(seq, home))
			write_rows(rows, seq);
}
