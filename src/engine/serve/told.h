/*
 * told.h - tokens with their log probabilities, as their reader is told of them (glm_told).
 */
#ifndef GLM_SERVE_TOLD_H
#define GLM_SERVE_TOLD_H

#include "engine/serve/sequence.h"

/* Is the reader told how likely each token was? */
extern bool glm_tells(const glm_sequence *seq);

/* How many of the likeliest tokens beside it. */
extern int glm_tells_likeliest(const glm_sequence *seq);

/*
 * Appends what is told of a token to seq->told: of a stream the likeliest ones alone, at most
 * so many bytes.  false: out of memory.
 */
extern bool glm_told_add(glm_sequence *seq, const glm_picked *picked, size_t most);

#endif /* GLM_SERVE_TOLD_H */
