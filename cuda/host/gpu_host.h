/*
 * gpu_host.h - what kernels are written with, for a C++ compiler: runs them on the host.
 *
 * Threads of a block are fibers of one OS thread; blocks run one after the other.  A fiber
 * runs until it meets a barrier or an operation of its warp, then the next one does.  Those
 * of a warp are a meeting: each lane leaves its operands, the last one computes for all.
 *
 * What a GPU leaves open is a choice here, so that code that relies on it gives other
 * results for other choices: the order in which fibers run (forward, reverse, random),
 * whether all are as far or a warp runs ahead as far as it may, and whether asynchronous
 * copies arrive at once or as late as they may.  Shared memory begins
 * as bytes that no float of a result has.  Threads that wait for what never comes end the
 * program, with the kernel's name.
 *
 * Not seen here: bank conflicts, uncoalesced reads, registers, and what nvcc makes of the
 * source.
 */
#ifndef GLM_CUDA_GPU_HOST_H
#define GLM_CUDA_GPU_HOST_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>

#define DEVICE static inline
#define DEVICE_MEMBER inline
#define __device__
#define __restrict__ __restrict
#define UNROLL
#define NO_UNROLL
#define DYNAMIC_SHARED(name) unsigned char *name = gpu::shared_memory()
#define KERNEL_OF_BLOCKS(name, args, threads, blocks) void name(const args &a)
#define KERNEL(name, args, threads) void name(const args &a)

struct dim3
{
	unsigned x, y, z;
};

struct alignas(8) uint2
{
	unsigned x, y;
};
struct alignas(16) uint4
{
	unsigned x, y, z, w;
};
struct alignas(8) int2
{
	int x, y;
};
struct alignas(8) float2
{
	float x, y;
};
struct alignas(16) float4
{
	float x, y, z, w;
};

namespace gpu
{
enum order_kind
{
	FORWARD,
	REVERSE,
	RANDOM
};

/* What is left open. */
struct choice
{
	order_kind order;
	unsigned   seed;	  /* of RANDOM */
	bool	   early;	  /* asynchronous copies arrive at once */
	bool	   ahead;	  /* a warp runs to its next barrier before another does */
	bool	   small;	  /* products are Turing's */
	bool	   dependent; /* each thread must await the kernel before */
};

extern choice chosen;

/* Called when a thread of the next kernel first awaits the one before; NULL: nothing is. */
extern void (*earlier)();

/* Runs a kernel: body(args) in every thread of every block. */
void launch(const char *name, dim3 grid, unsigned threads, size_t shared,
			void (*body)(const void *), const void *args);

/* ---- For the running thread ------------------------------------------------------ */

dim3		   block_index();
dim3		   grid_size();
unsigned	   thread_index();
unsigned	   block_size();
unsigned char *shared_memory();

enum
{
	MOST_OPERAND = 64
};

/*
 * The lanes of mask meet: each gives `in` of so many bytes, and the last one calls
 * all(in, out), which fills in 32 results from 32 operands, MOST_OPERAND bytes apart.
 */
void			  meet(unsigned mask, const void *in, size_t in_bytes, void *out, size_t out_bytes,
					   void (*all)(const void *context, const unsigned char *in, unsigned char *out),
					   const void *context);
void			  barrier();
void			  copy_async(void *to, const void *from, size_t bytes);
void			  copy_commit();
void			  copy_wait(int groups_left);
void			  await_previous();
/* Ends the program: the running thread does what no GPU would do. */
[[noreturn]] void fault(const char *what);

/* The same for types: all(in, out), 32 of each. */
template <class Out, class In, class F>
static inline Out
collective(unsigned mask, const In &in, const F &all)
{
	static_assert(sizeof(In) <= MOST_OPERAND && sizeof(Out) <= MOST_OPERAND, "operands");
	Out	 out;
	auto typed = [](const void *context, const unsigned char *from, unsigned char *to)
	{
		In	ins[32];
		Out outs[32];

		for (int i = 0; i < 32; i++)
			memcpy(&ins[i], from + i * MOST_OPERAND, sizeof(In));
		(*(const F *) context)(ins, outs);
		for (int i = 0; i < 32; i++)
			memcpy(to + i * MOST_OPERAND, &outs[i], sizeof(Out));
	};

	meet(mask, &in, sizeof(in), &out, sizeof(out), typed, &all);
	return out;
}
} /* namespace gpu */

