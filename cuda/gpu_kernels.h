/*
 * gpu_kernels.h - the kernels by name, and what each is told: C for who launches them, C++ for
 * the kernels.  Addresses are the device's.
 *
 * Packed matrices are tiles as packed.h has them, each with its codes woven (weave.cu), so
 * that a lane of a warp finds what mma_u8s8() wants of it in one piece.
 *
 * Activations in 8 bits: code [ld][groups * group], rows one behind the other; scale and
 * minus_sum [groups][ld], ld = m rounded up to GLM_CUDA_ROWS.  What fills up are zeros, but
 * codes there may be anything.  Who
 * makes activations can leave them in 8 bits too.
 */
#ifndef GLM_CUDA_GPU_KERNELS_H
#define GLM_CUDA_GPU_KERNELS_H

#include <stdint.h>

enum
{
	GLM_CUDA_ROWS = 8,		 /* rows of activations that one mma takes */
	GLM_CUDA_FEW = 8,		 /* rows of a product that few_* takes at most */
	GLM_CUDA_SOME = 32,		 /* a block of some_* */
	GLM_CUDA_MANY = 64,		 /* a block of many_* and wgmma_* */
	GLM_CUDA_STRETCH = 512,	 /* positions of a part of attention, see cpu_attention.c */
	GLM_CUDA_SORT = 512,	 /* candidates that pick sorts at a time */
	GLM_CUDA_SUM_BLOCK = 64, /* ids whose weights are added up together, see sample_math.h */
	GLM_CUDA_BAN = -100,	 /* a bias that is no number: see drawing.h */
	/* of keys and values, see kv_layout.h and backend.h */
	GLM_CUDA_KV_BLOCK = 32,
	GLM_CUDA_KV_GROUP = 32,
	GLM_CUDA_KV_UNIT = 256,
};

/* Types of elements, numbered as glm_dtype. */
enum
{
	GLM_CUDA_F32 = 0,
	GLM_CUDA_F16 = 1,
	GLM_CUDA_BF16 = 2,
	GLM_CUDA_Q4 = 3,
	GLM_CUDA_Q8 = 4,
	GLM_CUDA_I8 = 5
};

/* A row of a pass. */
typedef struct cuda_row
{
	int32_t token; /* < 0: what slot -1 - token picked last */
	int32_t position;
	int32_t first_block; /* of its sequence, in the list of blocks */
	int32_t unused;
} cuda_row;

/* Activations in 8 bits; of groups of 0 columns: none. */
typedef struct cuda_codes
{
	int8_t	*code;
	float	*scale;
	int32_t *minus_sum;
	int32_t	 m, group, groups, ld;
} cuda_codes;

/* Where a model's keys and values lie. */
typedef struct cuda_kv
{
	char		   *pool;
	const uint32_t *block; /* of all sequences, in units of GLM_KV_UNIT bytes from pool */
	uint64_t		layer; /* where a layer's keys begin in a block, in bytes */
	uint64_t		half;  /* bytes of the keys, or of the values, of one group */
	int32_t			dtype; /* GLM_CUDA_F32, _F16 or _I8 */
	int32_t			heads;
	int32_t			groups;
	int32_t			head_dim;
} cuda_kv;

/* As glm_pick_change, glm_pick and glm_picked_id, with addresses of the device. */
typedef struct cuda_change
{
	int32_t id, count;
	float	bias;
} cuda_change;

typedef struct cuda_pick
{
	double			   temperature, top_p, min_p;
	double			   repetition, frequency, presence;
	uint64_t		   seed, index;
	const uint32_t	  *mask; /* a bit an id, or NULL */
	const uint32_t	  *seen; /* the same */
	const cuda_change *change;
	int32_t			   n_changes;
	int32_t			   top_k;
	int32_t			   n_ids;
	int32_t			   logprob;
} cuda_pick;

