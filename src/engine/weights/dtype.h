/*
 * dtype.h - a tensor, and what its numbers are stored in: names, sizes, values as fp32.
 */
#ifndef GLM_DTYPE_H
#define GLM_DTYPE_H

#include "engine/base/base.h"

typedef enum glm_dtype
{
	GLM_F32 = 0,
	GLM_F16,
	GLM_BF16,
	GLM_Q4, /* packed, see packed.h */
	GLM_Q8,
	GLM_I8, /* keys and values only */
	GLM_N_DTYPES
} glm_dtype;

typedef struct glm_dtype_info
{
	const char *name;	/* as users see it */
	const char *stored; /* what a safetensors file says its bytes are; NULL: it is in none */
	const char *packed; /* what a packed directory calls it; NULL: it is plain */
	int			size;	/* bytes of a number; 0: packed, see packed.h */
} glm_dtype_info;

extern const glm_dtype_info glm_dtypes[GLM_N_DTYPES];

typedef struct glm_tensor
{
	const void *data; /* inside a shard, see glm_shards_hold; may be unaligned */
	glm_dtype	dtype;
	int			n_dims;	  /* 1 or 2 */
	int64_t		shape[2]; /* rows, columns; shape[1] = 1 for vectors */
	int			group;	  /* columns that share a scale; packed dtypes only */
} glm_tensor;

/* The plain dtype that a safetensors file calls so; false: none. */
extern bool glm_dtype_stored(const char *name, glm_dtype *out);
/* The dtype that a packed directory calls so; false: none. */
extern bool glm_dtype_packed(const char *name, glm_dtype *out);

/* Bytes of a tensor's data. */
extern size_t glm_tensor_bytes(const glm_tensor *t);

/* y [n] = x [n], exactly; x is F32, F16 or BF16 and may be unaligned */
extern void glm_widen(float *y, const void *x, glm_dtype dtype, size_t n);

#endif /* GLM_DTYPE_H */
