/*
 * all.cu - all kernels: one piece to compile, one image to load.
 */
#include "cuda/rows.cu"
#include "cuda/quantize.cu"
#include "cuda/packed.cu"
#include "cuda/packed_many.cu"
#include "cuda/packed_wgmma.cu"
#include "cuda/wide.cu"
#include "cuda/fast.cu"
#include "cuda/fast_many.cu"
#include "cuda/rope.cu"
#include "cuda/attention.cu"
#include "cuda/join.cu"
#include "cuda/pick.cu"
