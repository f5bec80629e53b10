/*
 * vocabulary.h - the tokens of a model as tries over their bytes.
 */
#ifndef GLM_VOCABULARY_H
#define GLM_VOCABULARY_H

#include "engine/base/base.h"

#define GLM_TOKEN_BYTES 256 /* longer tokens are never allowed where something is constrained */

/* What a vocabulary is made of. */
typedef struct glm_vocabulary_source
{
	int n_ids; /* of the logits that may be picked */
	/* The bytes that a token adds to an answer; NULL: it adds none, or is no text. */
	const char *(*bytes)(void *arg, int32_t id, size_t *n);
	/* Is it a token that ends an answer? */
	bool (*ends)(void *arg, int32_t id);
	/* Appends the tokens that a model would write these bytes as; NULL: the longest first. */
	bool (*encode)(void *arg, const char *bytes, size_t n, glm_ids *out);
	void *arg; /* lives as long as the vocabulary */
} glm_vocabulary_source;

/* Immutable and thread-safe. */
typedef struct glm_vocabulary glm_vocabulary;

/* NULL: out of memory. */
extern glm_vocabulary *glm_vocabulary_open(const glm_vocabulary_source *source, glm_error *err);
extern void			   glm_vocabulary_close(glm_vocabulary *vocabulary);
/* Words of 64 bits that a mask of its ids has. */
extern int			   glm_vocabulary_words(const glm_vocabulary *vocabulary);

#endif /* GLM_VOCABULARY_H */
