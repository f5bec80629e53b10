/*
 * kv_layout.c - how many bytes keys and values take, by the model and their dtype.
 */
#include "engine/model/kv_layout.h"

#include "engine/weights/packed.h"

glm_dtype
glm_kv_dtype(glm_kv_type type, glm_dtype weights)
{
	if (type == GLM_KV_F32)
		return GLM_F32;
	if (type == GLM_KV_F16)
		return GLM_F16;
	if (type == GLM_KV_INT8)
		return GLM_I8;
	/* what packed weights cost in precision is more than fp16 keys and values do */
	return glm_is_packed(weights) ? GLM_F16 : GLM_F32;
}

int
glm_kv_groups(int head_dim)
{
	return (head_dim + GLM_KV_GROUP - 1) / GLM_KV_GROUP;
}

size_t
glm_kv_half_bytes(const glm_model_config *config, glm_dtype dtype)
{
	size_t elements = (size_t) GLM_KV_BLOCK * (size_t) config->head_dim;

	if (dtype == GLM_I8)
		return elements +
			   (size_t) GLM_KV_BLOCK * (size_t) glm_kv_groups(config->head_dim) * sizeof(float);
	return elements * (size_t) glm_dtypes[dtype].size;
}

size_t
glm_kv_block_bytes(const glm_model_config *config, glm_dtype dtype)
{
	return (size_t) config->layers * 2 * (size_t) config->groups * glm_kv_half_bytes(config, dtype);
}
