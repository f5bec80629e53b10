/*
 * weights.h - tensors in the weight files of a directory: found by name, held while they are read.
 */
#ifndef GLM_WEIGHTS_H
#define GLM_WEIGHTS_H

#include "engine/weights/dtype.h"

typedef struct glm_weight_files glm_weight_files; /* those that are open, to be shared */

extern glm_weight_files *glm_weight_files_open(void);					  /* NULL: out of memory */
extern void				 glm_weight_files_close(glm_weight_files *files); /* when none is open */

typedef struct glm_weight_options
{
	glm_verify		  verify;
	glm_weight_files *files; /* NULL: share with nobody */
} glm_weight_options;

typedef struct glm_shards glm_shards; /* all weight files of a directory */

/*
 * Opens model.safetensors.index.json and its shards, or model.safetensors,
 * or the single *.safetensors there is.  Checks every header whole: offsets
 * inside the file, no overlap, sizes that match dtype and shape, no name
 * twice; every tensor the index names is where it says; a packed directory is
 * what its manifest says.  Maps nothing.
 */
extern glm_shards *glm_shards_open(const char *dir, const glm_weight_options *options,
								   glm_error *err);
extern void		   glm_shards_close(glm_shards *shards);
extern uint64_t	   glm_shards_bytes(const glm_shards *shards);
/* "none", "int4" or "int8": what the manifest says. */
extern const char *glm_shards_quantization(const glm_shards *shards);
/* Checks every chunk against the manifest, on two threads; true without one. */
extern bool		   glm_shards_verify(const glm_shards *shards, glm_error *err);
/* Path of the file that holds a tensor of this name, NULL when none does. */
extern const char *glm_shards_file(const glm_shards *shards, const char *name);

/* Finds a tensor of exactly this shape (cols 0: a vector of rows). */
extern bool glm_shards_find(const glm_shards *shards, const char *name, int64_t rows, int64_t cols,
							glm_tensor *out, glm_error *err);

/*
 * A tensor that was found has an address, but its bytes can be read only while
 * it is held; every hold is given back by one drop.  Thread-safe.
 */
extern bool glm_shards_hold(const glm_shards *shards, const glm_tensor *tensor, glm_error *err);
extern void glm_shards_drop(const glm_shards *shards, const glm_tensor *tensor);
/* Brings the pages of a tensor that is held into memory, with pauses; false: ended. */
extern bool glm_shards_populate(const glm_shards *shards, const glm_tensor *tensor, glm_error *err);
/* Copies what is held to huge pages, as far as there is room, with pauses; false: ended. */
extern bool glm_shards_settle(const glm_shards *shards, glm_error *err);
/* Copies a tensor's bytes without mapping them: for small ones. */
extern bool glm_shards_read(const glm_shards *shards, const glm_tensor *tensor, void *to,
							glm_error *err);

#endif /* GLM_WEIGHTS_H */