typedef struct cuda_picked
{
	int32_t id;
	int32_t status; /* GLM_CUDA_PICKED, _NOT_FINITE, _NONE, _LEFT */
	float	logit;
	int32_t unused;
	double	max, sum;
} cuda_picked;

enum
{
	GLM_CUDA_PICKED = 0,
	GLM_CUDA_NOT_FINITE = 1,
	GLM_CUDA_NONE = 2, /* no id is allowed */
	GLM_CUDA_LEFT = 3  /* none was asked for */
};

/* A candidate, in the order of candidates.h. */
typedef struct cuda_candidate
{
	int32_t id;
	float	weight;
} cuda_candidate;

/* ---- What kernels are told ---------------------------------------------------------- */

/* Codes of a packed matrix into the order that products read.  A warp a group of a tile. */
typedef struct weave_args
{
	uint8_t *tiles;
	uint64_t tile_bytes, head;
	int32_t	 n_tiles, groups;
	int32_t	 group; /* columns */
	int32_t	 bits;
} weave_args;

/* x [rows, width] = rows of a table: plain, or packed tiles that are not woven. */
typedef struct embed_args
{
	float			  *x;
	const uint8_t	  *table;
	const cuda_row	  *row;
	const cuda_picked *picked; /* by the pass before */
	uint64_t		   tile_bytes, head;
	int32_t			   width, dtype, group;
} embed_args;

/* y [rows, width] = x / sqrt(mean(x^2) + eps) * weight; a block a row */
typedef struct rmsnorm_args
{
	float		*y;
	const float *x, *weight;
	cuda_codes	 to;
	int32_t		 width;
	float		 eps;
} rmsnorm_args;

/* y [n, width]: rows index[0 ...] of x */
typedef struct gather_args
{
	float		  *y;
	const float	  *x;
	const int32_t *index;
	int32_t		   width;
} gather_args;

/* c [rows, width] = SiLU(x[:, 0 ... width]) * x[:, width ...]; x [rows, 2 width] */
typedef struct swiglu_args
{
	float		*c;
	const float *x;
	cuda_codes	 to;
	int32_t		 width;
} swiglu_args;

/* Rows of a [m, cols], lda apart, to 8 bits; a warp a group. */
typedef struct quantize_args
{
	cuda_codes	 to;
	const float *a;
	uint64_t	 lda;
	int32_t		 cols;
} quantize_args;

/* c [m, n] (rows ldc apart) = x w^T + bias, + c if add; w packed */
typedef struct packed_args
{
	float		  *c;
	uint64_t	   ldc;
	const uint8_t *w;
	uint64_t	   tile_bytes, head;
	const float	  *bias; /* or NULL */
	const int8_t  *code;
	const float	  *scale;
	const int32_t *minus_sum;
	int32_t		   m, n, groups, ld;
	int32_t		   add;
} packed_args;

/* The same with w [n, k] in F32, F16 or BF16, and a [m, k] */
typedef struct wide_args
{
	float		*c;
	uint64_t	 ldc;
	const void	*w;
	const float *bias;
	const float *a;
	uint64_t	 lda;
	int32_t		 m, n, k, dtype;
	int32_t		 add;
} wide_args;

/*
 * Rows of a [rows, cols], lda apart, to F16 or BF16: to [rows, ld], in F16 divided by scale [rows],
 * a power of two; a block a row.  ld: cols rounded up to 32; what fills up are zeros.
 */
typedef struct narrow_args
{
	uint16_t	*to;
	float		*scale;
	const float *a;
	uint64_t	 lda;
	int32_t		 cols, ld, dtype;
	int32_t		 unused;
} narrow_args;

/* c [m, n] (rows ldc apart) = x w^T + bias, + c if add; w [n, k] and x in one type of 16 bits */
typedef struct fast_args
{
	float		   *c;
	uint64_t		ldc;
	const uint16_t *w;
	const float	   *bias; /* or NULL */
	const uint16_t *x;	  /* as narrow leaves it */
	const float	   *scale;
	int32_t			m, n, k, ld;
	int32_t			add;
	int32_t			unused;
} fast_args;

