/*
 * packed_cpu.c - which table of packed products this CPU can run.
 *
 * The kernel table was checked before (cpu.c), so the registers it needs exist
 * and are saved; what is left to ask for is the dot product instructions.
 */
#include "engine/compute/kernels/packed_kernels.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

#define LEAF7_AVX512_VNNI (1u << 11) /* in ecx */
#define LEAF7_1_AVX_VNNI (1u << 4)	 /* in eax */

static bool
has_avx512_vnni(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & LEAF7_AVX512_VNNI) != 0;
}

static bool
has_avx_vnni(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && a >= 1 &&
		   __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & LEAF7_1_AVX_VNNI) != 0;
}

const glm_packed_kernels *
glm_packed_find(const char *name)
{
	bool wide = strcmp(name, "avx512") == 0;

	if (wide && has_avx512_vnni())
		return &glm_packed_avx512vnni;
	if (wide || strcmp(name, "avx2") == 0)
		return has_avx_vnni() ? &glm_packed_avxvnni : &glm_packed_avx2;
	return &glm_packed_scalar;
}

#elif defined(__aarch64__)
#include <sys/auxv.h>

#define DOT_PRODUCT (1ul << 20) /* HWCAP_ASIMDDP */

const glm_packed_kernels *
glm_packed_find(const char *name)
{
	if (strcmp(name, "neon") == 0 && (getauxval(AT_HWCAP) & DOT_PRODUCT) != 0)
		return &glm_packed_neon;
	return &glm_packed_scalar;
}

#else

const glm_packed_kernels *
glm_packed_find(const char *name)
{
	(void) name;
	return &glm_packed_scalar;
}

#endif
