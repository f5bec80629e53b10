/*
 * image.c - the kernels as nvcc made them, in the library's memory of constants.
 */
#include "cuda/gpu_backend.h"

__asm__(".section .rodata\n"
		".balign 64\n"
		".globl glm_cuda_image\n"
		".hidden glm_cuda_image\n"
		"glm_cuda_image:\n"
		".incbin \"" GLM_CUDA_FATBIN "\"\n"
		".balign 64\n"
		".previous\n");
