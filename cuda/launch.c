/*
 * launch.c - kernels launched: how many threads and blocks, and which one.
 */
#include "cuda/launch.h"

#define WARP 32
#define ENOUGH_BLOCKS 200 /* for multiprocessors, of which a large device has 108 to 148 */

const char *const cuda_kernel_names[GLM_CUDA_N_KERNELS] = {
#define NAME(name, args) #name,
	GLM_CUDA_KERNELS(NAME)
#undef NAME
};

static unsigned
blocks_of(uint64_t n, unsigned each)
{
	return (unsigned) ((n + each - 1) / each);
}

void
cuda_weave(const cuda_launcher *l, const weave_args *a)
{
	const unsigned threads = 128;
	cuda_grid grid = {blocks_of((uint64_t) a->n_tiles * (uint64_t) a->groups, threads / WARP), 1,
					  1};

	l->launch(l->arg, GLM_CUDA_weave, grid, threads, 0, a, sizeof(*a));
}

void
cuda_embed(const cuda_launcher *l, const embed_args *a, int rows)
{
	l->launch(l->arg, GLM_CUDA_embed, (cuda_grid){(unsigned) rows, 1, 1}, 128, 0, a, sizeof(*a));
}

void
cuda_rmsnorm(const cuda_launcher *l, const rmsnorm_args *a, int rows)
{
	l->launch(l->arg, GLM_CUDA_rmsnorm, (cuda_grid){(unsigned) rows, 1, 1}, 256, 33 * sizeof(float),
			  a, sizeof(*a));
}

void
cuda_gather(const cuda_launcher *l, const gather_args *a, int n)
{
	if (n > 0)
		l->launch(l->arg, GLM_CUDA_gather, (cuda_grid){(unsigned) n, 1, 1}, 128, 0, a, sizeof(*a));
}

void
cuda_swiglu(const cuda_launcher *l, const swiglu_args *a, int rows)
{
	const unsigned threads = 128;
	unsigned	   columns = a->to.group > 0 ? threads * (unsigned) a->to.group / WARP : threads;
	cuda_grid	   grid = {blocks_of((uint64_t) a->width, columns), (unsigned) rows, 1};

	l->launch(l->arg, GLM_CUDA_swiglu, grid, threads, 0, a, sizeof(*a));
}

void
cuda_quantize(const cuda_launcher *l, const quantize_args *a)
{
	const unsigned threads = 128;
	cuda_grid grid = {blocks_of((uint64_t) a->to.ld * (uint64_t) a->to.groups, threads / WARP), 1,
					  1};

	l->launch(l->arg, GLM_CUDA_quantize, grid, threads, 0, a, sizeof(*a));
}

/* ---- Products ---------------------------------------------------------------------- */

/* The kernel of a kind, whose six stand in the order of GLM_CUDA_PRODUCTS. */
cuda_kernel
cuda_packed_kernel(cuda_kernel first, int dtype, int group)
{
	return (cuda_kernel) ((int) first + (dtype == GLM_CUDA_Q8 ? 3 : 0) +
						  (group == 32	 ? 0
						   : group == 64 ? 1
										 : 2));
}

/* Floats of few_round and some_round in packed.cu, bytes of many_stage and wgmma_stage. */
#define PRODUCT_WARPS 8
#define FEW_ROUND (PRODUCT_WARPS * 2 * 8 * 20 + (32 + 8) * (PRODUCT_WARPS + 4))
#define SOME_ROUND (PRODUCT_WARPS * (GLM_CUDA_SOME * 32 + 32 + GLM_CUDA_SOME))

static unsigned
many_stage(int group)
{
	return GLM_CUDA_MANY * (unsigned) (group + (group > 64 ? 64 : 0) + 4 + 4);
}

static unsigned
wgmma_stage(int group)
{
	return (unsigned) group / 16 * (GLM_CUDA_MANY * 16 + (group > 64 ? 16 : 0)) +
		   GLM_CUDA_MANY * (4 + 4);
}

