/*
 * rows.c - a pass in the making.
 *
 * A sequence's blocks are copied once, behind those of the sequences before it, and its
 * rows say where they begin.  What a pass may come to is reserved before; adding to it
 * takes no memory.
 */
#include "engine/compute/rows.h"

#include <stdlib.h>
#include <string.h>

bool
glm_rows_reserve(glm_rows *rows, int max_rows, size_t max_blocks, glm_error *err)
{
	if (max_rows > rows->max_rows)
	{
		free(rows->row);
		rows->row = calloc((size_t) max_rows, sizeof(*rows->row));
		rows->max_rows = rows->row != NULL ? max_rows : 0;
	}
	if (max_blocks > rows->max_blocks)
	{
		/* twice as many, so that a crowd that grows does not take memory each time */
		max_blocks *= 2;
		free(rows->block);
		rows->block = calloc(max_blocks, sizeof(*rows->block));
		rows->max_blocks = rows->block != NULL ? max_blocks : 0;
	}
	glm_rows_clear(rows);
	return (rows->max_rows >= max_rows && rows->max_blocks >= max_blocks) || glm_no_memory(err);
}

void
glm_rows_free(glm_rows *rows)
{
	free(rows->row);
	free(rows->block);
	memset(rows, 0, sizeof(*rows));
}

void
glm_rows_clear(glm_rows *rows)
{
	rows->pass = (glm_pass){.row = rows->row, .block = rows->block};
	rows->n_sequences = 0;
}

static void
add_blocks(glm_rows *rows, const uint32_t *block, int n)
{
	memcpy(rows->block + rows->pass.n_blocks, block, (size_t) n * sizeof(*block));
	rows->pass.n_blocks += (size_t) n;
}

void
glm_rows_begin(glm_rows *rows, const glm_kv_table *kv)
{
	rows->first_block = (int32_t) rows->pass.n_blocks;
	add_blocks(rows, kv->block, kv->n_blocks);
	rows->n_sequences++;
}

void
glm_rows_begin_branch(glm_rows *rows, const glm_kv_table *shared, int n, const glm_kv_table *own)
{
	rows->first_block = (int32_t) rows->pass.n_blocks;
	add_blocks(rows, shared->block, n);
	add_blocks(rows, own->block, own->n_blocks);
	rows->n_sequences++;
}

void
glm_rows_add(glm_rows *rows, int32_t token, int position, glm_want want)
{
	glm_pass *pass = &rows->pass;

	rows->row[pass->n_rows++] = (glm_pass_row){.token = token,
											   .position = position,
											   .sequence = rows->n_sequences - 1,
											   .first_block = rows->first_block,
											   .want = want};
	pass->n_logits += want == GLM_WANT_LOGITS;
	pass->n_hidden += want == GLM_WANT_HIDDEN;
	if (position >= pass->longest)
		pass->longest = position + 1;
}

/* Where the KV blocks of row i's sequence end in the pass's list. */
static size_t
blocks_end(const glm_pass *pass, int i)
{
	int next = i + 1;

	while (next < pass->n_rows && pass->row[next].sequence == pass->row[i].sequence)
		next++;
	return next < pass->n_rows ? (size_t) pass->row[next].first_block : pass->n_blocks;
}

/* Do all rows name a token, a position and a KV block that exist? */
bool
glm_pass_check(const glm_pass *pass, const glm_model *model, int max_rows, int max_logits,
			   int n_picked, glm_error *err)
{
	size_t end = 0;

	if (pass->n_rows < 1 || pass->n_rows > max_rows || pass->n_logits > max_logits)
		return glm_fail(err, GLM_INTERNAL,
						"a pass of %d rows, %d with logits; it may have 1 to %d and %d",
						pass->n_rows, pass->n_logits, max_rows, max_logits);
	for (int i = 0; i < pass->n_rows; i++)
	{
		const glm_pass_row *row = &pass->row[i];

		if (row->token < -n_picked || row->token >= model->config.vocab)
			return glm_fail(err, GLM_BAD_ARGUMENT,
							"token id %d is not in the vocabulary of model \"%s\" (0 to %d)",
							row->token, model->name, model->config.vocab - 1);
		if (row->position < 0 || row->position >= model->config.context)
			return glm_fail(err, GLM_TOO_LONG,
							"position %d is outside the context of model \"%s\" (%d tokens)",
							row->position, model->name, model->config.context);
		if (i == 0 || row->sequence != row[-1].sequence)
			end = blocks_end(pass, i);
		if ((size_t) row->first_block + (size_t) row->position / GLM_KV_BLOCK >= end)
			return glm_fail(err, GLM_INTERNAL, "no KV block for position %d", row->position);
	}
	return true;
}
