/*
 * matrix.h - random matrices for the tests of the quantizer.
 */
#ifndef MATRIX_H
#define MATRIX_H

#include "engine/quantize/quantize.h"

extern uint64_t mx_seed;
extern uint32_t mx_bits(void);
/* Normally distributed, mean 0, deviation 1. */
extern double	mx_normal(void);

/* malloc'd: rows * cols weights as layers have them, deviation 0.02. */
extern float *mx_weights(int rows, int cols);

/*
 * malloc'd: n inputs [n, cols] that are correlated as a layer's are: a few
 * directions make up most of them, and columns differ in size.
 */
extern float *mx_inputs(int n, int cols);

/* Quantizes; fails the test when that does not work. */
extern void mx_quantize(glm_quant_matrix *q, glm_dtype dtype, glm_rounding how, const float *w,
						int rows, int cols, int group);

/* The tensor that q is written as; data is malloc'd, one byte off any alignment. */
extern glm_tensor mx_pack(const glm_quant_matrix *q);
extern void		  mx_unpack(glm_tensor *t);

/* One row of a matrix of any dtype as numbers: y [columns]. */
extern void	  mx_row(float *y, const glm_tensor *t, int row);
/* All rows of it; malloc'd. */
extern float *mx_widen(const glm_tensor *t);

/* Do both hold the same codes, scales and zero points? */
extern bool mx_same(const glm_quant_matrix *a, const glm_quant_matrix *b);

#endif /* MATRIX_H */