void
cuda_packed_by(const cuda_launcher *l, cuda_kernel first, const packed_args *a, int dtype,
			   int group)
{
	cuda_kernel kernel = cuda_packed_kernel(first, dtype, group);
	unsigned	tiles = blocks_of((uint64_t) a->n, 16), rows = (unsigned) a->m;

	if (first == GLM_CUDA_few_q4_32)
		l->launch(l->arg, kernel, (cuda_grid){blocks_of(tiles, 2), 1, 1}, PRODUCT_WARPS * WARP,
				  2 * FEW_ROUND * sizeof(float), a, sizeof(*a));
	else if (first == GLM_CUDA_some_q4_32)
		l->launch(l->arg, kernel,
				  (cuda_grid){blocks_of(tiles, 2), blocks_of(rows, GLM_CUDA_SOME), 1},
				  PRODUCT_WARPS * WARP, SOME_ROUND * sizeof(float), a, sizeof(*a));
	else
		l->launch(l->arg, kernel,
				  (cuda_grid){blocks_of(tiles, 8), blocks_of(rows, GLM_CUDA_MANY), 1}, 4 * WARP,
				  first == GLM_CUDA_many_q4_32 ? 3 * many_stage(group) : 2 * wgmma_stage(group), a,
				  sizeof(*a));
}

/* many_* where it has blocks enough for a device: some_* reads weights once for every 32 rows. */
cuda_kernel
cuda_packed_kind(const packed_args *a)
{
	unsigned blocks = blocks_of((uint64_t) a->n, 128) * blocks_of((uint64_t) a->m, GLM_CUDA_MANY);

	return a->m <= GLM_CUDA_FEW								 ? GLM_CUDA_few_q4_32
		   : a->m <= GLM_CUDA_SOME || blocks < ENOUGH_BLOCKS ? GLM_CUDA_some_q4_32
															 : GLM_CUDA_many_q4_32;
}

void
cuda_packed(const cuda_launcher *l, const packed_args *a, int dtype, int group)
{
	cuda_packed_by(l, cuda_packed_kind(a), a, dtype, group);
}

void
cuda_wide(const cuda_launcher *l, const wide_args *a)
{
	cuda_grid grid = {blocks_of((uint64_t) a->n, 64), blocks_of((uint64_t) a->m, 8), 1};

	l->launch(l->arg, GLM_CUDA_wide, grid, 128, 0, a, sizeof(*a));
}

/* ---- Fast products ----------------------------------------------------------------- */

#define FAST_WARPS 8
#define FAST_ROWS 128		  /* of a block of many_* */
#define ENOUGH_FAST_BLOCKS 96 /* of many_*, which have a multiprocessor each */

/* Floats of strips_round in fast.cu. */
static unsigned
strips_round(unsigned tiles, unsigned row_tiles)
{
	return FAST_WARPS * row_tiles * 8 * (tiles * 16 + 4);
}

void
cuda_narrow(const cuda_launcher *l, const narrow_args *a, int rows)
{
	l->launch(l->arg, GLM_CUDA_narrow, (cuda_grid){(unsigned) rows, 1, 1}, FAST_WARPS * WARP,
			  FAST_WARPS * sizeof(unsigned), a, sizeof(*a));
}

void
cuda_fast_by(const cuda_launcher *l, cuda_kernel first, const fast_args *a, int dtype)
{
	cuda_kernel kernel = dtype == GLM_CUDA_F16
							 ? first
							 : (cuda_kernel) ((int) first + GLM_CUDA_few_bf16 - GLM_CUDA_few_f16);
	uint64_t	n = (uint64_t) a->n, m = (uint64_t) a->m;

	if (first == GLM_CUDA_few_f16)
		l->launch(l->arg, kernel, (cuda_grid){blocks_of(n, 16), blocks_of(m, 8), 1},
				  FAST_WARPS * WARP, strips_round(1, 1) * sizeof(float), a, sizeof(*a));
	else if (first == GLM_CUDA_some_f16)
		l->launch(l->arg, kernel, (cuda_grid){blocks_of(n, 32), blocks_of(m, 32), 1},
				  FAST_WARPS * WARP, strips_round(2, 4) * sizeof(float), a, sizeof(*a));
	else
		l->launch(l->arg, kernel, (cuda_grid){blocks_of(n, 128), blocks_of(m, FAST_ROWS), 1},
				  8 * WARP, 4 * FAST_ROWS * 32 * sizeof(uint16_t), a, sizeof(*a));
}

