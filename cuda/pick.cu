/*
 * pick.cu - the next token of each row, as sample.c picks it, to the last bit.
 *
 * Exponentials, sums and random numbers are those of sample_math.h.  What is there a walk
 * over all ids is here one of all threads, a block of 64 ids each; what is added up in order
 * is added up by one thread: blocks' sums, or candidates.
 *
 * Candidates come in their order (largest logit first, of equals the lowest id) by keys of
 * 64 bits, no two alike: the smallest key that GLM_CUDA_SORT of the keys below the last one
 * have, or fewer, is found a byte at a time, and those are sorted.
 *
 * logits stay as they are: what penalties, biases and mask make of them is written elsewhere.
 */
#include "cuda/pick_weights.h"

/* ---- Candidates in order ------------------------------------------------------------- */

/*
 * The largest byte at `shift` for which the keys below `bound` that begin with `prefix` and
 * have it, or a larger one, are `wanted` or more; *above: those with a larger one.
 */
DEVICE int
find_byte(const pick_state &s, uint64_t bound, uint64_t prefix, int shift, int wanted, int *above)
{
	for (int i = (int) threadIdx.x; i < 256; i += PICK_THREADS)
		s.count[i] = 0;
	__syncthreads();
	for (int i = (int) threadIdx.x; i < s.how->n_ids; i += PICK_THREADS)
	{
		uint64_t key = key_of(s.changed[i], i);

		if (key < bound && (shift == 56 || key >> (shift + 8) == prefix))
			atomicAdd(&s.count[key >> shift & 255], 1);
	}
	__syncthreads();
	if (threadIdx.x == 0)
	{
		int byte = 255, n = 0;

		while (byte > 0 && n + s.count[byte] < wanted)
			n += s.count[byte--];
		s.count[256] = byte;
		s.count[257] = n;
	}
	__syncthreads();
	*above = s.count[257];
	return s.count[256];
}

/* The `wanted`-th key below bound, or the last one there is. */
DEVICE uint64_t
find_key(const pick_state &s, uint64_t bound, int wanted)
{
	uint64_t prefix = 0;

	for (int shift = 56; shift >= 0; shift -= 8)
	{
		int above, byte = find_byte(s, bound, prefix, shift, wanted, &above);

		prefix = prefix << 8 | (unsigned) byte;
		wanted -= above;
	}
	return prefix;
}

/* Sorts s.key, the largest first. */
DEVICE void
sort_keys(const pick_state &s)
{
	for (int size = 2; size <= GLM_CUDA_SORT; size *= 2)
		for (int by = size / 2; by >= 1; by /= 2)
		{
			int i = (int) threadIdx.x, other = i ^ by;

			__syncthreads();
			if (other > i && (s.key[i] < s.key[other]) == ((i & size) == 0))
			{
				uint64_t key = s.key[i];

				s.key[i] = s.key[other];
				s.key[other] = key;
			}
		}
	__syncthreads();
}

/* The next candidates below `bound`, at most `wanted`, in s.key with s.weight; how many? */
DEVICE int
next_candidates(const pick_state &s, uint64_t bound, int wanted)
{
	uint64_t least = find_key(s, bound, wanted < GLM_CUDA_SORT ? wanted : GLM_CUDA_SORT);
	int		 me = (int) threadIdx.x, n;

	s.key[me] = 0;
	if (me == 0)
		s.count[258] = 0;
	__syncthreads();
	for (int i = me; i < s.how->n_ids; i += PICK_THREADS)
	{
		uint64_t key = key_of(s.changed[i], i);

		if (key < bound && key >= least)
			s.key[atomicAdd(&s.count[258], 1)] = key;
	}
	sort_keys(s);
	n = s.count[258];
	if (me < n)
		s.weight[me] = weight_of(s, s.changed[id_of(s.key[me])]);
	__syncthreads();
	return n;
}

/* A sum of tokens one after the other, see sample_math.h. */
struct running_sum
{
	double blocks, block;
	int	   n;

	DEVICE_MEMBER
	running_sum()
	{
		blocks = block = 0;
		n = 0;
	}

	DEVICE_MEMBER void
	add(double x)
	{
		block = __dadd_rn(block, x);
		if (++n < GLM_CUDA_SUM_BLOCK)
			return;
		blocks = __dadd_rn(blocks, block);
		block = 0;
		n = 0;
	}

