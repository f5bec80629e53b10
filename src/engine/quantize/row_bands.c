/*
 * row_bands.c - a matrix of a model quantized and written, a band of rows at a time.
 *
 * Rows are quantized one by one, whatever the method: with gptq, too, once the
 * Hessian of the inputs they share has been factored.  So a matrix is taken in
 * bands of BAND bytes of fp32, each widened, quantized, judged and written
 * before the next, and what memory is needed does not depend on how many rows
 * there are: the 65,024 of a 6B model's head would be 2 GB.
 *
 * One thread calls this; the work's pool computes.
 */
#include "engine/quantize/row_bands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BAND ((size_t) 128 << 20)

typedef struct bands
{
	glm_pack			   *pack;
	const glm_quant_tensor *tensor;
	const float			   *hessian;  /* [cols, cols]; factored when the method is gptq */
	float				   *diagonal; /* [cols], of the factor; gptq only */
	const glm_blas		   *blas;
	const glm_work		   *work;
	glm_loss			   *weights;
	glm_loss			   *outputs;

	/* the one at hand */
	size_t first; /* row of the matrix */
	int	   rows;
	float *w; /* [rows, cols] */
} bands;

/* ---- Widening ---------------------------------------------------------------- */

static bool
widen_piece(void *arg, int index)
{
	const bands		 *b = arg;
	const glm_tensor *source = &b->tensor->source;
	size_t			  cols = (size_t) source->shape[1];
	int				  begin = index * GLM_QUANT_ROWS;
	int				  rows = glm_quant_piece_end(b->rows, index) - begin;
	size_t			  size = (size_t) glm_dtypes[source->dtype].size;

	glm_widen(b->w + (size_t) begin * cols,
			  (const uint8_t *) source->data + (b->first + (size_t) begin) * cols * size,
			  source->dtype, (size_t) rows * cols);
	return true;
}

/* ---- One band ------------------------------------------------------------------ */

static bool
quantize_band(const bands *b, glm_quant_matrix *q, glm_error *err)
{
	switch (b->tensor->method)
	{
		case GLM_SYM:
			return glm_quant_round(q, GLM_ROUND_PLAIN, b->w, b->work, err);
		case GLM_RTN:
			return glm_quant_round(q, GLM_ROUND_RTN, b->w, b->work, err);
		case GLM_GPTQ:
			return glm_quant_gptq(q, b->w, b->hessian, b->diagonal, b->blas, b->work, err);
		default:
			return glm_quant_round(q, GLM_ROUND_HQQ, b->w, b->work, err);
	}
}

static bool
put_tiles(const bands *b, const glm_quant_matrix *q, glm_error *err)
{
	size_t bytes =
		glm_packed_bytes(q->dtype, (size_t) q->rows, (size_t) q->cols, (size_t) q->group);
	uint8_t *tiles = aligned_alloc(64, bytes);
	bool	 ok;

	if (tiles == NULL)
		return glm_no_memory(err);
	ok = glm_quant_write(tiles, q, b->work, err) && glm_pack_put(b->pack, tiles, bytes, err);
	free(tiles);
	return ok;
}

static bool
convert_band(bands *b, glm_error *err)
{
	const glm_tensor *form = &b->tensor->form;
	glm_quant_matrix  q = {0};
	bool			  ok;

	ok = glm_work_run(b->work, widen_piece, b, glm_quant_pieces(b->rows), err) &&
		 glm_quant_open(&q, form->dtype, b->rows, (int) form->shape[1], form->group, err) &&
		 quantize_band(b, &q, err) && glm_quant_weight_loss(b->weights, &q, b->w, b->work, err) &&
		 (b->hessian == NULL ||
		  glm_quant_output_loss(b->outputs, &q, b->w, b->hessian, b->blas, b->work, err)) &&
		 put_tiles(b, &q, err);
	glm_quant_close(&q);
	return ok;
}

/* ---- All of them ----------------------------------------------------------------- */

/* Says whose weights or inputs an error is about; what computes does not know. */
static bool
name_tensor(const bands *b, glm_error *err)
{
	glm_error why = *err;

	if (why.status != GLM_NOT_FINITE && why.status != GLM_UNSUPPORTED)
		return false;
	return glm_fail(err, why.status, "tensor \"%s\", from row %zu on: %.200s", b->tensor->name,
					b->first, why.message);
}

/* Rows of a band: whole pieces, and at least one. */
static size_t
band_rows(size_t rows, size_t cols)
{
	size_t most = BAND / sizeof(float) / cols / GLM_QUANT_ROWS * GLM_QUANT_ROWS;

	if (most < GLM_QUANT_ROWS)
		most = GLM_QUANT_ROWS;
	return most < rows ? most : rows;
}

/* A weight: 4 bytes wide, and in INT8 at group 32 twice what it is packed. */
size_t
glm_row_bands_bytes(size_t rows, size_t cols)
{
	return band_rows(rows, cols) * cols * 13 / 2;
}

bool
glm_row_bands_convert(glm_pack *pack, const glm_quant_tensor *tensor, float *hessian,
					  const glm_blas *blas, const glm_work *work, glm_loss *weights,
					  glm_loss *outputs, glm_error *err)
{
	size_t rows = (size_t) tensor->source.shape[0];
	size_t cols = (size_t) tensor->source.shape[1];
	size_t most = band_rows(rows, cols);
	bands  b = {.pack = pack,
				.tensor = tensor,
				.hessian = hessian,
				.blas = blas,
				.work = work,
				.weights = weights,
				.outputs = outputs,
				.w = malloc(most * cols * sizeof(float)),
				.diagonal = malloc(cols * sizeof(float))};
	float  lambda;
	bool   ok = (b.w != NULL && b.diagonal != NULL) || glm_no_memory(err);

	if (ok && tensor->method == GLM_GPTQ)
		ok = glm_hessian_factor(hessian, (int) cols, b.diagonal, &lambda, blas, work, err) ||
			 name_tensor(&b, err);
	for (; ok && b.first < rows; b.first += most)
	{
		b.rows = (int) (rows - b.first < most ? rows - b.first : most);
		ok = convert_band(&b, err) || name_tensor(&b, err);
	}
	free(b.w);
	free(b.diagonal);
	return ok;
}
