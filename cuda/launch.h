/*
 * launch.h - kernels launched: how many threads and blocks, and which one, by what is to be
 * computed.  What a launch does is the launcher's: a stream of a GPU, or the host.
 */
#ifndef GLM_CUDA_LAUNCH_H
#define GLM_CUDA_LAUNCH_H

#include <stddef.h>

#include "cuda/gpu_kernels.h"

typedef struct cuda_grid
{
	unsigned x, y, z;
} cuda_grid;

typedef struct cuda_launcher
{
	void (*launch)(void *arg, cuda_kernel kernel, cuda_grid grid, unsigned threads, unsigned shared,
				   const void *args, size_t bytes);
	void *arg;
} cuda_launcher;

/* The name of a kernel, as it is in the image. */
extern const char *const cuda_kernel_names[GLM_CUDA_N_KERNELS];

extern void		   cuda_weave(const cuda_launcher *l, const weave_args *a);
/* Where activations are left in 8 bits, `rows` counts those that fill up too. */
extern void		   cuda_embed(const cuda_launcher *l, const embed_args *a, int rows);
extern void		   cuda_rmsnorm(const cuda_launcher *l, const rmsnorm_args *a, int rows);
extern void		   cuda_gather(const cuda_launcher *l, const gather_args *a, int n);
extern void		   cuda_swiglu(const cuda_launcher *l, const swiglu_args *a, int rows);
extern void		   cuda_quantize(const cuda_launcher *l, const quantize_args *a);
/* dtype: GLM_CUDA_Q4 or _Q8; group: 32, 64 or 128 columns */
extern void		   cuda_packed(const cuda_launcher *l, const packed_args *a, int dtype, int group);
/* The same by the kind of kernel whose first is that one; few_*: at most GLM_CUDA_FEW rows. */
extern void		   cuda_packed_by(const cuda_launcher *l, cuda_kernel first, const packed_args *a,
								  int dtype, int group);
/* Which kind that is for a product, and which of its six kernels. */
extern cuda_kernel cuda_packed_kind(const packed_args *a);
extern cuda_kernel cuda_packed_kernel(cuda_kernel first, int dtype, int group);
extern void		   cuda_wide(const cuda_launcher *l, const wide_args *a);
extern void		   cuda_narrow(const cuda_launcher *l, const narrow_args *a, int rows);
/* dtype: GLM_CUDA_F16 or _BF16 */
extern void		   cuda_fast(const cuda_launcher *l, const fast_args *a, int dtype);
/* The same by the kind of kernel whose first is that one, for any number of rows; and which it is. */
extern void cuda_fast_by(const cuda_launcher *l, cuda_kernel first, const fast_args *a, int dtype);
extern cuda_kernel cuda_fast_kind(const fast_args *a);
extern void		   cuda_rope_store(const cuda_launcher *l, const rope_store_args *a, int rows);
extern void		   cuda_attend(const cuda_launcher *l, const attend_args *a, int rows);
/* The same by one of the three that do it; but for attend_few, heads are of an even size. */
extern void		   cuda_attend_by(const cuda_launcher *l, cuda_kernel kernel, const attend_args *a,
								  int rows);
extern void		   cuda_join(const cuda_launcher *l, const join_args *a, int rows);
extern void		   cuda_pick_rows(const cuda_launcher *l, const pick_args *a, int rows);

#endif /* GLM_CUDA_LAUNCH_H */
