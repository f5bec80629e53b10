/*
 * candidates.h - a heap of token ids, by their logits.
 */
#ifndef GLM_CANDIDATES_H
#define GLM_CANDIDATES_H

#include <stdbool.h>
#include <stdint.h>

/* Does token a come before token b? */
static inline bool
is_likelier(const float *logits, int32_t a, int32_t b)
{
	return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

/* Puts heap[at] where it belongs below; `last`: the heap has its last candidate on top. */
static inline void
sift_down(int32_t *heap, int n, int at, const float *logits, bool last)
{
	int32_t token = heap[at];
	int		child;

	while ((child = 2 * at + 1) < n)
	{
		if (child + 1 < n && is_likelier(logits, heap[child + 1], heap[child]) != last)
			child++;
		if (is_likelier(logits, heap[child], token) == last)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = token;
}

static inline void
make_heap(int32_t *heap, int n, const float *logits, bool last)
{
	for (int i = n / 2 - 1; i >= 0; i--)
		sift_down(heap, n, i, logits, last);
}

/*
 * Moves the candidate on top of the heap [0, n) to heap[n - 1]: what came off
 * lies behind the heap, the first one at the very end.
 */
static inline int32_t
pop_candidate(int32_t *heap, int n, const float *logits, bool last)
{
	int32_t top = heap[0];

	heap[0] = heap[n - 1];
	heap[n - 1] = top;
	sift_down(heap, n - 1, 0, logits, last);
	return top;
}

#endif /* GLM_CANDIDATES_H */
