/*
 * vocabularies.h - the tokens of served models as constraints see them.
 */
#ifndef GLM_VOCABULARIES_H
#define GLM_VOCABULARIES_H

#include "engine/serve/models.h"

/* Does this token end an answer? */
extern bool glm_model_stops_at(const glm_model *model, int32_t token);
/* All ids that do, each once, `max` at most; how many they are. */
extern int	glm_model_stops(const glm_model *model, int32_t *ids, int max);

/* The vocabulary of a model, made for the first who asks.  Any thread; NULL: out of memory. */
extern const glm_vocabulary *glm_served_vocabulary(glm_served *served, glm_error *err);
/* Closes it with what was compiled for it: nobody uses the model any more. */
extern void					 glm_served_close_vocabulary(glm_models *models, glm_served *served);

#endif /* GLM_VOCABULARIES_H */
