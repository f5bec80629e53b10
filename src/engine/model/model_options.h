/*
 * model_options.h - the options of a model as they are written, and as it is opened.
 *
 * The table of keys and choices is glm_model_options, in glm.h.
 */
#ifndef GLM_MODEL_OPTIONS_H
#define GLM_MODEL_OPTIONS_H

#include "engine/base/json.h"
#include "engine/model/model.h"

/* The value of a choice; false: the option has no such choice, and *err says what it has. */
extern bool glm_model_option_read(const char *key, json_t *choice, int *value, glm_error *err);

/* Reads all from JSON, {"verify": ..., "rope": ...}; what is left out stays as it is. */
extern bool glm_model_options_read(glm_open_options *options, const char *text, glm_error *err);

#endif /* GLM_MODEL_OPTIONS_H */
