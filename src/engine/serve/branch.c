/*
 * branch.c - what else may stand behind a prompt, computed beside the sequence itself.
 *
 * A branch shares the prompt's full KV blocks with its sequence, whose rows it follows in
 * the pass as if they were another sequence's.  The block in which the prompt ends, and those
 * behind it, are its own.  Nobody else finds them, as they are never indexed.  A branch is
 * possible when all of the prompt was computed in passes before.
 *
 * What is behind the prompt is computed once, however many branches go on from there: one of
 * them goes on in the place where it is, and for the others its blocks are copied.  Copies
 * come before the pass, and none goes to a place that another is taken from: whoever has
 * most in common with what is in a place takes that place first.
 *
 * Branches never take what somebody else needs: they come of the budget and the blocks that
 * sequences left, after these, and none comes before its own sequence has all the blocks that
 * it can ever need.  What has no room now is asked for in a later pass.
 *
 * Engine thread only.
 */
#include "engine/serve/branch.h"

#include <stdlib.h>

/* A place for what stands behind the prompt. */
typedef struct place
{
	glm_chain	   chain; /* blocks from the one in which the prompt ends */
	const int32_t *ids;	  /* behind the prompt */
	int			   n_computed;
	int			   n; /* with those that the pass computes */
	bool		   taken;
} place;

struct glm_branches
{
	int	   n_planned;
	place *planned[GLM_DRAFT_MAX]; /* those in the pass, in its order */
	place  at[];				   /* [n_branches of the sequence] */
};

/* A branch that the pass may have: where it goes, and what it begins with. */
typedef struct wanted
{
	const int32_t *ids;
	int			   n;
	int			   same;   /* ids that it has in common with its source */
	place		  *source; /* NULL: the sequence itself */
	place		  *to;	   /* the source, or NULL: a copy of it */
} wanted;

