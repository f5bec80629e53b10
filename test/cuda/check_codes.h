/*
 * check_codes.h - activations in 8 bits, as the CPU rounds them.
 */
#ifndef CHECK_CODES_H
#define CHECK_CODES_H

#include "check.h"
#include "engine/compute/kernels/packed_kernels.h"

/* a [m, cols] rounded in blocks of one row: the layout is then ours, but for the order of scales */
extern glm_int8_rows ck_rounded(const float *a, int m, int cols, int group);
/* Room for the same on the device. */
extern cuda_codes	 ck_codes(int m, int cols, int group);
/* Are they what the CPU makes of a [m, cols]? */
extern void ck_same_codes(const char *what, const cuda_codes *got, const float *a, int cols);

#endif /* CHECK_CODES_H */
