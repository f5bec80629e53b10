/*
 * kind_model.c - models themselves: loaded, unloaded, quantized.
 */
#include "engine/serve/engine.h"

static bool
answer_unloaded(glm_engine *e, int ticket, const glm_request *req, const glm_model *model,
				int *tokens, glm_error *err)
{
	(void) ticket;
	(void) model;
	*tokens = 0;
	return glm_models_unload(&e->models, req, err);
}

const glm_request_kind glm_kind_load = {
	.name = "load",
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_VERIFIED,
};

const glm_request_kind glm_kind_unload = {
	.name = "unload",
	.answer = answer_unloaded,
};

const glm_request_kind glm_kind_quantize = {
	.name = "quantize",
	.start_job = glm_job_start,
};
