/*
 * drawing.h - what a request says of how tokens are drawn, and is told of them; a part of glm.h.
 */
#ifndef GLM_DRAWING_H
#define GLM_DRAWING_H

#include <stdint.h>

#define GLM_PENALTY_MAX 2 /* of frequency and presence, and the least is its negative */

/* Added to the logit of a token. */
typedef struct glm_bias
{
	int32_t token;
	float	bias; /* [GLM_BIAS_BAN, -GLM_BIAS_BAN] */
} glm_bias;

#define GLM_BIAS_BAN (-100) /* the token never comes */
#define GLM_BIAS_MAX 1024	/* of a request */

/*
 * A token and the log probability that the model gave it: this, then `length` bytes of its
 * text, aligned for nothing.  A token of an answer is told so, with n_top others behind it,
 * the likeliest in its place, the first one first; of a stream, whose events tell of their own
 * token, these alone.
 */
typedef struct glm_told
{
	int32_t	 id;
	float	 logprob;
	uint16_t length;
	uint8_t	 n_top;
	uint8_t	 named; /* it has no text of its own, and this is its name */
} glm_told;

#define GLM_LOGPROBS_MAX 20 /* likeliest tokens that are told beside one of the answer */

#endif /* GLM_DRAWING_H */
