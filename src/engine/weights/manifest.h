/*
 * manifest.h - the manifest of a packed directory; packed.h has the format.
 */
#ifndef GLM_MANIFEST_H
#define GLM_MANIFEST_H

#include "engine/base/hash.h"
#include "engine/weights/packed.h"

typedef struct glm_manifest_file
{
	char	 *name;
	uint64_t  size;
	int		  n_chunks;
	glm_hash *hash; /* [n_chunks] */
} glm_manifest_file;

typedef struct glm_manifest
{
	char			  *path;  /* of the manifest itself */
	glm_dtype		   dtype; /* of what is quantized, unless it was to be wider */
	int				   group;
	glm_manifest_file *file; /* by name */
	int				   n_files;
} glm_manifest;

/*
 * Reads dir/GLM_MANIFEST.  *out is NULL when there is none: then the directory
 * is a plain one, and that is no error.
 */
extern bool glm_manifest_read(glm_manifest **out, const char *dir, glm_error *err);
extern void glm_manifest_free(glm_manifest *manifest); /* NULL is fine */

/* The entry of a file, NULL when it is not listed. */
extern const glm_manifest_file *glm_manifest_find(const glm_manifest *manifest, const char *name);

/*
 * Is the directory what the manifest says: the same files with the same sizes?
 * Files other than weights are small and must have the right hash, too, unless
 * verify is GLM_VERIFY_OFF.
 */
extern bool glm_manifest_check(const glm_manifest *manifest, const char *dir, glm_verify verify,
							   glm_error *err);

/* Reports a chunk of `size` bytes of which n were there and hashed to `found`. */
extern bool glm_manifest_mismatch(const char *path, int chunk, uint64_t n, uint64_t size,
								  const glm_hash *found, const glm_hash *expected, glm_error *err);

#endif /* GLM_MANIFEST_H */
