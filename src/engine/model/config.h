/*
 * config.h - what a model is: the numbers of its config.json.
 */
#ifndef GLM_CONFIG_H
#define GLM_CONFIG_H

#include "engine/base/base.h"

/* What rope_ratio means in a ChatGLM's config.json. */
typedef enum glm_rope
{
	GLM_ROPE_BY_NAME = 0, /* what the name it was published under says */
	GLM_ROPE_CHATGLM2,	  /* it divides positions */
	GLM_ROPE_CHATGLM3	  /* it multiplies the base */
} glm_rope;

/* Which elements of a head turn together, of the `rotary` first ones. */
typedef enum glm_rotary_style
{
	GLM_ROTARY_PAIRS = 0, /* 2i and 2i + 1 */
	GLM_ROTARY_HALVES	  /* i and i + rotary / 2 */
} glm_rotary_style;

typedef struct glm_model_config
{
	const struct glm_arch *arch;

	int layers;
	int hidden;
	int heads;
	int groups; /* KV heads */
	int head_dim;
	int ffn;
	int vocab;	 /* padded */
	int context; /* positions */

	int				 rotary; /* elements of a head that turn: its first, an even number */
	glm_rotary_style rotary_style;
	double			 rope_base;	 /* ChatGLM3: 10000 * rope_ratio */
	double			 rope_scale; /* divides positions: 1; ChatGLM2: rope_ratio */

	float	norm_eps;
	bool	final_norm; /* is there one before the head? */
	bool	qkv_bias;	/* do queries, keys and values have one? */
	bool	tied;		/* the embedding may be the head */
	int32_t eos[8];
	int		n_eos;
} glm_model_config;

/* Reads dir/config.json: every number in range, every variant one we run. */
extern bool glm_config_read(glm_model_config *config, const char *dir, glm_error *err);
extern bool glm_config_read_with(glm_model_config *config, const char *dir, glm_rope rope,
								 glm_error *err);

#endif /* GLM_CONFIG_H */
