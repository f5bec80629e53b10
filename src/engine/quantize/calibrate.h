/*
 * calibrate.h - texts on their way through a model, one layer at a time.
 *
 *     c = glm_calibration_open(model, texts)
 *     glm_calibration_start(c, model)
 *     glm_calibration_layer(c, model, 0 .. layers - 1, hessians)
 *     glm_calibration_end(c, model, hessian, &perplexity)
 *
 * What is kept is the residual stream of all tokens [tokens, hidden] and the
 * keys and values of one layer, so memory depends on the texts and on the width
 * of the model, not on its depth, and weights are needed a layer at a time.  The
 * same calibration can walk through another model of the same shape, from the
 * start.  It keeps readable what it is at, so it is closed before the model
 * that it walked through last.  One thread at a time.
 */
#ifndef GLM_CALIBRATE_H
#define GLM_CALIBRATE_H

#include "engine/quantize/quantize.h"
#include "engine/quantize/quant_options.h"

typedef struct glm_calibration glm_calibration;

/*
 * texts: a JSON array of strings.  One that is itself a JSON array is a chat and
 * goes through the template, its answers included; any other is plain text.  At
 * most max_tokens tokens are taken, and of no text more than the context.  memory:
 * bytes that all of a job may take, these texts, the Hessians and the matrix at work;
 * 0: what keeps a 6B model's below 2 GB.
 */
extern glm_calibration *glm_calibration_open(const glm_model *model, const char *texts,
											 int max_tokens, size_t memory, const char *kernels,
											 const glm_blas *blas, const glm_work *work,
											 glm_error *err);
extern void				glm_calibration_close(glm_calibration *c);
extern int				glm_calibration_tokens(const glm_calibration *c);

extern bool glm_calibration_start(glm_calibration *c, const glm_model *model, glm_error *err);

/*
 * Takes the stream through layer l.  hessian[i] [k, k] (see quantize.h) gets
 * X^T X of the inputs of projection i (GLM_QKV ... GLM_DOWN) added; NULL: not wanted.
 */
extern bool glm_calibration_layer(glm_calibration *c, const glm_model *model, int l,
								  float *const *hessian, glm_error *err);

/*
 * The head, after the last layer.  Perplexity is that of the tokens which a
 * model may be asked for: all of a plain text, of a chat the assistant's turns
 * and what ends them; NaN when there are none.
 */
extern bool glm_calibration_end(glm_calibration *c, const glm_model *model, float *hessian,
								double *perplexity, glm_error *err);

#endif /* GLM_CALIBRATE_H */
