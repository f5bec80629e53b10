/*
 * hash.h - SHA-256 of bytes in files; shared by chunk.c and manifest.c.
 */
#ifndef GLM_HASH_H
#define GLM_HASH_H

#include "engine/internal.h"

typedef struct glm_hash
{
	uint8_t byte[32];
} glm_hash;

#define GLM_HASH_TEXT (2 * sizeof(glm_hash) + 1) /* in hex, with its NUL */

extern void glm_hash_text(const glm_hash *hash, char text[GLM_HASH_TEXT]);
/* Reads 64 lowercase hexadecimal digits; false when text is anything else. */
extern bool glm_hash_parse(glm_hash *hash, const char *text);

/*
 * Hashes [offset, offset + length) of an open file, or what is there of it:
 * *n bytes, with pauses.  Errors name `path`.
 */
extern bool glm_hash_file(int fd, const char *path, uint64_t offset, uint64_t length,
						  glm_hash *hash, uint64_t *n, glm_error *err);

/* Reports a chunk of `size` bytes of which n were there and hashed to `found`. */
extern bool glm_hash_mismatch(const char *path, int chunk, uint64_t n, uint64_t size,
							  const glm_hash *found, const glm_hash *expected, glm_error *err);

#endif /* GLM_HASH_H */