static int
blocks_of(int tokens)
{
	return (tokens + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;
}

/* ---- Memory ------------------------------------------------------------------------- */

bool
glm_branches_open(glm_sequence *seq)
{
	int own = blocks_of(seq->limit) - seq->n_prompt / GLM_KV_BLOCK;

	if (seq->n_branches == 0)
		return true;
	seq->branches = calloc(1, sizeof(*seq->branches) + (size_t) seq->n_branches * sizeof(place));
	if (seq->branches == NULL)
		return false;
	for (int i = 0; i < seq->n_branches; i++)
	{
		if (!glm_chain_open(glm_sequence_prefix(seq), &seq->branches->at[i].chain,
							seq->served->generation, seq->served->kv_block_bytes,
							seq->request->scope, own))
			return false;
	}
	return true;
}

void
glm_branches_close(glm_sequence *seq)
{
	for (int i = 0; seq->branches != NULL && i < seq->n_branches; i++)
		glm_chain_close(glm_sequence_prefix(seq), &seq->branches->at[i].chain);
	free(seq->branches);
	seq->branches = NULL;
}

size_t
glm_branches_blocks(const glm_sequence *seq)
{
	return (size_t) (1 + seq->n_branches) * (size_t) blocks_of(seq->limit);
}

/* ---- Places ------------------------------------------------------------------------- */

static int
count_same(const int32_t *a, int n_a, const int32_t *b, int n_b)
{
	int n = 0;

	while (n < n_a && n < n_b && a[n] == b[n])
		n++;
	return n;
}

/* Finds where most of it has been computed, and takes that place if it is free. */
static void
find_source(const glm_sequence *seq, wanted *w)
{
	int most = w->n - 1; /* a row is needed for what it leaves */

	w->source = w->to = NULL;
	w->same =
		count_same(w->ids, most, seq->tokens.data + seq->n_prompt, seq->n_computed - seq->n_prompt);
	for (int i = 0; i < seq->n_branches; i++)
	{
		place *at = &seq->branches->at[i];
		int	   same = count_same(w->ids, most, at->ids, at->n_computed);

		if (same <= w->same)
			continue;
		w->same = same;
		w->source = at;
	}
	if (w->source == NULL || w->source->taken)
		return;
	w->to = w->source;
	w->to->taken = true;
}

static place *
find_free(const glm_sequence *seq)
{
	place *at = seq->branches->at;

	while (at->taken)
		at++;
	at->taken = true;
	return at;
}

/* Blocks for all of a branch, with what it begins with in them; false: there is no room. */
static bool
fill_place(glm_engine *e, const glm_sequence *seq, wanted *w)
{
	int			  shared = seq->n_prompt / GLM_KV_BLOCK;
	bool		  copy = w->to == NULL;
	glm_kv_table *kv;

	if (copy)
		w->to = find_free(seq);
	kv = &w->to->chain.kv;
	while ((shared + kv->n_blocks) * GLM_KV_BLOCK < seq->n_prompt + w->n)
	{
		if (!glm_chain_grow(glm_sequence_prefix(seq), &w->to->chain))
			return false;
	}
	for (int i = 0; copy && (shared + i) * GLM_KV_BLOCK < seq->n_prompt + w->same; i++)
		glm_forward_kv_copy(e->forward, glm_sequence_home(seq)->place, kv->block[i],
							w->source != NULL ? w->source->chain.kv.block[i]
											  : seq->chain.kv.block[shared + i],
							seq->served->kv_block_bytes);
	return true;
}

/* ---- Planning ----------------------------------------------------------------------- */

/* Is the prompt there, and will all that is known be once the pass is over? */
static bool
may_branch(glm_sequence *seq)
{
	if (seq->n_rows == 0 || seq->n_computed < seq->n_prompt ||
		seq->n_computed + seq->n_rows < (int) seq->tokens.length)
		return false;
	while (seq->chain.kv.n_blocks < seq->chain.kv.capacity)
	{
		if (!glm_chain_grow(glm_sequence_prefix(seq), &seq->chain))
			return false;
	}
	return true;
}

/* Plans the branches of a sequence, as many as there is room for, from the first on. */
static int
plan_branches(glm_engine *e, glm_sequence *seq, int budget)
{
	glm_branches *branches = seq->branches;
	wanted		  w[GLM_DRAFT_MAX];
	int			  n = 0;

	for (int i = 0; i < seq->n_branches; i++)
		branches->at[i].taken = false;
	while (n < seq->n_branches && seq->kind->branch(seq, n, &w[n].ids, &w[n].n))
		find_source(seq, &w[n++]);
	for (int i = 0; i < n; i++)
	{
		if (w[i].n - w[i].same > budget || !fill_place(e, seq, &w[i]))
			break;
		budget -= w[i].n - w[i].same;
		w[i].to->ids = w[i].ids;
		w[i].to->n_computed = w[i].same;
		w[i].to->n = w[i].n;
		branches->planned[branches->n_planned++] = w[i].to;
	}
	return budget;
}

int
glm_branches_plan(glm_scheduler *s, const glm_home *home, int budget)
{
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (seq->branches == NULL || !glm_sequence_is_at(seq, home))
			continue;
		seq->branches->n_planned = 0;
		if (may_branch(seq))
			budget = plan_branches(s->engine, seq, budget);
	}
	return budget;
}

/* ---- The pass ------------------------------------------------------------------------- */

void
glm_branches_write(glm_rows *rows, glm_sequence *seq)
{
	for (int i = 0; seq->branches != NULL && i < seq->branches->n_planned; i++)
	{
		const place *at = seq->branches->planned[i];

		glm_rows_begin_branch(rows, &seq->chain.kv, seq->n_prompt / GLM_KV_BLOCK, &at->chain.kv);
		for (int k = at->n_computed; k < at->n; k++)
			glm_rows_add(rows, at->ids[k], seq->n_prompt + k,
						 k + 1 < at->n ? GLM_WANT_NOTHING : seq->kind->want);
		seq->n_wanted++;
	}
}

void
glm_branches_weigh(const glm_sequence *seq, uint64_t *rows, uint64_t *attended, uint64_t *held)
{
	for (int i = 0; seq->branches != NULL && i < seq->branches->n_planned; i++)
	{
		const place *at = seq->branches->planned[i];
		uint64_t	 n = (uint64_t) (at->n - at->n_computed);

		*rows += n;
		*attended += n * (uint64_t) (seq->n_prompt + at->n_computed) + n * (n + 1) / 2;
		*held += (uint64_t) (seq->n_prompt + at->n);
	}
}

void
glm_branches_count_computed(glm_sequence *seq)
{
	for (int i = 0; seq->branches != NULL && i < seq->branches->n_planned; i++)
		seq->branches->planned[i]->n_computed = seq->branches->planned[i]->n;
}
