/*
 * projection.h - what a model's matrices and norms are for: the names by which the
 * forward pass and its device speak of weights.  Plain C that C++ reads too.
 */
#ifndef GLM_PROJECTION_H
#define GLM_PROJECTION_H

#define GLM_NO_LAYER (-1) /* of what lies before and behind the layers */

/* What a matrix is for.  A model may have several for one, side by side. */
typedef enum glm_projection
{
	GLM_QKV = 0,   /* all query heads, then the groups' keys, then their values */
	GLM_DENSE,	   /* what attention gives */
	GLM_GATE_UP,   /* gates, then what they let through */
	GLM_DOWN,	   /* what the feed-forward part gives */
	GLM_HEAD,	   /* logits */
	GLM_EMBEDDING, /* rows are looked up */
	GLM_N_PROJECTIONS
} glm_projection;

typedef enum glm_norm
{
	GLM_ATTN_NORM = 0, /* before attention */
	GLM_FFN_NORM,	   /* before the feed-forward part */
	GLM_FINAL_NORM,	   /* before the head */
	GLM_N_NORMS
} glm_norm;

#endif /* GLM_PROJECTION_H */
