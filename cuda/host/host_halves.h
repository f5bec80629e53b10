/*
 * host_halves.h - products of F16 and BF16 by tensor instructions, as gpu_device.h has them: part of
 * gpu_host.h.
 *
 * How a device adds up within one is its own affair, and differs from one kind to the next; here
 * each product is added to the sum in the order of the columns, rounded every time.  So what is
 * computed with them has the bits of no device, and only what all of them promise can be seen:
 * that a number depends on its row and its column alone.
 */
#ifndef GLM_CUDA_HOST_HALVES_H
#define GLM_CUDA_HOST_HALVES_H

struct gpu_half_fragments
{
	float	 c[4];
	unsigned a[4], b[2];
};
struct gpu_half_sums
{
	float c[4];
};

static inline float
gpu_half(const unsigned *words, int i, bool is_f16)
{
	uint16_t half = (uint16_t) (words[i / 2] >> i % 2 * 16);

	return is_f16 ? f16_to_f32(half) : __uint_as_float((unsigned) half << 16);
}

/* halves: of 8 columns each */
static inline void
gpu_multiply_halves(const gpu_half_fragments *in, gpu_half_sums *out, int halves, bool is_f16)
{
	float a[16][16], b[8][16];

	for (int lane = 0; lane < 32; lane++)
		for (int i = 0; i < 4 * halves; i++)
		{
			int word = i / 2, column = word / 2 * 8 + lane % 4 * 2 + i % 2;

			a[lane / 4 + word % 2 * 8][column] = gpu_half(in[lane].a, i, is_f16);
			if (word % 2 == 0)
				b[lane / 4][column] = gpu_half(in[lane].b + word / 2, i % 2, is_f16);
		}
	for (int lane = 0; lane < 32; lane++)
		for (int i = 0; i < 4; i++)
		{
			float sum = in[lane].c[i];

			for (int k = 0; k < 8 * halves; k++)
				sum = __fmaf_rn(a[lane / 4 + i / 2 * 8][k], b[lane % 4 * 2 + i % 2][k], sum);
			out[lane].c[i] = sum;
		}
}

static inline void
gpu_mma_halves(float c[4], const unsigned *a, const unsigned *b, int halves, bool is_f16)
{
	gpu_half_fragments in = {};
	gpu_half_sums	   out;

	memcpy(in.c, c, sizeof(in.c));
	memcpy(in.a, a, (size_t) halves * 2 * sizeof(*a));
	memcpy(in.b, b, (size_t) halves * sizeof(*b));
	out = gpu::collective<gpu_half_sums>(0xffffffffu, in,
										 [=](const gpu_half_fragments *lanes, gpu_half_sums *sums)
										 { gpu_multiply_halves(lanes, sums, halves, is_f16); });
	memcpy(c, out.c, sizeof(out.c));
}

static inline void
mma_f16(float c[4], const unsigned a[4], const unsigned b[2])
{
	gpu_mma_halves(c, a, b, 2, true);
}

static inline void
mma_f16_small(float c[4], const unsigned a[2], unsigned b)
{
	gpu_mma_halves(c, a, &b, 1, true);
}

static inline void
mma_bf16(float c[4], const unsigned a[4], const unsigned b[2])
{
	gpu_mma_halves(c, a, b, 2, false);
}

#endif /* GLM_CUDA_HOST_HALVES_H */