/* many_* where it has blocks enough for a device. */
cuda_kernel
cuda_fast_kind(const fast_args *a)
{
	unsigned blocks = blocks_of((uint64_t) a->n, 128) * blocks_of((uint64_t) a->m, FAST_ROWS);

	return a->m <= GLM_CUDA_FEW									  ? GLM_CUDA_few_f16
		   : a->m <= GLM_CUDA_MANY || blocks < ENOUGH_FAST_BLOCKS ? GLM_CUDA_some_f16
																  : GLM_CUDA_many_f16;
}

void
cuda_fast(const cuda_launcher *l, const fast_args *a, int dtype)
{
	cuda_fast_by(l, cuda_fast_kind(a), a, dtype);
}

/* ---- Attention ---------------------------------------------------------------------- */

void
cuda_rope_store(const cuda_launcher *l, const rope_store_args *a, int rows)
{
	cuda_grid grid = {(unsigned) (a->kv.heads + 2 * a->kv.groups), (unsigned) rows, 1};

	l->launch(l->arg, GLM_CUDA_rope_store, grid, 128, (unsigned) a->kv.head_dim * sizeof(float), a,
			  sizeof(*a));
}

void
cuda_attend_by(const cuda_launcher *l, cuda_kernel kernel, const attend_args *a, int rows)
{
	unsigned	heads = kernel == GLM_CUDA_attend_few ? 2 : 8;
	unsigned	rows_each = kernel == GLM_CUDA_attend_two ? 2 : 1;
	unsigned	pitch = ((unsigned) a->kv.head_dim + 3) / 4 * 4;
	unsigned	floats = heads * rows_each * (pitch + GLM_CUDA_STRETCH + 128 / WARP);
	unsigned	of_group = blocks_of((uint64_t) (a->kv.heads / a->kv.groups), heads);
	attend_args all = *a;
	cuda_grid	grid = {of_group * (unsigned) a->kv.groups, blocks_of((uint64_t) rows, rows_each),
						(unsigned) a->stretches};

	all.rows = rows;
	l->launch(l->arg, kernel, grid, 128, floats * sizeof(float), &all, sizeof(all));
}

/* Few heads a block where there are few, or too few blocks; two rows where there are many. */
void
cuda_attend(const cuda_launcher *l, const attend_args *a, int rows)
{
	int of_group = a->kv.heads / a->kv.groups;
	int blocks = (of_group + 7) / 8 * a->kv.groups * rows * a->stretches;

	cuda_attend_by(l,
				   of_group <= 2 || blocks < 256 || a->kv.head_dim % 2 != 0 ? GLM_CUDA_attend_few
				   : blocks < 1024 || a->kv.head_dim > 240					? GLM_CUDA_attend
																			: GLM_CUDA_attend_two,
				   a, rows);
}

void
cuda_join(const cuda_launcher *l, const join_args *a, int rows)
{
	l->launch(l->arg, GLM_CUDA_join, (cuda_grid){(unsigned) a->heads, (unsigned) rows, 1}, 128, 0,
			  a, sizeof(*a));
}

void
cuda_pick_rows(const cuda_launcher *l, const pick_args *a, int rows)
{
	unsigned shared = GLM_CUDA_SORT * (sizeof(uint64_t) + sizeof(float)) + (256 + 4) * sizeof(int);

	l->launch(l->arg, GLM_CUDA_pick, (cuda_grid){(unsigned) rows, 1, 1}, GLM_CUDA_SORT, shared, a,
			  sizeof(*a));
}
