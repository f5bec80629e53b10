/*
 * way.h - a known way to an end: bytes, and the fewest tokens that write them.
 */
#ifndef GLM_WAY_H
#define GLM_WAY_H

#include "engine/constrain/vocabulary_tries.h"

#define GLM_NO_WAY (1 << 30) /* tokens where none write the bytes */

/* What is left of a way from one of its bytes on. */
typedef struct glm_way_rest
{
	int32_t tokens; /* fewest */
	int32_t token;	/* the first of them */
} glm_way_rest;

typedef struct glm_way
{
	glm_buf		  bytes;
	size_t		  at;	/* bytes that were written */
	glm_way_rest *rest; /* [bytes.length + 1] */
	size_t		  capacity;
} glm_way;

/* Counts the tokens of what is in bytes; pauses, but not with err NULL. */
extern bool glm_way_count(glm_way *way, const glm_vocabulary *vocabulary, glm_error *err);
extern void glm_way_free(glm_way *way);

/* Does it go on with these bytes? */
extern bool glm_way_follows(const glm_way *way, const char *bytes, size_t n);

static inline const glm_way_rest *
glm_way_left(const glm_way *way)
{
	return &way->rest[way->at];
}

#endif /* GLM_WAY_H */
