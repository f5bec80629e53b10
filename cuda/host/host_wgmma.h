/*
 * host_wgmma.h - wgmma for a C++ compiler, as the PTX ISA has it (9.7.15, "Asynchronous
 * Warpgroup Level Matrix Multiply-Accumulate Instructions"): part of gpu_host.h.
 *
 * A product is computed when it is asked for, or as late as it may be, when a wait ends; until
 * then its sums are something else.  It ends the program that
 *   - registers are read that were written behind the last fence, or written before the wait,
 *   - a description names what is no shared memory, or a swizzle,
 *   - the four warps do not all ask for the same products,
 *   - a product is not waited for.
 * What wgmma_u8s8() reads of shared memory is what wgmma_put() has stored and wgmma_show()
 * has shown: the ISA's two proxies.
 */
#ifndef GLM_CUDA_HOST_WGMMA_H
#define GLM_CUDA_HOST_WGMMA_H

#define HAS_WGMMA

namespace gpu
{
enum
{
	WGMMA_SUMS = 32 /* that a lane has of a product: of 64 rows of b */
};

void put_shown(void *to, unsigned word);
void show();
void wgmma_fence(const int *c, const unsigned *a, int words);
void wgmma(int *c, const unsigned *a, uint64_t b);
void wgmma_commit();
void wgmma_wait(int commits_left, const int *c);

/* A block begins, with so much shared memory, and one of its threads, or all, end. */
void		wgmma_begin_block(size_t shared);
const char *wgmma_end_thread(); /* NULL: fine */
const char *wgmma_end_block();
} /* namespace gpu */

enum
{
	WGMMA_THREADS = 128,
	WGMMA_UNIT = 16
};

static inline unsigned
shared_address(const void *at)
{
	return (unsigned) ((const unsigned char *) at - gpu::shared_memory());
}

static inline void
wgmma_put(void *to, unsigned word)
{
	gpu::put_shown(to, word);
}

static inline void
wgmma_show()
{
	gpu::show();
}

template <int STEPS>
static inline void
wgmma_fence(int c[32], unsigned a[STEPS][4])
{
	gpu::wgmma_fence(c, a[0], STEPS * 4);
}

static inline void
wgmma_u8s8(int c[32], const unsigned a[4], uint64_t b)
{
	gpu::wgmma(c, a, b);
}

static inline void
wgmma_commit()
{
	gpu::wgmma_commit();
}

template <int N, int STEPS>
static inline void
wgmma_wait(int c[32], unsigned (*)[4])
{
	gpu::wgmma_wait(N, c);
}

#endif /* GLM_CUDA_HOST_WGMMA_H */
