/*
 * gpu_fast.c - which products need not be exact, and how they are computed.
 *
 * Those with F16 and BF16 weights are faster by far in fast.cu.  With F32 weights they stay exact:
 * the tensor instructions would take 11 of their 24 bits, and no fewer bytes; who wants speed has a
 * model in 16 bits.  So do those with BF16 weights where compute capability is 7.5, which has no
 * products of them.
 */
#include "cuda/gpu_fast.h"

#include "cuda/resident.h"

#define FIRST_WITH_BF16 80 /* compute capability */
#define STEP 32			   /* columns, see fast_lane.h */

bool
cuda_is_fast(const cuda_gpu *dev, int dtype)
{
	return dev->info.arithmetic == GLM_FAST &&
		   (dtype == GLM_CUDA_F16 ||
			(dtype == GLM_CUDA_BF16 && dev->capability >= FIRST_WITH_BF16));
}

int
cuda_narrow_columns(int k)
{
	return (k + STEP - 1) / STEP * STEP;
}

void
cuda_multiply_fast(cuda_gpu *dev, const wide_args *a, int *narrowed)
{
	const cuda_launcher *l = &dev->stream.launcher;
	const cuda_scratch	*s = &dev->weights->scratch;
	uint16_t			*x = cuda_at(dev->weights, s->narrow);
	float				*scale = cuda_at(dev->weights, s->narrow_scale);
	int					 ld = cuda_narrow_columns(a->k);

	if (*narrowed != a->dtype)
		cuda_narrow(l,
					&(narrow_args){.to = x,
								   .scale = scale,
								   .a = a->a,
								   .lda = a->lda,
								   .cols = a->k,
								   .ld = ld,
								   .dtype = a->dtype},
					a->m);
	*narrowed = a->dtype;
	cuda_fast(l,
			  &(fast_args){.c = a->c,
						   .ldc = a->ldc,
						   .w = a->w,
						   .bias = a->bias,
						   .x = x,
						   .scale = scale,
						   .m = a->m,
						   .n = a->n,
						   .k = a->k,
						   .ld = ld,
						   .add = a->add},
			  a->dtype);
}
