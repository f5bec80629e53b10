/*
 * texts.h - calibration texts as rows of tokens.
 */
#ifndef GLM_TEXTS_H
#define GLM_TEXTS_H

#include "engine/quantize/work.h"
#include "engine/compute/forward.h"

typedef struct glm_texts
{
	glm_pass_row *row; /* of all texts; first_block is not set; logits: the next token counts */
	size_t		  n_rows;
	int			  n_texts; /* each begins at a row of position 0 */
} glm_texts;

/* json: see glm_calibration_open.  glm_texts_free is due also after a failure. */
extern bool glm_texts_read(glm_texts *texts, const glm_model *model, const char *json,
						   int max_tokens, const glm_work *work, glm_error *err);
extern void glm_texts_free(glm_texts *texts);

#endif /* GLM_TEXTS_H */