/* threadIdx.x and its like */
struct gpu_thread_index
{
	struct
	{
		operator unsigned() const
		{
			return gpu::thread_index();
		}
	} x;
};
struct gpu_block_size
{
	struct
	{
		operator unsigned() const
		{
			return gpu::block_size();
		}
	} x;
};
static const gpu_thread_index threadIdx;
static const gpu_block_size	  blockDim;
#define blockIdx (gpu::block_index())
#define gridDim (gpu::grid_size())

static inline void
__syncthreads()
{
	gpu::barrier();
}

static inline void
__syncwarp(unsigned mask = 0xffffffffu)
{
	gpu::collective<char>(mask, (char) 0, [](const char *, char *) {});
}

template <class T>
static inline T
__shfl_xor_sync(unsigned mask, T v, int by)
{
	return gpu::collective<T>(mask, v,
							  [by](const T *in, T *out)
							  {
								  for (int i = 0; i < 32; i++)
									  out[i] = in[i ^ by];
							  });
}

template <class T>
static inline T
__shfl_down_sync(unsigned mask, T v, int by, int width = 32)
{
	return gpu::collective<T>(mask, v,
							  [by, width](const T *in, T *out)
							  {
								  for (int i = 0; i < 32; i++)
									  out[i] = i % width + by < width ? in[i + by] : in[i];
							  });
}

template <class T> struct gpu_asked
{
	T	v;
	int from; /* each lane's own */
};

template <class T>
static inline T
__shfl_sync(unsigned mask, T v, int from)
{
	return gpu::collective<T>(mask, gpu_asked<T>{v, from},
							  [](const gpu_asked<T> *in, T *out)
							  {
								  for (int i = 0; i < 32; i++)
									  out[i] = in[in[i].from % 32].v;
							  });
}

/* Only one fiber runs at a time. */
static inline int
atomicAdd(int *p, int by)
{
	int before = *p;

	*p += by;
	return before;
}

static inline unsigned
atomicOr(unsigned *p, unsigned bits)
{
	unsigned before = *p;

	*p |= bits;
	return before;
}

/* ---- Arithmetic; built with -ffp-contract=off -------------------------------------- */

static inline float
__fmaf_rn(float a, float b, float c)
{
	return __builtin_fmaf(a, b, c);
}
static inline float
__fsqrt_rn(float a)
{
	return __builtin_sqrtf(a);
}

#define GPU_ROUNDED(letter, type, name, sign)                                                      \
	static inline type __##letter##name##_rn(type a, type b)                                       \
	{                                                                                              \
		return a sign b;                                                                           \
	}
#define GPU_ROUNDED_ALL(letter, type)                                                              \
	GPU_ROUNDED(letter, type, add, +)                                                              \
	GPU_ROUNDED(letter, type, sub, -)                                                              \
	GPU_ROUNDED(letter, type, mul, *)                                                              \
	GPU_ROUNDED(letter, type, div, /)
GPU_ROUNDED_ALL(f, float)
GPU_ROUNDED_ALL(d, double)
#undef GPU_ROUNDED_ALL
#undef GPU_ROUNDED

static inline float
__double2float_rn(double a)
{
	return (float) a;
}
static inline unsigned
__umulhi(unsigned a, unsigned b)
{
	return (unsigned) ((uint64_t) a * b >> 32);
}

