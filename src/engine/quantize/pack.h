/*
 * pack.h - writing packed directories (packed.h says what is in them).
 *
 *     pack = glm_pack_open(target)               a temporary directory beside it
 *     glm_pack_plan(pack, tensors)               all names and shapes, in order
 *     glm_pack_put(pack, bytes) ...              their data, in the same order
 *     glm_pack_copy(pack, dir, "config.json")    files that are taken over
 *     glm_pack_seal(pack, info)                  index and manifest; now it can be read
 *     glm_pack_publish(pack)                     and now it is there, under its name
 *     glm_pack_close(pack)
 *
 * Whatever goes wrong in between: glm_pack_close takes the temporary directory
 * away.  One that a dead process left is removed by the next glm_pack_open for
 * the same target.  A glm_pack belongs to one thread at a time.
 */
#ifndef GLM_PACK_H
#define GLM_PACK_H

#include "engine/weights/packed.h"
#include "engine/weights/weights.h"

/* Most bytes of data in one safetensors file, unless a single tensor has more. */
#define GLM_PACK_FILE_MAX ((uint64_t) 2 << 30)

typedef struct glm_pack glm_pack;

typedef struct glm_pack_tensor
{
	const char *name;
	glm_tensor	form; /* dtype, shape, group; data is not used */
} glm_pack_tensor;

/* What the manifest says about the whole. */
typedef struct glm_pack_info
{
	glm_dtype	dtype; /* GLM_Q4 or GLM_Q8 */
	int			group;
	const char *method;
	double		bits_per_weight;
} glm_pack_info;

/* target: an absolute path of something that must not exist in a directory that does. */
extern glm_pack *glm_pack_open(const char *target, glm_error *err);
extern void		 glm_pack_close(glm_pack *pack);

/* The temporary directory. */
extern const char *glm_pack_path(const glm_pack *pack);

/* file_max: bytes of data in a file, for tests; GLM_PACK_FILE_MAX otherwise. */
extern bool glm_pack_plan(glm_pack *pack, const glm_pack_tensor *tensors, int n, uint64_t file_max,
						  glm_error *err);
/* The next bytes of the data, not beyond the tensor that is being written. */
extern bool glm_pack_put(glm_pack *pack, const void *bytes, size_t n, glm_error *err);
/* A small file of these bytes. */
extern bool glm_pack_add(glm_pack *pack, const char *name, const void *bytes, size_t n,
						 glm_error *err);
/* Copies a file; when it is not there, does nothing. */
extern bool glm_pack_copy(glm_pack *pack, const char *dir, const char *name, glm_error *err);
/*
 * All tensors are written: index, manifest, everything on disk.  info NULL: no
 * manifest, for a plain directory; none of its tensors is packed then.
 */
extern bool glm_pack_seal(glm_pack *pack, const glm_pack_info *info, glm_error *err);
/* Renames the directory to the target.  GLM_EXISTS when that has come to be. */
extern bool glm_pack_publish(glm_pack *pack, glm_error *err);

/* ---- pack_dir.c: the directory that becomes the target --------------------- */

typedef struct glm_pack_dir
{
	char *target; /* without slashes at its end */
	char *parent;
	char *path;		 /* the temporary one */
	int	  fd;		 /* it, locked; -1 = not made */
	int	  parent_fd; /* -1 = not open */
} glm_pack_dir;

extern bool glm_pack_dir_make(glm_pack_dir *dir, const char *target, glm_error *err);
extern bool glm_pack_dir_sync(const glm_pack_dir *dir, glm_error *err);
extern bool glm_pack_dir_publish(glm_pack_dir *dir, glm_error *err);
/* Removes it unless it was published. */
extern void glm_pack_dir_free(glm_pack_dir *dir);

/* Reports errno, what could not be done (a verb) and to what. */
extern bool glm_pack_fail(glm_error *err, const char *verb, const char *path);

#endif /* GLM_PACK_H */
