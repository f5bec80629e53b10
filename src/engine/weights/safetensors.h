/*
 * safetensors.h - one weight file: the tensors that its header lists.
 */
#ifndef GLM_SAFETENSORS_H
#define GLM_SAFETENSORS_H

#include "engine/weights/chunk.h"
#include "engine/base/json.h"

/*
 * Bytes of JSON we parse.  Real headers take some 100 bytes a tensor, far
 * below 1 MB; parsed they take up to twenty times that, hence no larger limit.
 */
#define GLM_SHARD_JSON_MAX ((size_t) 16 << 20)

typedef struct glm_shard_entry
{
	char		  *name;
	const char	  *path;  /* of its file */
	const char	  *type;  /* as the file says: U8 when packed */
	glm_dtype	   dtype; /* as the kernels see it, if they do: */
	bool		   computable;
	int			   group; /* packed only; shape is then that of the weight */
	size_t		   n_dims;
	int64_t		   shape[2]; /* the first two; 1 where there is none */
	uint64_t	   begin;	 /* [begin, end) of the file's data */
	uint64_t	   end;
	const uint8_t *data; /* its address; end - begin bytes */
} glm_shard_entry;

typedef struct glm_shard
{
	char			*path; /* owned */
	glm_weight_file *file;
	const glm_hash	*expected; /* of its chunks, by the manifest; NULL: do not verify */
	bool			 packed;   /* __metadata__ calls it GLM_PACKED_FORMAT */
	glm_shard_entry *entry;	   /* by begin */
	size_t			 n_entries;
} glm_shard;

/*
 * Opens the file and checks its whole header; the data is neither read nor
 * mapped.  Takes `path` (malloc'd) over; glm_shard_close is due also after a
 * failure.
 */
extern bool glm_shard_open(glm_shard *shard, glm_weight_files *files, char *path, glm_error *err);
extern void glm_shard_close(glm_shard *shard);

#endif /* GLM_SAFETENSORS_H */
