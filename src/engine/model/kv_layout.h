/*
 * kv_layout.h - the shape of a block of keys and values.
 *
 * A KV block holds 32 positions of one sequence, in fp32, fp16 or int8:
 *
 *     [layer] { K [group][head_dim][32], V [group][32][head_dim] }
 *
 * so that attention walks contiguous memory: the scores of 32 positions are sums
 * of rows of K, as the output is one of rows of V.
 *
 * In int8 an element is code * scale, codes -127 to 127.  GLM_KV_GROUP elements of a
 * position's head share an fp32 scale; those of each [head_dim][32] of keys lie
 * behind it as [head_dim / GLM_KV_GROUP][32], those of each [32][head_dim] of values
 * as [32][head_dim / GLM_KV_GROUP].  A position is written once, from itself
 * alone, and blocks hold no addresses: a copy of one is as good.
 */
#ifndef GLM_KV_LAYOUT_H
#define GLM_KV_LAYOUT_H

#include "engine/model/model.h"

#define GLM_KV_BLOCK 32 /* positions in a block */
#define GLM_KV_GROUP 32 /* elements of a head that share a scale, GLM_I8 only */

/* The blocks of one sequence; block[i] holds positions [32 i, 32 i + 32). */
typedef struct glm_kv_table
{
	uint32_t *block; /* [capacity]: places in the pool, in units of GLM_KV_UNIT bytes */
	int		  n_blocks;
	int		  capacity;
} glm_kv_table;

/* The dtype of a model's keys and values, by the dtype of its weights. */
extern glm_dtype glm_kv_dtype(glm_kv_type type, glm_dtype weights);
/* Groups with a scale that a head has, the last one may be smaller. */
extern int		 glm_kv_groups(int head_dim);
/* Bytes of the keys, or of the values, of 32 positions of one KV head. */
extern size_t	 glm_kv_half_bytes(const glm_model_config *config, glm_dtype dtype);
/* Bytes of one block of this model: 32 positions, K and V, all layers. */
extern size_t	 glm_kv_block_bytes(const glm_model_config *config, glm_dtype dtype);

/* ---- Places in a block, in bytes ------------------------------------------------------------ */

/* Where the keys [head_dim, 32] of a layer's group begin: transposed. */
static inline size_t
glm_kv_keys(const glm_model *model, int layer, int group)
{
	return ((size_t) layer * 2 * (size_t) model->config.groups + (size_t) group) *
		   glm_kv_half_bytes(&model->config, model->kv_dtype);
}

/* Where the values [32, head_dim] of a layer's group begin. */
static inline size_t
glm_kv_values(const glm_model *model, int layer, int group)
{
	return glm_kv_keys(model, layer, model->config.groups + group);
}

/* Where the scales behind GLM_I8 keys or values begin. */
static inline size_t
glm_kv_scales(const glm_model *model)
{
	return (size_t) GLM_KV_BLOCK * (size_t) model->config.head_dim;
}

#endif /* GLM_KV_LAYOUT_H */
