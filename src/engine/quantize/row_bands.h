/*
 * row_bands.h - a matrix of a model quantized and written, a band of rows at a time.
 */
#ifndef GLM_ROW_BANDS_H
#define GLM_ROW_BANDS_H

#include "engine/quantize/pack.h"
#include "engine/quantize/quantize.h"
#include "engine/quantize/quant_options.h"

/*
 * Quantizes a matrix, whose bytes are held, as its options say and
 * puts it into the pack.  hessian [cols, cols] of its inputs loses what is
 * below the diagonal, which nobody reads; NULL: not known.  Adds to the losses, to *outputs only with a
 * Hessian.  blas may be NULL without one.
 */
extern bool glm_row_bands_convert(glm_pack *pack, const glm_quant_tensor *tensor, float *hessian,
								  const glm_blas *blas, const glm_work *work, glm_loss *weights,
								  glm_loss *outputs, glm_error *err);

/* Memory that this takes at most, in bytes, beside the Hessian and some rows a thread. */
extern size_t glm_row_bands_bytes(size_t rows, size_t cols);

#endif /* GLM_ROW_BANDS_H */
