/*
 * driver_types.h - structs of NVIDIA's driver API, declared by hand; test/cuda/code.sh compares them
 * with the driver's own where those are.
 */
#ifndef GLM_CUDA_DRIVER_TYPES_H
#define GLM_CUDA_DRIVER_TYPES_H

#include <stdint.h>

/* How a kernel is launched, and what may be so about it (CUlaunchConfig, CUlaunchAttribute). */
typedef struct cuda_launch_attribute
{
	int32_t what;
	int32_t unused;
	int32_t value[16];
} cuda_launch_attribute;

typedef struct cuda_launch_config
{
	unsigned			   x, y, z, threads_x, threads_y, threads_z, shared;
	void				  *stream;
	cuda_launch_attribute *attribute;
	unsigned			   n_attributes;
} cuda_launch_config;

#define CUDA_MAY_BEGIN_EARLY 6 /* an attribute: before the launches before it have ended */
#define CUDA_PTX_VERSION 5	   /* of a function: what it was compiled for */

#endif /* GLM_CUDA_DRIVER_TYPES_H */
