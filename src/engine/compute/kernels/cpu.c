/*
 * cpu.c - which kernel tables this CPU can run.
 *
 * A table counts only if the CPU has its instructions and the operating system
 * saves their registers (xgetbv).  The answer does not change while we run, so
 * nothing is cached and nothing is locked.
 */
#include "engine/compute/kernels/kernels.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* Every name a caller may ask for, the best table first; see available(). */
static const char *const names[] = {"avx512", "avx2", "neon", "scalar"};

#if defined(__x86_64__)

/* XCR0: state that the operating system saves */
#define XCR0_AVX 0x06u	  /* xmm, ymm */
#define XCR0_AVX512 0xe6u /* and the mask registers, zmm, zmm16-31 */

#define LEAF7_AVX2 (1u << 5)
#define LEAF7_AVX512 (1u << 16 | 1u << 17 | 1u << 30 | 1u << 31) /* F, DQ, BW, VL */

static bool
has_avx2_fma_f16c(void)
{
	const unsigned need = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
	unsigned	   a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & need) == need &&
		   __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & LEAF7_AVX2) != 0;
}

static bool
has_avx512(void)
{
	unsigned a, b, c, d;

	return has_avx2_fma_f16c() && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
		   (b & LEAF7_AVX512) == LEAF7_AVX512;
}

static bool
system_saves(unsigned state)
{
	unsigned low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & state) == state;
}

static const glm_kernels *
available(const char *name)
{
	if (strcmp(name, "avx512") == 0)
		return has_avx512() && system_saves(XCR0_AVX512) ? &glm_kernels_avx512 : NULL;
	if (strcmp(name, "avx2") == 0)
		return has_avx2_fma_f16c() && system_saves(XCR0_AVX) ? &glm_kernels_avx2 : NULL;
	return strcmp(name, "scalar") == 0 ? &glm_kernels_scalar : NULL;
}

#elif defined(__aarch64__)

/* NEON is part of AArch64. */
static const glm_kernels *
available(const char *name)
{
	if (strcmp(name, "neon") == 0)
		return &glm_kernels_neon;
	return strcmp(name, "scalar") == 0 ? &glm_kernels_scalar : NULL;
}

#else

static const glm_kernels *
available(const char *name)
{
	return strcmp(name, "scalar") == 0 ? &glm_kernels_scalar : NULL;
}

#endif

bool
glm_kernels_there(const char *name, glm_error *err)
{
	return glm_kernels_find(name, err) != NULL;
}

const glm_kernels *
glm_kernels_find(const char *name, glm_error *err)
{
	bool best = strcmp(name, "auto") == 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		const glm_kernels *found;

		if (!best && strcmp(name, names[i]) != 0)
			continue;
		found = available(names[i]);
		if (found != NULL)
			return found;
		if (!best)
		{
			glm_fail(err, GLM_UNSUPPORTED, "this CPU cannot run the \"%s\" kernels", name);
			return NULL;
		}
	}
	glm_fail(err, GLM_BAD_ARGUMENT,
			 "unknown kernels \"%s\": choose auto, scalar, avx2, avx512 or neon", name);
	return NULL;
}
