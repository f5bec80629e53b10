/*
 * gpu_device.h - what kernels are written with, for nvcc: all PTX there is.
 */
#ifndef GLM_CUDA_GPU_DEVICE_H
#define GLM_CUDA_GPU_DEVICE_H

#include <stdint.h>
#include <cuda_fp16.h>

#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define NO_UNROLL _Pragma("unroll 1")
#define DYNAMIC_SHARED(name) unsigned char *name = gpu_shared
/* blocks: that a multiprocessor must have room for */
#define KERNEL_OF_BLOCKS(name, args, threads, blocks)                                              \
	extern "C" __global__ void __launch_bounds__(threads, blocks)                                  \
		name(const __grid_constant__ args a)
#define KERNEL(name, args, threads) KERNEL_OF_BLOCKS(name, args, threads, 1)

extern __shared__ __align__(128) unsigned char gpu_shared[];

DEVICE float
f16_to_f32(uint16_t h)
{
	return __half2float(__ushort_as_half(h));
}

DEVICE uint16_t
f32_to_f16(float x)
{
	return __half_as_ushort(__float2half_rn(x));
}

/*
 * c += a b^T, of integers: a [16, 32] unsigned, b [8, 32] signed.  With g = lane / 4,
 * t = lane % 4: a[i] is row g + 8 (i % 2), columns 16 (i / 2) + 4 t to + 3; b[i] row g, the
 * same columns; c[i] row g + 8 (i / 2), column 2 t + i % 2.
 */
DEVICE void
mma_u8s8(int c[4], const unsigned a[4], const unsigned b[2])
{
#if __CUDA_ARCH__ >= 800
	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
				 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
				 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
				 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* The same of a [8, 16] and b [8, 16]: a and b are row g, columns 4 t to + 3; c as above. */
DEVICE void
mma_u8s8_small(int c[2], unsigned a, unsigned b)
{
	asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0,%1},{%2},{%3},{%0,%1};"
				 : "+r"(c[0]), "+r"(c[1])
				 : "r"(a), "r"(b));
}

/*
 * c += a b^T, of F16: a [16, 16], b [8, 16].  a[i] is row g + 8 (i % 2), columns 8 (i / 2) + 2 t and
 * + 1; b[i] row g, the same columns; c as above.
 */
DEVICE void
mma_f16(float c[4], const unsigned a[4], const unsigned b[2])
{
#if __CUDA_ARCH__ >= 800
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
				 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
				 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
				 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* The same of a [16, 8] and b [8, 8]: the first two words of a, and the first of b. */
DEVICE void
mma_f16_small(float c[4], const unsigned a[2], unsigned b)
{
	asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
				 "{%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
				 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
				 : "r"(a[0]), "r"(a[1]), "r"(b));
}

/* As mma_f16(), of BF16. */
DEVICE void
mma_bf16(float c[4], const unsigned a[4], const unsigned b[2])
{
#if __CUDA_ARCH__ >= 800
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
				 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
				 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
				 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/* Turing has the small ones alone. */
DEVICE bool
mma_is_small()
{
#if __CUDA_ARCH__ >= 800
	return false;
#else
	return true;
#endif
}

/* sum + the four products of an unsigned and a signed byte */
DEVICE int
dot4_u8s8(unsigned a, int b, int sum)
{
	int d;

	asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(sum));
	return d;
}

/* Copies 16 bytes to shared memory, some time before the wait for its group ends. */
DEVICE void
copy_async16(void *to, const void *from)
{
#if __CUDA_ARCH__ >= 800
	asm volatile(
		"cp.async.cg.shared.global [%0],[%1],16;" ::"r"((unsigned) __cvta_generic_to_shared(to)),
		"l"(from)
		: "memory");
#else
	*(uint4 *) to = *(const uint4 *) from;
#endif
}

DEVICE void
copy_async_commit()
{
#if __CUDA_ARCH__ >= 800
	asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* All groups but the last N have arrived: this thread's own. */
template <int N>
DEVICE void
copy_async_wait()
{
#if __CUDA_ARCH__ >= 800
	asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

/* Brings the 128 bytes around p from memory into the second-level cache, some time. */
DEVICE void
prefetch128(const void *p)
{
	asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

/*
 * The kernels launched before have ended, with all that they wrote; the next one may begin,
 * and does what it can before it is here.  That is so in any case but for dependent launches
 * (gpu_stream.h), which are for devices from 9.0 on.
 */
DEVICE void
await_previous()
{
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
	asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* ---- wgmma: of compute capability 9.0, in code for sm_90a alone ------------------------- */

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define HAS_WGMMA

#define WGMMA_THREADS 128 /* four warps: all of them do all of it */
#define WGMMA_UNIT 16	  /* bytes: what a matrix in shared memory is described in */

/* Operands that a statement has to leave where they are, and what they are. */
#define WGMMA_SUMS(c) WGMMA_EIGHT(c, 0), WGMMA_EIGHT(c, 8), WGMMA_EIGHT(c, 16), WGMMA_EIGHT(c, 24)
#define WGMMA_EIGHT(c, i) WGMMA_FOUR(c, i), WGMMA_FOUR(c, i + 4)
#define WGMMA_FOUR(c, i) "+r"(c[i]), "+r"(c[i + 1]), "+r"(c[i + 2]), "+r"(c[i + 3])

/* As descriptions of matrices have it. */
DEVICE unsigned
shared_address(const void *at)
{
	return (unsigned) __cvta_generic_to_shared(at);
}

/* Stores what wgmma_u8s8() is to read in shared memory. */
DEVICE void
wgmma_put(void *to, unsigned word)
{
	*(unsigned *) to = word;
}

/* What this thread has stored so is there for all who pass a barrier with it. */
DEVICE void
wgmma_show()
{
	asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* The registers are as they are to be read: before wgmma_u8s8(), if they were written since. */
template <int STEPS>
DEVICE void
wgmma_fence(int c[32], unsigned a[STEPS][4])
{
	UNROLL
	for (int i = 0; i < STEPS; i++)
		asm volatile("" : WGMMA_FOUR(a[i], 0)::"memory");
	asm volatile("wgmma.fence.sync.aligned;" : WGMMA_SUMS(c)::"memory");
}

/*
 * c += a b^T, some time before the wait: of each warp a [16, 32] in registers as mma_u8s8() has
 * it, b [64, 32] described as wgmma_matrix() does (packed_wgmma.cu); c[4 n ...] as there, of b's rows from 8 n on.
 */
DEVICE void
wgmma_u8s8(int c[32], const unsigned a[4], uint64_t b)
{
	asm volatile("{.reg .pred add; setp.eq.u32 add, 0, 0;\n"
				 "wgmma.mma_async.sync.aligned.m64n64k32.s32.u8.s8 "
				 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
				 "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31},"
				 "{%32,%33,%34,%35},%36,add;}"
				 : WGMMA_SUMS(c)
				 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

DEVICE void
wgmma_commit()
{
	asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* All commits but the last N are done; the oldest is of these registers. */
template <int N, int STEPS>
DEVICE void
wgmma_wait(int c[32], unsigned a[STEPS][4])
{
	asm volatile("wgmma.wait_group.sync.aligned %32;" : WGMMA_SUMS(c) : "n"(N) : "memory");
	UNROLL
	for (int i = 0; i < STEPS; i++)
		asm volatile("" : WGMMA_FOUR(a[i], 0)::"memory");
}
#endif

#endif /* GLM_CUDA_GPU_DEVICE_H */
