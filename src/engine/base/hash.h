/*
 * hash.h - SHA-256 of bytes, in files and in memory.
 */
#ifndef GLM_HASH_H
#define GLM_HASH_H

#include "engine/base/base.h"

typedef struct glm_hash
{
	uint8_t byte[32];
} glm_hash;

#define GLM_HASH_TEXT (2 * sizeof(glm_hash) + 1) /* in hex, with its NUL */

extern void glm_hash_text(const glm_hash *hash, char text[GLM_HASH_TEXT]);
/* Reads 64 lowercase hexadecimal digits; false when text is anything else. */
extern bool glm_hash_parse(glm_hash *hash, const char *text);

extern bool glm_hash_memory(const void *bytes, size_t n, glm_hash *hash, glm_error *err);

/*
 * Hashes [offset, offset + length) of an open file, or what is there of it:
 * *n bytes, with pauses.  Errors name `path`.
 */
extern bool glm_hash_file(int fd, const char *path, uint64_t offset, uint64_t length,
						  glm_hash *hash, uint64_t *n, glm_error *err);

#endif /* GLM_HASH_H */
