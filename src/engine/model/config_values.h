/*
 * config_values.h - values of a config.json, each checked as it is taken.
 *
 * Every error names the file and the key.
 */
#ifndef GLM_CONFIG_VALUES_H
#define GLM_CONFIG_VALUES_H

#include "engine/base/json.h"
#include "engine/model/config.h"

#define GLM_CONFIG_LIMIT ((size_t) 1 << 20) /* bytes of the file */

/* A config.json that was parsed, and where faults are reported. */
typedef struct glm_config_reader
{
	const char *dir;
	const char *path; /* of config.json */
	json_t	   *root;
	glm_rope	rope; /* as the caller says */
	glm_error  *err;
} glm_config_reader;

/* NULL when the key is left out or null. */
extern json_t *glm_config_get(const glm_config_reader *r, const char *key);
/* Reports that a key is missing; false. */
extern bool	   glm_config_missing(const glm_config_reader *r, const char *key);
/* true, false, or what is standard when the key is left out. */
extern bool	   glm_config_switch(const glm_config_reader *r, const char *key, bool standard,
								 bool *out);
/* A whole number that must be there. */
extern bool	   glm_config_number(const glm_config_reader *r, const char *key, int min, int max,
								 int *out);
/* A number above 0 and at most max; *out stays when the key is left out. */
extern bool glm_config_real(const glm_config_reader *r, const char *key, double max, double *out);

#endif /* GLM_CONFIG_VALUES_H */
