/*
 * shards.h - the inside of a directory's weight files: shards.c opens them and
 * finds tensors, shards_data.c brings their bytes in.
 */
#ifndef GLM_SHARDS_H
#define GLM_SHARDS_H

#include "engine/weights/manifest.h"
#include "engine/weights/safetensors.h"

/* Bounds the work an index can cause; the largest public models have about 200. */
#define GLM_SHARDS_MAX 256

struct glm_shards
{
	char				   *dir;
	glm_weight_options		options;
	glm_manifest		   *manifest; /* NULL: a plain directory */
	glm_shard				shard[GLM_SHARDS_MAX];
	int						n_shards;
	const glm_shard_entry **entry; /* of all shards, by name */
	size_t					n_entries;
};

#endif /* GLM_SHARDS_H */
