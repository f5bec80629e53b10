/*
 * quant_options.h - what glm_quantize was asked to do: options, and from them what
 * becomes of each tensor of a model.
 */
#ifndef GLM_QUANT_OPTIONS_H
#define GLM_QUANT_OPTIONS_H

#include "engine/base/json.h"
#include "engine/weights/packed.h"
#include "engine/model/model.h"

typedef enum glm_method
{
	GLM_COPY = 0, /* as it was */
	GLM_SYM,	  /* round to nearest, no zero point; for comparison */
	GLM_RTN,	  /* round to nearest */
	GLM_HQQ,	  /* scale and zero point fitted to the weights */
	GLM_GPTQ	  /* errors compensated on calibration inputs */
} glm_method;

typedef struct glm_quant_options
{
	glm_method method;
	glm_dtype  dtype;	   /* GLM_Q4 or GLM_Q8 */
	int		   group;	   /* 32, 64 or 128 */
	int		   max_tokens; /* of the calibration texts */
	glm_rope   rope;	   /* as glm_open_options has it */
	json_t	  *root;	   /* the options; keep and wide point into it */
	json_t	  *keep;	   /* patterns of tensors that stay as they are */
	json_t	  *wide;	   /* of those that become INT8 whatever the rest does */
} glm_quant_options;

/* One tensor of the model and what it is to become. */
typedef struct glm_quant_tensor
{
	char		   name[GLM_TENSOR_NAME];
	int			   layer;	   /* or GLM_NO_LAYER */
	glm_projection projection; /* of a matrix; the embedding multiplies no input */
	glm_tensor	   source;	   /* its form; where data lies is found when it is read */
	glm_tensor	   form;	   /* dtype, shape and group in the packed file */
	glm_method	   method;	   /* GLM_COPY for a norm or a bias */
} glm_quant_tensor;

/* All tensors in the order in which they are written. */
typedef struct glm_quant_tensors
{
	glm_quant_tensor *tensor;
	int				  n;
	double			  bits; /* a weight, all told */
	uint64_t		  source_bytes;
} glm_quant_tensors;

/*
 * Reads {"method", "bits", "group_size", "keep", "wide", "max_calibration_tokens",
 * "rope"}; NULL stands for {}, and a key that is null for one left out.
 * glm_quant_options_free is due also after a failure.
 */
extern bool glm_quant_options_read(glm_quant_options *options, const char *json, bool calibrated,
								   glm_error *err);
extern void glm_quant_options_free(glm_quant_options *options);

extern const char *glm_method_name(glm_method method);

/* What becomes of the tensors of a model; patterns that match no matrix are an error. */
extern bool glm_quant_tensors_make(glm_quant_tensors *tensors, const glm_quant_options *options,
								   const glm_model *model, glm_error *err);
extern void glm_quant_tensors_free(glm_quant_tensors *tensors);

#endif /* GLM_QUANT_OPTIONS_H */
