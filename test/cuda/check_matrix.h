/*
 * check_matrix.h - random matrices of every type.
 */
#ifndef CHECK_MATRIX_H
#define CHECK_MATRIX_H

#include "engine/weights/packed.h"

/* Packed ones have groups of 32, 64 or 128.  Memory is ck_take()'s. */
extern glm_tensor ck_matrix(glm_dtype dtype, int rows, int cols);
/* Row `row` as fp32. */
extern void		  ck_row(float *y, const glm_tensor *t, int row);

#endif /* CHECK_MATRIX_H */