template <class To, class From>
static inline To
gpu_same_bits(From from)
{
	static_assert(sizeof(To) == sizeof(From), "bits");
	To to;

	memcpy(&to, &from, sizeof(to));
	return to;
}
static inline unsigned
__float_as_uint(float x)
{
	return gpu_same_bits<unsigned>(x);
}
static inline float
__uint_as_float(unsigned u)
{
	return gpu_same_bits<float>(u);
}
static inline long long
__double_as_longlong(double x)
{
	return gpu_same_bits<long long>(x);
}
static inline double
__longlong_as_double(long long u)
{
	return gpu_same_bits<double>(u);
}

extern "C"
{
#include "engine/base/half.h"
}

static inline float
f16_to_f32(uint16_t h)
{
	return glm_f16_to_f32(h);
}
static inline uint16_t
f32_to_f16(float x)
{
	return glm_f32_to_f16(x);
}

/* ---- What is PTX in gpu_device.h ----------------------------------------------------- */

struct gpu_fragments
{
	int		 c[4];
	unsigned a[4], b[2];
};
struct gpu_sums
{
	int c[4];
};

/* The fragments of 32 lanes are two matrices; their product goes back to the lanes. */
static inline void
gpu_multiply(const gpu_fragments *in, gpu_sums *out)
{
	uint8_t a[16][32];
	int8_t	b[8][32];

	for (int lane = 0; lane < 32; lane++)
	{
		int row = lane / 4, at = lane % 4 * 4;

		for (int i = 0; i < 4; i++)
			memcpy(&a[row + i % 2 * 8][i / 2 * 16 + at], &in[lane].a[i], 4);
		for (int i = 0; i < 2; i++)
			memcpy(&b[row][i * 16 + at], &in[lane].b[i], 4);
	}
	for (int lane = 0; lane < 32; lane++)
		for (int i = 0; i < 4; i++)
		{
			const uint8_t *row = a[lane / 4 + i / 2 * 8];
			const int8_t  *column = b[lane % 4 * 2 + i % 2];
			int			   sum = 0;

			for (int k = 0; k < 32; k++)
				sum += row[k] * column[k];
			/* sums wrap */
			out[lane].c[i] = (int) ((unsigned) in[lane].c[i] + (unsigned) sum);
		}
}

static inline void
mma_u8s8(int c[4], const unsigned a[4], const unsigned b[2])
{
	gpu_fragments in;
	gpu_sums	  out;

	memcpy(in.c, c, sizeof(in.c));
	memcpy(in.a, a, sizeof(in.a));
	memcpy(in.b, b, sizeof(in.b));
	out = gpu::collective<gpu_sums>(0xffffffffu, in,
									[](const gpu_fragments *lanes, gpu_sums *sums)
									{ gpu_multiply(lanes, sums); });
	memcpy(c, out.c, sizeof(out.c));
}

/* The corner of the same product that is 8 rows of a, and 16 columns. */
static inline void
mma_u8s8_small(int c[2], unsigned a, unsigned b)
{
	int		 whole[4] = {c[0], c[1], 0, 0};
	unsigned rows[4] = {a, 0, 0, 0}, columns[2] = {b, 0};

	mma_u8s8(whole, rows, columns);
	memcpy(c, whole, 2 * sizeof(*c));
}

static inline bool
mma_is_small()
{
	return gpu::chosen.small;
}

static inline int
dot4_u8s8(unsigned a, int b, int sum)
{
	for (int j = 0; j < 4; j++)
		sum += (int) (uint8_t) (a >> 8 * j) * (int8_t) (uint8_t) ((unsigned) b >> 8 * j);
	return sum;
}

static inline void
copy_async16(void *to, const void *from)
{
	gpu::copy_async(to, from, 16);
}

static inline void
copy_async_commit()
{
	gpu::copy_commit();
}

template <int N>
static inline void
copy_async_wait()
{
	gpu::copy_wait(N);
}

/* It must be there. */
static inline void
prefetch128(const void *p)
{
	(void) *(const volatile char *) p;
}

static inline void
await_previous()
{
	gpu::await_previous();
}

#include "cuda/host/host_halves.h"
#include "cuda/host/host_wgmma.h"

#endif /* GLM_CUDA_GPU_HOST_H */