/* Turns queries and keys of qkv, stores keys and values; a block a head of a row */
typedef struct rope_store_args
{
	cuda_kv			kv;
	float		   *qkv;  /* [rows, heads + 2 groups, head_dim] */
	const float	   *rope; /* [context, turned / 2, 2] */
	const cuda_row *row;
	int32_t			turned; /* elements of a head */
} rope_store_args;

/* out, max and sum of each stretch of each row's positions */
typedef struct attend_args
{
	cuda_kv			kv;
	float		   *part; /* [rows, heads, stretches, head_dim + 2] */
	const float	   *qkv;
	const cuda_row *row;
	int32_t			stretches;
	int32_t			rows; /* cuda_attend() says it */
} attend_args;

/* Joins the stretches of a head of a row, and divides; groups of 8 bits are of one head. */
typedef struct join_args
{
	float		   *out;
	cuda_codes		to;
	const float	   *part;
	const cuda_row *row;
	int32_t			heads, head_dim, stretches;
} join_args;

/* picked[i] by logits [rows, vocab]; a block a row */
typedef struct pick_args
{
	cuda_picked		*picked;
	const float		*logits;
	const cuda_pick *pick;
	float			*changed;	/* [rows, vocab] */
	cuda_candidate	*candidate; /* [rows, vocab] */
	double			*sum;		/* [rows, vocab / GLM_CUDA_SUM_BLOCK, rounded up] */
	int32_t			 vocab;
} pick_args;

#define GLM_CUDA_PRODUCTS(X, kind)                                                                 \
	X(kind##_q4_32, packed_args)                                                                   \
	X(kind##_q4_64, packed_args)                                                                   \
	X(kind##_q4_128, packed_args)                                                                  \
	X(kind##_q8_32, packed_args)                                                                   \
	X(kind##_q8_64, packed_args)                                                                   \
	X(kind##_q8_128, packed_args)

/* X(name, what it is told); wgmma_*: in code for sm_90a alone */
#define GLM_CUDA_KERNELS(X)                                                                        \
	X(weave, weave_args)                                                                           \
	X(embed, embed_args)                                                                           \
	X(rmsnorm, rmsnorm_args)                                                                       \
	X(gather, gather_args)                                                                         \
	X(swiglu, swiglu_args)                                                                         \
	X(quantize, quantize_args)                                                                     \
	GLM_CUDA_PRODUCTS(X, few)                                                                      \
	GLM_CUDA_PRODUCTS(X, some)                                                                     \
	GLM_CUDA_PRODUCTS(X, many)                                                                     \
	GLM_CUDA_PRODUCTS(X, wgmma)                                                                    \
	X(wide, wide_args)                                                                             \
	X(narrow, narrow_args)                                                                         \
	X(few_f16, fast_args)                                                                          \
	X(some_f16, fast_args)                                                                         \
	X(many_f16, fast_args)                                                                         \
	X(few_bf16, fast_args)                                                                         \
	X(some_bf16, fast_args)                                                                        \
	X(many_bf16, fast_args)                                                                        \
	X(rope_store, rope_store_args)                                                                 \
	X(attend_few, attend_args)                                                                     \
	X(attend, attend_args)                                                                         \
	X(attend_two, attend_args)                                                                     \
	X(join, join_args)                                                                             \
	X(pick, pick_args)

typedef enum cuda_kernel
{
#define GLM_CUDA_NUMBER(name, args) GLM_CUDA_##name,
	GLM_CUDA_KERNELS(GLM_CUDA_NUMBER)
#undef GLM_CUDA_NUMBER
		GLM_CUDA_N_KERNELS
} cuda_kernel;

#endif /* GLM_CUDA_GPU_KERNELS_H */
