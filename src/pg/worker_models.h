/*
 * worker_models.h - what the server's log says of models that come and go.
 */
#ifndef CHATGLM_WORKER_MODELS_H
#define CHATGLM_WORKER_MODELS_H

#include "chatglm.h"

/* Logs how what the engine has loaded differs from the last time. */
extern void chatglm_models_compare(const glm_model_info *models, int n, uint64 n_evicted);

/* Those missing next time are so because somebody asked for it. */
extern void chatglm_models_unload_asked(void);

#endif /* CHATGLM_WORKER_MODELS_H */
