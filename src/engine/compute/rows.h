/*
 * rows.h - a pass in the making: rows and the KV blocks of their sequences.
 */
#ifndef GLM_ROWS_H
#define GLM_ROWS_H

#include "engine/compute/backend.h"
#include "engine/model/kv_layout.h"

typedef struct glm_rows
{
	glm_pass	  pass;	 /* what there is so far */
	glm_pass_row *row;	 /* [max_rows] */
	uint32_t	 *block; /* [max_blocks] */
	int			  max_rows;
	size_t		  max_blocks;
	int			  n_sequences;
	int32_t		  first_block; /* of the sequence that was begun last */
} glm_rows;

/* Makes room for so many, if there is less; what there was is gone.  Zeroed before the first. */
extern bool glm_rows_reserve(glm_rows *rows, int max_rows, size_t max_blocks, glm_error *err);
extern void glm_rows_free(glm_rows *rows);

/* Begins a pass. */
extern void glm_rows_clear(glm_rows *rows);
/* Begins the rows of a sequence, which has these blocks. */
extern void glm_rows_begin(glm_rows *rows, const glm_kv_table *kv);
/* The same of one that has the first n of these blocks, and then its own. */
extern void glm_rows_begin_branch(glm_rows *rows, const glm_kv_table *shared, int n,
								  const glm_kv_table *own);
/* Its next row. */
extern void glm_rows_add(glm_rows *rows, int32_t token, int position, glm_want want);

/*
 * Do all rows name a token, a position and a KV block that exist, and are they as many as a
 * pass may have at most, and of those as many want logits?  n_picked: ids that the pass before
 * picks, which may be named in place of tokens.
 */
extern bool glm_pass_check(const glm_pass *pass, const glm_model *model, int max_rows,
						   int max_logits, int n_picked, glm_error *err);

#endif /* GLM_ROWS_H */
