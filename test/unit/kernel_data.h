/*
 * kernel_data.h - numbers for kernels to compute with, and the tables this CPU can run.
 */
#ifndef KERNEL_DATA_H
#define KERNEL_DATA_H

#include "engine/compute/kernels/kernels.h"

extern uint32_t kd_random_bits(void);
/* x [n], uniform in [-1, 1) */
extern void		kd_fill(float *x, size_t n);
/* Bytes of a number. */
extern size_t	kd_size(glm_dtype dtype);
/* n weights between about -1 and 1 at w, which may be unaligned; subnormal ones too. */
extern void		kd_fill_weights(uint8_t *w, size_t n, glm_dtype dtype);
extern float	kd_weight(const uint8_t *w, size_t i, glm_dtype dtype);

/* The vector tables this CPU can run; those that it cannot are named. */
extern const glm_kernels *kd_tables[4];
extern int				  kd_n_tables;
extern void				  kd_find_tables(void);

#endif /* KERNEL_DATA_H */
