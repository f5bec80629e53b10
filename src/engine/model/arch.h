/*
 * arch.h - architectures: what a config.json means, and which tensors a model has.
 *
 * An architecture is a value of glm_arch.  It recognises its config.json, reads it
 * into a glm_model_config, which says all that the arithmetic needs to know (heads,
 * rotary embedding, norms), and lists the tensors of such a model.  Whoever needs to
 * know which tensors there are walks that list; no other place spells a name.
 */
#ifndef GLM_ARCH_H
#define GLM_ARCH_H

#include "engine/model/config_values.h"
#include "engine/model/tensor_list.h"

typedef struct glm_arch
{
	const char *name; /* model_type in config.json */

	/* Is this config.json one of this architecture? */
	bool (*match)(const glm_config_reader *r);
	/* Reads all but `arch`; config is zeroed.  What we do not run is refused. */
	bool (*read_config)(const glm_config_reader *r, glm_model_config *config);
	/* Adds the tensors of such a model: the embedding, layer by layer, norm and head. */
	bool (*list_tensors)(const glm_model_config *config, glm_tensor_list *list, glm_error *err);
} glm_arch;

extern const glm_arch		 glm_arch_chatglm;
extern const glm_arch *const glm_archs[]; /* all, NULL behind them */

#endif /* GLM_ARCH_H */
