/*
 * passages.h - a text cut into passages of limited tokens.
 */
#ifndef GLM_PASSAGES_H
#define GLM_PASSAGES_H

#include "engine/text/tokenizer.h"

/* A text, which is valid UTF-8, and the passage of it that is at hand. */
typedef struct glm_passages
{
	const glm_tokenizer *tok;
	const char			*text;
	size_t				 n;
	size_t				 tokens;  /* most of a passage, at least 1 */
	size_t				 overlap; /* most that one shares with the next, less than `tokens` */
	size_t				 from;	  /* the passage: bytes [from, to); 0, 0 before the first */
	size_t				 to;
	glm_ids				 ids; /* of it; to be freed */
} glm_passages;

/*
 * The next one, while `to` is not n.  GLM_BAD_ARGUMENT where a single character has more
 * tokens than a passage may.
 */
extern bool glm_passages_next(glm_passages *p, glm_error *err);

#endif /* GLM_PASSAGES_H */
