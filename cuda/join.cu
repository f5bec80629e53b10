/*
 * join.cu - the stretches of attention, joined in order as cpu_attention.c does it.
 */
#include "cuda/round_codes.h"

/* Element d of a head of a row with n stretches, whose parts begin at `part`. */
DEVICE float
joined(const join_args &a, const float *part, int n, int d)
{
	float out = part[d], max = part[a.head_dim], sum = part[a.head_dim + 1];

	for (int i = 1; i < n; i++)
	{
		float here, most, before, now;

		part += a.head_dim + 2;
		here = part[a.head_dim];
		most = max > MINUS_INFINITY ? max : MINUS_INFINITY;
		most = here > most ? here : most;
		before = exponential(__fsub_rn(max, most));
		now = exponential(__fsub_rn(here, most));
		out = __fmaf_rn(part[d], now, __fmul_rn(out, before));
		sum = __fmaf_rn(part[a.head_dim + 1], now, __fmul_rn(sum, before));
		max = most;
	}
	return __fdiv_rn(out, sum);
}

/* blockIdx.x: a head; .y: a row.  out' = fma(out_s, e^(max_s - max'), out e^(max - max')) */
KERNEL(join, join_args, 128)
{
	await_previous();
	int		 each = columns_of_lane(a.to), row = (int) blockIdx.y;
	bool	 filling = fills_up(a.to, row);
	uint64_t item = (uint64_t) row * a.heads + blockIdx.x;
	int		 n = filling ? 0 : a.row[row].position / GLM_CUDA_STRETCH + 1;

	/* a warp a piece of the head */
	for (int p = (int) threadIdx.x / 32; p * each * 32 < a.head_dim; p += (int) blockDim.x / 32)
	{
		float out[MOST_EACH];

		UNROLL
		for (int j = 0; j < MOST_EACH; j++)
		{
			int	 d = (p * 32 + (int) threadIdx.x % 32) * each + j;
			bool here = j < each && d < a.head_dim && !filling;

			out[j] = here ? joined(a, a.part + item * a.stretches * (a.head_dim + 2), n, d) : 0.0f;
			if (here)
				a.out[item * a.head_dim + d] = out[j];
		}
		if (a.to.group > 0)
			round_group(a.to, row, (int) blockIdx.x * (a.head_dim / a.to.group) + p, out);
	}
}
