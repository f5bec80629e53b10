/*
 * backend.h - the one door between the forward pass and what computes it.
 *
 * A backend is a device with its memory and a dozen operations on it.
 * forward.c is written against this table alone, so there is one forward pass
 * for all devices.  Activations live in arrays that alloc() gave: to forward.c
 * they, and places inside of them, are addresses to pass on, never to follow; read()
 * brings values home.
 * The CPU's addresses are plain memory.  Weights are named by the model's
 * tensors; prepare() is where a device makes them resident, the CPU reads them
 * where they are mapped.
 *
 * Operations are issued in order by one thread, and each sees the results of
 * those before.  None fails: everything that can is done in prepare() and
 * alloc(), and what is computed from broken weights is NaN, which the sampler
 * finds.  Every operation treats rows alone: row i of a result depends on row i
 * of the operands (attention: on the KV of its own sequence), in an order of
 * operations that neither the other rows nor the number of threads change.
 *
 * `abi` changes when this file does; a backend built apart is refused if it
 * differs.
 */
#ifndef GLM_BACKEND_H
#define GLM_BACKEND_H

#include "engine/compute/forward.h"

#define GLM_BACKEND_ABI 4

/* A KV block is a number: where it begins in the device's pool, in units of so many bytes. */
#define GLM_KV_UNIT 256

typedef struct glm_device glm_device; /* one opened device; private to its backend */

typedef struct glm_backend
{
	int			abi; /* GLM_BACKEND_ABI */
	const char *name;

	/* kernels: see glm_config.  NULL and *err on failure. */
	glm_device *(*open)(const char *kernels, glm_threads *pool, glm_error *err);
	void (*close)(glm_device *dev);
	const char *(*kernels)(const glm_device *dev); /* the kernels in use */

	/* Makes everything ready for passes of this model; may be called again. */
	bool (*prepare)(glm_device *dev, const glm_model *model, glm_error *err);

	float *(*alloc)(glm_device *dev, size_t n); /* NULL: out of memory */
	void (*free)(glm_device *dev, float *x);	/* NULL is fine */

	/* The memory of all KV blocks, taken once; NULL and *err on failure. */
	void *(*kv_pool)(glm_device *dev, size_t bytes, glm_error *err);
	/* Copies a block of so many bytes. */
	void (*kv_copy)(glm_device *dev, uint32_t to, uint32_t from, size_t bytes);

	/* The first n floats of x in host memory, good until x changes. */
	float *(*read)(glm_device *dev, float *x, size_t n);

	/* x[i, :] = table[rows[i].token, :]; x [n, hidden], table [vocab, hidden] */
	void (*embed)(glm_device *dev, float *x, const glm_tensor *table, const glm_row *rows, int n);

	/* y[i, :] = x[i, :] / sqrt(mean(x[i, :]^2) + eps) * weight; x, y [n, width] */
	void (*rmsnorm)(glm_device *dev, float *y, const float *x, const float *weight, int n,
					int width, float eps);

	/* c = a w^T + bias; a [n, k] with rows lda floats apart, w [m, k], c [n, m] dense */
	void (*matmul)(glm_device *dev, float *c, const float *a, size_t lda, const glm_tensor *w,
				   const float *bias, int n);

	/*
	 * qkv [n, (heads + 2 groups) * head_dim].  Turns Q in place and scales it by
	 * 1 / sqrt(head_dim); turns K and stores it and V into the rows' KV blocks.
	 */
	void (*rope_store)(glm_device *dev, const glm_model *model, int layer, float *qkv,
					   const glm_row *rows, int n);

	/*
	 * out[i, head, :] = softmax(Q[i, head] K^T) V over the positions 0 ..
	 * rows[i].position of the row's sequence; out [n, heads * head_dim].
	 */
	void (*attention)(glm_device *dev, const glm_model *model, int layer, float *out,
					  const float *qkv, const glm_row *rows, int n);

	/* x[i, j] = SiLU(x[i, j]) * x[i, ffn + j] for j < ffn; x [n, 2 * ffn] */
	void (*swiglu)(glm_device *dev, float *x, int n, int ffn);

	/* x += y; both [n, width] */
	void (*add)(glm_device *dev, float *x, const float *y, int n, int width);

	/* y[j, :] = x[i, :] for the j-th row i that wants logits; x [n, width] */
	void (*gather)(glm_device *dev, float *y, const float *x, const glm_row *rows, int n,
				   int width);
} glm_backend;

extern const glm_backend glm_backend_cpu;

#endif /* GLM_BACKEND_H */
