/*
 * check.h - the kernels against the CPU's scalar tables, bit by bit: what the checks share.
 *
 * Shapes are random, the same in every run.  A result that was not written is not equal: it
 * begins as bytes that no result has.  Each check is done in every order there is
 * (emulated_choose()), so what it needs of an earlier kernel it runs itself.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cuda/launch.h"

/* ---- Where kernels run: on_host.c or on_gpu.c ------------------------------------- */

/* Runs a kernel at once. */
extern const cuda_launcher ck_launcher;
/* false: there is no such device, and why is printed. */
extern bool				   ck_open(void);
/* Of emulated_choose(); false: here it is no choice. */
extern bool				   ck_choose(const char *order);
/* Has the device such a kernel? */
extern bool				   ck_has(cuda_kernel kernel);
/* Memory that host and kernels share. */
extern void				  *ck_memory(size_t bytes);
extern void				   ck_memory_free(void *memory);

/* ---- Random shapes and numbers --------------------------------------------------- */

extern void		ck_seed(uint64_t seed);
extern uint32_t ck_bits(void);
extern int		ck_draw(int least, int most);
/* x [n], mostly in [-1, 1), some larger by far; some groups of 64 are zeros */
extern void		ck_fill(float *x, size_t n);

/* Memory of so many bytes that no result has, until ck_free_all(). */
extern void *ck_take(size_t bytes);
extern void	 ck_free_all(void);
/* What is in p is weights: there before any kernel is launched. */
extern void	 ck_constant(void *p);
/* Hides what is in all other memory, until ck_show(): as if earlier kernels were still to write it. */
extern void	 ck_hide(void);
extern void	 ck_show(void);

/* ---- What is counted --------------------------------------------------------------- */

typedef struct ck_totals
{
	long	  shapes, different;
	long long bytes;
} ck_totals;

extern ck_totals ck_count;

/* The same bytes?  Else what is different is printed. */
extern void ck_same(const char *what, const void *got, const void *wanted, size_t bytes);
/* The same floats, or a NaN in both. */
extern void ck_same_floats(const char *what, const float *got, const float *wanted, size_t n);

/* ---- The checks: `times` random shapes each ------------------------------------------ */

extern void ck_rows(int times);
extern void ck_quantize(int times);
extern void ck_packed(int times);
extern void ck_wide(int times);
extern void ck_fast(int times);
extern void ck_attention(int times);
extern void ck_pick(int times);

#endif /* CHECK_H */
