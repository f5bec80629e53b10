/*
 * bind.h - a model's tensors found in its weight files.
 */
#ifndef GLM_BIND_H
#define GLM_BIND_H

#include "engine/model/model.h"

/*
 * Finds what the architecture lists for model->config in model->shards: addresses of
 * matrices, norms and biases as fp32, the segments.
 */
extern bool glm_model_bind(glm_model *model, glm_error *err);

#endif /* GLM_BIND_H */
