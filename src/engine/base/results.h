/*
 * results.h - the bytes of results that are neither texts nor ids.
 */
#ifndef GLM_RESULTS_H
#define GLM_RESULTS_H

#include <stdint.h>

/*
 * The RESULT bytes of GLM_QUANTIZE are an array of these: one for each tensor in
 * the order of the files, and a last one without a name for the whole model.
 * NaN is what is not known: errors of outputs and perplexities need calibration
 * texts, which `text` gives as a JSON array of strings.
 */
typedef struct glm_quantized
{
	char   name[128];
	char   method[8];		  /* "rtn", "hqq", "gptq"; "copy": left as it was */
	double bits;			  /* a weight, scales and zero points included */
	double weight_error;	  /* relative L2 error of the weights */
	double output_error;	  /* of the layer's outputs on the calibration texts */
	double perplexity_before; /* of the model on these texts; the last one only */
	double perplexity_after;
} glm_quantized;

/*
 * The RESULT bytes of GLM_LOGPROBS are an array of these: for each token of the
 * continuation itself, then `top_logprobs` of its place, the likeliest first; then for each
 * of them its bytes and a NUL.  The bytes of a token need not be whole characters, and those
 * of special tokens are their names.
 *
 * Those of GLM_SCORE are doubles: for each label its probability, which together are 1, and
 * the share of all tokens' probability that those have which a label may go on by, where
 * labels first part.
 */
#define GLM_TOP_LOGPROBS 20
typedef struct glm_token_logprob
{
	int32_t token_id;
	float	logprob; /* natural log of the model's probability */
} glm_token_logprob;

#endif /* GLM_RESULTS_H */
