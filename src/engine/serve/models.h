/*
 * models.h - which models are open.
 */
#ifndef GLM_MODELS_H
#define GLM_MODELS_H

#include <pthread.h>

#include "engine/model/model.h"
#include "engine/serve/prefix.h"

typedef struct glm_models
{
	pthread_mutex_t	  lock;
	glm_model		 *first;
	uint64_t		  clock;		/* counts uses, for least-recently-used */
	size_t			  memory_limit; /* bytes of weight files; 0 = no limit */
	glm_weight_files *files;		/* those of all models */
	atomic_int		  verify;		/* glm_verify of models whose options do not say */
	glm_kv_type		  kv_type;		/* set before the first is open */
	glm_prefix		 *prefix; /* forgets a model that is closed; set before the first is open */
	void (*closer)(void *arg, glm_model *model); /* closes elsewhere; NULL: at once */
	void	*closer_arg;
	uint64_t generations; /* models ever opened */
} glm_models;

extern bool glm_models_init(glm_models *models, size_t memory_limit, glm_verify verify);
extern void glm_models_free(glm_models *models);
/*
 * The model of a request with one more reference, NULL when it is to be opened, with
 * *options.  False: the request asks for what cannot be.
 */
extern bool glm_models_find(glm_models *models, const glm_request *req, glm_open_options *options,
							glm_model **model, glm_error *err);
/* Opens a model, with one reference; other models may make way. */
extern glm_model *glm_models_load(glm_models *models, const char *name, const char *path,
								  const glm_open_options *options, glm_error *err);
/* One more reference. */
extern void		  glm_models_keep(glm_models *models, glm_model *model);
extern void		  glm_models_release(glm_models *models, glm_model *model);
/*
 * Unloads the model of a request, at once or when the last reference goes.  Without a
 * path: those of its name that no origin but the request's has named.
 */
extern bool		  glm_models_unload(glm_models *models, const glm_request *req, glm_error *err);
/* Closes a model that is in no list and of whose prefix cache nothing is left. */
extern void		  glm_models_close(glm_model *model);
extern int		  glm_models_list(glm_models *models, glm_model_info *out, int max);

#endif /* GLM_MODELS_H */
