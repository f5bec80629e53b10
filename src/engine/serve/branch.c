/*
 * branch.c - what else may stand behind a prompt, computed beside the sequence itself.
 *
 * A branch shares the prompt's full KV blocks with its sequence, whose rows it follows in
 * the pass as if they were another sequence's.  The block in which the prompt ends, and those
 * behind it, are its own: the beginning of that block is copied once, and what a branch wrote
 * behind the prompt the next one writes over.  Nobody else finds them, as they are never
 * indexed.  So a branch is possible when all of the prompt was computed in passes before.
 *
 * Branches never take what somebody else needs: they come of the budget and the blocks that
 * sequences left, after these, and none comes before its own sequence has all the blocks that
 * it can ever need.  What has no room now is asked for in a later pass.
 *
 * Engine thread only.
 */
#include "engine/serve/branch.h"

#include <stdlib.h>

struct glm_branch
{
	glm_chain	   chain; /* blocks from the one in which the prompt ends */
	const int32_t *ids;	  /* behind the prompt */
	int			   n;	  /* of them; 0: it is not in the pass */
};

static int
blocks_of(int tokens)
{
	return (tokens + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;
}

/* ---- Memory ------------------------------------------------------------------------- */

bool
glm_branches_open(glm_engine *e, glm_sequence *seq)
{
	int own = blocks_of(seq->limit) - seq->n_prompt / GLM_KV_BLOCK;

	if (seq->n_branches == 0)
		return true;
	seq->branch = calloc((size_t) seq->n_branches, sizeof(*seq->branch));
	if (seq->branch == NULL)
		return false;
	for (int i = 0; i < seq->n_branches; i++)
	{
		if (!glm_chain_open(e->prefix, &seq->branch[i].chain, seq->served->generation,
							seq->model->kv_block_bytes, seq->request->scope, own))
			return false;
	}
	return true;
}

void
glm_branches_close(glm_engine *e, glm_sequence *seq)
{
	for (int i = 0; seq->branch != NULL && i < seq->n_branches; i++)
		glm_chain_close(e->prefix, &seq->branch[i].chain);
	free(seq->branch);
	seq->branch = NULL;
}

size_t
glm_branches_blocks(const glm_sequence *seq)
{
	return (size_t) (1 + seq->n_branches) * (size_t) blocks_of(seq->limit);
}

/* ---- Planning ----------------------------------------------------------------------- */

/* Blocks for n more tokens; the first one begins as the sequence's does. */
static bool
find_branch_blocks(glm_engine *e, const glm_sequence *seq, glm_branch *branch, int n)
{
	glm_kv_table *kv = &branch->chain.kv;
	int			  shared = seq->n_prompt / GLM_KV_BLOCK;

	while ((shared + kv->n_blocks) * GLM_KV_BLOCK < seq->n_prompt + n)
	{
		if (!glm_chain_grow(e->prefix, &branch->chain))
			return false;
		if (kv->n_blocks == 1 && seq->n_prompt % GLM_KV_BLOCK > 0)
			glm_forward_kv_copy(e->forward, kv->block[0], seq->chain.kv.block[shared],
								seq->model->kv_block_bytes);
	}
	return true;
}

/* Is the prompt there, and will all that is known be once the pass is over? */
static bool
may_branch(glm_engine *e, glm_sequence *seq)
{
	if (seq->branch == NULL || seq->n_rows == 0 || seq->n_computed < seq->n_prompt ||
		seq->n_computed + seq->n_rows < (int) seq->tokens.length)
		return false;
	while (seq->chain.kv.n_blocks < seq->chain.kv.capacity)
	{
		if (!glm_chain_grow(e->prefix, &seq->chain))
			return false;
	}
	return true;
}

static int
plan_branches(glm_engine *e, glm_sequence *seq, int budget)
{
	const int32_t *ids;
	int			   n;

	for (int i = 0; i < seq->n_branches; i++)
	{
		glm_branch *branch = &seq->branch[i];

		if (!seq->kind->branch(seq, i, &ids, &n) || n > budget ||
			!find_branch_blocks(e, seq, branch, n))
			break;
		branch->ids = ids;
		branch->n = n;
		budget -= n;
	}
	return budget;
}

int
glm_branches_plan(glm_scheduler *s, int budget)
{
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		for (int i = 0; seq->branch != NULL && i < seq->n_branches; i++)
			seq->branch[i].n = 0;
		if (may_branch(s->engine, seq))
			budget = plan_branches(s->engine, seq, budget);
	}
	return budget;
}

void
glm_branches_write(glm_rows *rows, glm_sequence *seq)
{
	int shared = seq->n_prompt / GLM_KV_BLOCK;

	for (int i = 0; seq->branch != NULL && i < seq->n_branches && seq->branch[i].n > 0; i++)
	{
		const glm_branch *branch = &seq->branch[i];

		glm_rows_begin_branch(rows, &seq->chain.kv, shared, &branch->chain.kv);
		for (int k = 0; k < branch->n; k++)
			glm_rows_add(rows, branch->ids[k], seq->n_prompt + k,
						 k + 1 < branch->n ? GLM_WANT_NOTHING : seq->kind->want);
		seq->n_wanted++;
	}
}
