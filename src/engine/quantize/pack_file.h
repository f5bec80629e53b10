/*
 * pack_file.h - one file of a packed directory, written front to back.
 */
#ifndef GLM_PACK_FILE_H
#define GLM_PACK_FILE_H

#include <openssl/evp.h>

#include "engine/base/json.h"
#include "engine/quantize/pack.h"

/* A file being written. */
typedef struct glm_pack_file
{
	int			fd; /* -1 = none */
	char	   *path;
	const char *name;	/* within path */
	uint64_t	size;	/* bytes written */
	EVP_MD_CTX *digest; /* of the chunk that is not complete */
	json_t	   *chunks; /* hashes of those that are */
} glm_pack_file;

/* Creates a file in the directory that was made; it must not exist. */
extern bool glm_pack_file_open(glm_pack_file *out, const glm_pack_dir *dir, const char *name,
							   glm_error *err);
extern bool glm_pack_file_write(glm_pack_file *out, const void *bytes, size_t n, glm_error *err);
/* Brings the file to disk, closes it and adds it to the manifest's `files`. */
extern bool glm_pack_file_close(glm_pack_file *out, json_t *files, glm_error *err);
/* Drops what open made; the file stays.  Fine after close, too. */
extern void glm_pack_file_free(glm_pack_file *out);

#endif /* GLM_PACK_FILE_H */
