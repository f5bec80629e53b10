/*
 * check_codes.c - activations in 8 bits, as the CPU rounds them.
 */
#include "check_codes.h"

#include <stdio.h>
#include <string.h>

glm_int8_rows
ck_rounded(const float *a, int m, int cols, int group)
{
	int			  groups = (int) glm_packed_groups((size_t) cols, (size_t) group);
	size_t		  n = (size_t) m * (size_t) groups;
	glm_int8_rows x = {.m = m, .block = 1, .cols = cols, .group = group, .groups = groups};

	x.code = ck_take(n * (size_t) group);
	x.scale = ck_take(n * 4);
	x.minus_sum = ck_take(n * 4);
	glm_packed_scalar.quantize(&x, a, (size_t) cols, 0, m);
	return x;
}

cuda_codes
ck_codes(int m, int cols, int group)
{
	int		   groups = (int) glm_packed_groups((size_t) cols, (size_t) group);
	int		   ld = (m + GLM_CUDA_ROWS - 1) / GLM_CUDA_ROWS * GLM_CUDA_ROWS;
	cuda_codes to = {.m = m, .group = group, .groups = groups, .ld = ld};

	to.code = ck_take((size_t) (ld * groups * group));
	to.scale = ck_take((size_t) (ld * groups) * 4);
	to.minus_sum = ck_take((size_t) (ld * groups) * 4);
	return to;
}

void
ck_same_codes(const char *what, const cuda_codes *got, const float *a, int cols)
{
	glm_int8_rows x = ck_rounded(a, got->m, cols, got->group);
	size_t		  n = (size_t) (got->ld * got->groups);
	float		 *scale = ck_take(n * 4);
	int32_t		 *minus_sum = ck_take(n * 4);
	char		  part[160];

	memset(scale, 0, n * 4);
	memset(minus_sum, 0, n * 4);
	for (int i = 0; i < got->m; i++)
		for (int g = 0; g < got->groups; g++)
		{
			scale[g * got->ld + i] = x.scale[i * got->groups + g];
			minus_sum[g * got->ld + i] = x.minus_sum[i * got->groups + g];
		}
	snprintf(part, sizeof(part), "%s: codes", what);
	ck_same(part, got->code, x.code, (size_t) (got->m * got->groups * got->group));
	snprintf(part, sizeof(part), "%s: scales of codes", what);
	ck_same_floats(part, got->scale, scale, n);
	snprintf(part, sizeof(part), "%s: sums of codes", what);
	ck_same(part, got->minus_sum, minus_sum, n * 4);
}