	DEVICE_MEMBER double
	all() const
	{
		return __dadd_rn(blocks, block);
	}
};

/* Puts the first k candidates into s.chosen. */
DEVICE void
choose_first(const pick_state &s, int k)
{
	uint64_t bound = ~(uint64_t) 0;

	for (int have = 0; have < k;)
	{
		int n = next_candidates(s, bound, k - have);

		if ((int) threadIdx.x < n)
			s.chosen[have + (int) threadIdx.x] =
				cuda_candidate{id_of(s.key[threadIdx.x]), s.weight[threadIdx.x]};
		bound = s.key[n - 1];
		have += n;
		__syncthreads();
	}
}

/* choose_top_k() of sample.c: how many of the k candidates are left; one thread. */
DEVICE int
cut_first(const pick_state &s, int k)
{
	running_sum sum, so_far;
	int			n = 0;

	for (int i = 0; i < k; i++)
		sum.add(s.chosen[i].weight);
	do
		so_far.add(s.chosen[n++].weight);
	while (n < k && so_far.all() < __dmul_rn(s.how->top_p, sum.all()) &&
		   s.chosen[n].weight >= s.how->min_p);
	return n;
}

/*
 * A round of choose_top_p() of sample.c by one thread, over n candidates: adds to s.chosen
 * what is left; true: that was the last.
 */
DEVICE bool
take_likely(const pick_state &s, int n, double sum, running_sum *so_far, int *have)
{
	double least =
		__ddiv_rn(__ddiv_rn(__dmul_rn(__dsub_rn(1, s.how->top_p), sum), (double) s.how->n_ids), 2);

	for (int i = 0; i < n; i++)
	{
		float weight = s.weight[i];

		/* weights fall with the logits, but for the last bit */
		if (weight < least * 0.999)
			return true;
		if (weight < least)
			continue;
		if (*have > 0 && weight < s.how->min_p)
			return true;
		so_far->add(weight);
		s.chosen[(*have)++] = cuda_candidate{id_of(s.key[i]), weight};
		if (so_far->all() >= __dmul_rn(s.how->top_p, sum))
			return true;
	}
	return false;
}

/* choose_top_p() of sample.c; how many are chosen, in thread 0 */
DEVICE int
choose_likely(const pick_state &s)
{
	double		sum = sum_ids(s, SUM_WEIGHTS, 0);
	uint64_t	bound = ~(uint64_t) 0;
	running_sum so_far;
	int			have = 0;

	for (int seen = 0; seen < s.how->n_ids;)
	{
		int n = next_candidates(s, bound, GLM_CUDA_SORT);

		bound = s.key[n - 1];
		seen += n;
		if (threadIdx.x == 0)
			s.count[259] = take_likely(s, n, sum, &so_far, &have);
		__syncthreads();
		if (s.count[259])
			break;
	}
	return have;
}

/* ---- Drawing --------------------------------------------------------------------------- */

/* Philox4x32-10 at this seed and index, in [0, 1): uniform() of sample_math.h */
DEVICE double
uniform(uint64_t seed, uint64_t index)
{
	unsigned x[4] = {(unsigned) index, (unsigned) (index >> 32), 0, 0};
	unsigned k0 = (unsigned) seed, k1 = (unsigned) (seed >> 32);

	for (int i = 0; i < 10; i++)
	{
		unsigned a = x[0], b = x[2];

		x[0] = __umulhi(0xCD9E8D57u, b) ^ x[1] ^ k0;
		x[1] = 0xCD9E8D57u * b;
		x[2] = __umulhi(0xD2511F53u, a) ^ x[3] ^ k1;
		x[3] = 0xD2511F53u * a;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	/* 53 bits, of which a double has each */
	return __dmul_rn((double) (((uint64_t) x[0] << 32 | x[1]) >> 11), 0x1p-53);
}

/* draw_chosen() of sample.c; one thread */
DEVICE int
draw_chosen(const pick_state &s, int n, double u)
{
	running_sum sum, so_far;

	for (int i = 0; i < n; i++)
		sum.add(s.chosen[i].weight);
	for (int i = 0; i < n; i++)
	{
		so_far.add(s.chosen[i].weight);
		if (so_far.all() > __dmul_rn(u, sum.all()))
			return s.chosen[i].id;
	}
	return s.chosen[0].id;
}

/* draw_any() of sample.c by the sums of the blocks; one thread; -1: rounding ate the last share */
DEVICE int
draw_any(const pick_state &s, double sum, double u)
{
	double so_far = 0, wanted = __dmul_rn(u, sum);

	for (int b = 0; b * GLM_CUDA_SUM_BLOCK < s.how->n_ids; b++)
	{
		double block = 0;

		if (__dadd_rn(so_far, s.sums[b]) > wanted)
			for (int i = b * GLM_CUDA_SUM_BLOCK;; i++)
			{
				block = __dadd_rn(block, summand(s, SUM_WEIGHTS, s.how->min_p, i));
				if (__dadd_rn(so_far, block) > wanted)
					return i;
			}
		so_far = __dadd_rn(so_far, s.sums[b]);
	}
	return -1;
}

/* The id, in thread 0; s.max is that of the changed logits. */
DEVICE int
draw(const pick_state &s, int first)
{
	double u = uniform(s.how->seed, s.how->index);
	int	   id = first;

	if (s.how->temperature > 0 && s.how->top_k > 0 && s.how->top_k < s.how->n_ids)
	{
		choose_first(s, s.how->top_k);
		if (threadIdx.x == 0)
			id = draw_chosen(s, cut_first(s, s.how->top_k), u);
	}
	else if (s.how->temperature > 0 && s.how->top_p < 1)
	{
		int n = choose_likely(s);

		if (threadIdx.x == 0)
			id = draw_chosen(s, n, u);
	}
	else if (s.how->temperature > 0)
	{
		double sum = sum_ids(s, SUM_WEIGHTS, s.how->min_p);
		int	   any = threadIdx.x == 0 ? draw_any(s, sum, u) : -1;

		id = any < 0 ? first : any;
	}
	return id;
}

/* Are all logits numbers?  Known to all threads. */
DEVICE bool
all_finite(const pick_state &s)
{
	bool	 bad = false;
	uint64_t any;

	for (int i = (int) threadIdx.x; i < s.how->n_ids; i += PICK_THREADS)
		bad |= (__float_as_uint(s.logit[i]) & 0x7f800000u) == 0x7f800000u;
	any = largest_of_block(s, bad);
	return any == 0;
}

DEVICE void
pick_row(pick_state &s, float *changed, cuda_picked *picked)
{
	uint64_t first;
	int		 id;

	if (s.how->n_ids == 0)
	{
		picked->status = GLM_CUDA_LEFT;
		return;
	}
	if (!all_finite(s))
	{
		picked->status = GLM_CUDA_NOT_FINITE;
		return;
	}
	if (s.how->logprob)
	{
		uint64_t raw = first_key(s, true);

		s.max = s.logit[id_of(raw)];
		picked->sum = sum_ids(s, SUM_LOGITS, 0);
		picked->max = s.max;
	}
	change_logits(s, changed);
	first = first_key(s, false);
	s.max = s.changed[id_of(first)];
	if (s.max == MINUS_INFINITY)
	{
		picked->status = GLM_CUDA_NONE;
		return;
	}
	id = draw(s, id_of(first));
	if (threadIdx.x != 0)
		return;
	picked->id = id;
	picked->logit = s.logit[id];
}

/* blockIdx.x: a row */
KERNEL(pick, pick_args, PICK_THREADS)
{
	await_previous();
	DYNAMIC_SHARED(shared);
	uint64_t	row = blockIdx.x;
	pick_state	s;
	cuda_picked picked = {-1, GLM_CUDA_PICKED, 0, 0, 0, 0};

	s.how = a.pick + row;
	s.logit = a.logits + row * a.vocab;
	s.sums = a.sum + row * ((a.vocab + GLM_CUDA_SUM_BLOCK - 1) / GLM_CUDA_SUM_BLOCK);
	s.chosen = a.candidate + row * a.vocab;
	s.key = (uint64_t *) shared;
	s.weight = (float *) (s.key + GLM_CUDA_SORT);
	s.count = (int *) (s.weight + GLM_CUDA_SORT);
	pick_row(s, a.changed + row * a.vocab, &picked);
	if (threadIdx.x == 0)
		a.picked[row] = picked;
}
