/*
 * backend.h - the one door between the forward pass and what computes it.
 *
 * A backend is a kind of device.  One table serves all kinds, so there is one forward
 * pass (forward.c, layer_walk.c), and nothing outside of a backend's own files follows an
 * address of its memory: glm_mem is a name, glm_at() names a place inside.  Weights are
 * named by what they are for, KV blocks by number.
 *
 * What is opened may be several devices of a kind.  Each of them is a *place* for models; all
 * of them together are one more, the last, where a model's layers are divided among them.  A
 * place has a KV pool and buffers of its own; of a block or a buffer of the last place every
 * device has its part, by the same number or name.
 *
 * Places that have no device in common compute at a time: a pass at one may begin when that at
 * another has been put in order (end()), and is waited for later, each at its place.
 *
 * At a place of one device that picks, a second pass may be put in order behind one that picked
 * and has not been waited for: its rows name what that picks, where it picked nothing any token.
 * wait() is for the first of the two.
 *
 * Three kinds of calls.  What takes memory or finds devices (find to kv_pool) may fail at
 * once, with *err; lost() says whether the device is gone with it.  Operations are put in order and never fail: they may be done at once
 * or any time later, but what one leaves the next one sees.  wait() is the one place where
 * what was put in order can fail: false means that the pass is lost, and *state says
 * whether the device lives on.  What is computed from broken weights is NaN, which the
 * sampler finds.
 *
 * Every operation treats rows alone: row i of a result depends on row i of the operands
 * (attention: on the KV of its own sequence), in an order of arithmetic that neither the
 * other rows nor the number of threads change.  With GLM_EXACT the bits are those that
 * kernels.h defines, whatever the device.
 *
 * Threads.  One at a time calls, but for info, need, load, refresh and unload, which other
 * threads call while passes run.
 *
 * A backend that is built apart is refused if `abi` differs: the number, which changes
 * when this file does, or the size of a struct that both sides read.
 *
 * Compiles as C11 and as C++17, so it includes nothing with atomics.
 */
#ifndef GLM_BACKEND_H
#define GLM_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/observation.h"
#include "engine/model/projection.h"

#define GLM_BACKEND_ABI 10

/* That can be opened together. */
#define GLM_MOST_DEVICES 16
#define GLM_MOST_PLACES (GLM_MOST_DEVICES + 1)

typedef struct glm_device  glm_device;	/* what was opened; private to its backend */
typedef struct glm_weights glm_weights; /* a model, or a segment of one, that is resident there */
typedef struct glm_threads glm_threads;
typedef struct glm_model   glm_model;
typedef struct glm_error   glm_error;

/* Memory of a device. */
typedef struct glm_mem
{
	uintptr_t at;
} glm_mem;

#define GLM_NO_MEM ((glm_mem){0})

/* The place `floats` floats behind m. */
static inline glm_mem
glm_at(glm_mem m, size_t floats)
{
	m.at += floats * sizeof(float);
	return m;
}

/* How results are defined.  The CPU is always exact. */
typedef enum glm_arithmetic
{
	GLM_EXACT = 0, /* the same bits as every CPU table */
	GLM_FAST	   /* other bits for products with weights of 16 bits, where that is faster */
} glm_arithmetic;

typedef enum glm_device_state
{
	GLM_DEVICE_FINE = 0,
	GLM_DEVICE_LOST /* nothing can be computed on it any more: close() is all that is left */
} glm_device_state;

typedef struct glm_device_info
{
	char	 name[96];	   /* "NVIDIA H200", "AMD EPYC ..." */
	char	 kernels[16];  /* "avx512", "sm_90" */
	char	 why_not[256]; /* of a device that was found: why it cannot be used; empty: it can */
	uint64_t bytes;		   /* of memory; 0: the host's */
	uint64_t bytes_free;   /* of several devices: of that which has least */
	int		 number;	   /* among those that find() found; of several the first's */
	int		 devices;	   /* of the place */
	bool	 host_memory;  /* glm_mem.at is an address that the host may follow after wait() */
	bool	 picks;		   /* there is a pick(), and passes may follow each other, see above */
	int		 max_rows;	   /* of a pass; 0: any */
	size_t	 pick_bytes;   /* most that the picks of a pass point to, all together */
	/* as it was opened; GLM_EXACT where that is all there is */
	glm_arithmetic arithmetic;
} glm_device_info;

/* What a model takes of a place; of several devices the one is told that will be fullest. */
typedef struct glm_footprint
{
	uint64_t bytes;			 /* of its memory, the host's mapping not counted */
	uint64_t room;			 /* bytes that are free there */
	size_t	 kv_block_bytes; /* of a KV block of the model, on each device */
} glm_footprint;

/* ---- A pass ---------------------------------------------------------------- */

/* What is wanted of a row beside its keys and values. */
typedef enum glm_want
{
	GLM_WANT_NOTHING = 0,
	GLM_WANT_LOGITS, /* [vocab] */
	GLM_WANT_HIDDEN	 /* [hidden]: what the final norm gives */
} glm_want;

typedef struct glm_pass_row
{
	int32_t
		token; /* < 0: what the pass before picked in slot -1 - token; see glm_device_info.picks */
	int32_t	 position;
	int32_t	 sequence;	  /* rows of one are neighbours, at ascending positions */
	int32_t	 first_block; /* of its sequence's KV blocks, in glm_pass.block */
	glm_want want;
} glm_pass_row;

/* A KV block's number is where it begins in the pool, in units of so many bytes. */
#define GLM_KV_UNIT 256

/* All there is to know of a pass; it stays as it is until wait(). */
typedef struct glm_pass
{
	const glm_pass_row *row; /* [n_rows] */
	int					n_rows;
	const uint32_t	   *block; /* [n_blocks]: KV blocks of one sequence after the other */
	size_t				n_blocks;
	int					n_logits; /* rows that want them */
	int					n_hidden;
	int					longest; /* the largest position and 1 */
} glm_pass;

/* How often an id is in the answer so far, and its bias. */
typedef struct glm_pick_change
{
	int32_t id;
	int32_t count;
	float	bias; /* GLM_BIAS_BAN or less: it never comes */
} glm_pick_change;

/* Bytes of a set of ids: a bit each, 64 a word, the lowest id lowest. */
#define GLM_PICK_SET_BYTES(n_ids) (((size_t) (n_ids) + 63) / 64 * sizeof(uint64_t))

/*
 * How a token is picked by the logits of a row: as glm_sampler_pick() does it, to the last
 * bit.  Parameters are those of glm_request.  What is pointed to is the host's memory.
 */
typedef struct glm_pick
{
	double	 temperature, top_p, min_p;
	double	 repetition, frequency, presence; /* penalties, see adjust.c */
	int		 top_k;
	int		 n_ids; /* among the first so many; those behind are padding.  0: nothing is picked */
	uint64_t seed, index; /* key and counter of the random numbers, see sample_math.h */

	const uint64_t		  *mask;   /* the set of ids that are allowed; NULL: all are */
	const uint64_t		  *seen;   /* of those that the repetition penalty is for; NULL: none */
	const glm_pick_change *change; /* [n_changes], no id twice: what else changes logits */
	int					   n_changes;
	bool				   logprob; /* is wanted too */
} glm_pick;

typedef struct glm_picked_id
{
	int32_t id;		/* -1: none */
	int32_t status; /* GLM_OK; GLM_NOT_FINITE: a logit is not; GLM_INTERNAL: no id is allowed */
	/* if ln p(id) is wanted: the host takes the logarithm, which no two libraries round alike */
	float	logit; /* the id's */
	double	max,
		sum; /* of the model's logits, and of e^(logit - max) in the order of sample_math.h */
} glm_picked_id;

/* ---- The table ---------------------------------------------------------------- */

typedef struct glm_abi
{
	uint32_t number;
	uint32_t size[10];
} glm_abi;

/* Where all these types are complete. */
#define GLM_ABI                                                                                    \
	{                                                                                              \
		GLM_BACKEND_ABI,                                                                           \
		{                                                                                          \
			sizeof(glm_backend), sizeof(glm_device_info), sizeof(glm_footprint), sizeof(glm_pass), \
				sizeof(glm_pass_row), sizeof(glm_pick), sizeof(glm_picked_id), sizeof(glm_error),  \
				sizeof(glm_model), sizeof(glm_matrix)                                              \
		}                                                                                          \
	}

/* Is the work still wanted?  false: end it, *err says why. */
typedef bool (*glm_go_on)(void *arg, glm_error *err);

/* All that is resident of a model; else the number of one of its segments, see model.h. */
#define GLM_ALL_SEGMENTS (-3)

typedef struct glm_backend
{
	glm_abi		abi;
	const char *name; /* "cpu" */

	/* How many devices there are, and what can be said of the first `max`. */
	int (*find)(glm_device_info *info, int max);
	/* Those n by their numbers; kernels: see glm_config.  NULL and *err on failure. */
	glm_device *(*open)(const int *which, int n, const char *kernels, glm_threads *pool,
						glm_arithmetic arithmetic, glm_error *err);
	void (*close)(glm_device *dev);
	int (*places)(const glm_device *dev); /* NULL: one */
	void (*info)(const glm_device *dev, int place, glm_device_info *info);
	/* What it chooses by measuring or trying, at most `max`, and what that took; NULL: it measures nothing. */
	int (*tuned)(const glm_device *dev, glm_tuned *out, int max, uint64_t *cost_ns);
	/* Whether it does, from now on; NULL with the other.  Both: any thread. */
	void (*set_tuning)(glm_device *dev, bool on);

	/*
	 * Makes a model, or one of its segments, resident for passes of so many rows; asks go_on
	 * between pieces.  The model stays open until unload().  NULL and *err on failure.
	 */
	void (*need)(const glm_device *dev, int place, const glm_model *model, int max_rows,
				 glm_footprint *need);
	glm_weights *(*load)(glm_device *dev, int place, const glm_model *model, int segment,
						 int max_rows, glm_go_on go_on, void *arg, glm_error *err);
	int (*place)(const glm_weights *weights); /* where it was loaded; NULL: there is one */
	/* Brings back what the system took away meanwhile; NULL: it takes nothing. */
	bool (*refresh)(glm_device *dev, glm_weights *weights, glm_go_on go_on, void *arg,
					glm_error *err);
	void (*unload)(glm_device *dev, glm_weights *weights);

	/* GLM_NO_MEM and *err on failure. */
	glm_mem (*alloc)(glm_device *dev, int place, size_t bytes, glm_error *err);
	void (*free)(glm_device *dev, glm_mem m); /* GLM_NO_MEM is fine */
	/* The memory of all KV blocks of a place, so much of each device; once, by any thread. */
	glm_mem (*kv_pool)(glm_device *dev, int place, size_t bytes, glm_error *err);
	/*
	 * Memory of the host that read() reaches best, by any pass; NULL and *err on failure.  Both
	 * NULL: there is none, all is alike.
	 */
	void *(*pinned_take)(glm_device *dev, size_t bytes, glm_error *err);
	void (*pinned_give)(glm_device *dev, void *memory);
	/* Has a call found that it is GLM_DEVICE_LOST?  Any thread; NULL: wait() alone finds it. */
	bool (*lost)(const glm_device *dev);

	/* ---- Operations ---- */

	/* Copies a KV block of so many bytes on each device. */
	void (*kv_copy)(glm_device *dev, int place, uint32_t to, uint32_t from, size_t bytes);
	/* Copies to the device; `from` may change when it returns. */
	void (*write)(glm_device *dev, glm_mem to, const void *from, size_t bytes);
	/* Copies to the host; `to` has it after wait(). */
	void (*read)(glm_device *dev, void *to, glm_mem from, size_t bytes);

	/* From here to end(), operations are on the rows of this pass and by these weights. */
	void (*begin)(glm_device *dev, const glm_weights *weights, const glm_pass *pass);

	/*
	 * What comes is of this layer, or of those behind all with GLM_NO_LAYER; of what buffers
	 * hold only x [n, hidden] is used there.  NULL: it is all the same.
	 */
	void (*enter)(glm_device *dev, int layer, glm_mem x, int n);

	/* x[i, :] = embedding[token of row i, :]; x [n_rows, hidden] */
	void (*embed)(glm_device *dev, glm_mem x);

	/* y[i, :] = x[i, :] / sqrt(mean(x[i, :]^2) + eps) * norm; x, y [n, hidden] */
	void (*rmsnorm)(glm_device *dev, glm_mem y, glm_mem x, glm_norm norm, int layer, int n);

	/*
	 * c = a w^T + bias, all matrices of the projection side by side; a [n, k] with rows lda
	 * floats apart, c [n, width], c and a apart.  add: c += that.  swiglu: c [n, width / 2],
	 * c[i, j] = SiLU(gate) * up, gate being column j and up width / 2 + j.
	 */
	void (*matmul)(glm_device *dev, glm_mem c, glm_mem a, size_t lda, glm_projection projection,
				   int layer, int n, bool add, bool swiglu);

	/*
	 * The rows [first, first + n) of the pass, with their qkv [n, (heads + 2 groups) *
	 * head_dim], which it may change.  Turns Q and K by their positions and stores K and V in
	 * place `layer` of the rows' KV blocks; then
	 * out[i, head, :] = softmax(Q[i, head] K^T / sqrt(head_dim)) V over the positions 0 to the
	 * row's own of its sequence; out [n, heads * head_dim].
	 */
	void (*attention)(glm_device *dev, glm_mem out, glm_mem qkv, int layer, int first, int n);

	/* y[j, :] = x[i, :] for the j-th row i of the pass that wants this; x [n_rows, hidden] */
	void (*gather)(glm_device *dev, glm_mem y, glm_mem x, glm_want want);

	/*
	 * picked[i] by row i of logits [n, vocab]; pick and what it points to stay as they are
	 * until wait(), after which picked has the ids, and the device keeps them for the next
	 * pass's tokens.  The logits stay as they are, where read() has them until the next
	 * begin() at that place.  NULL where the device does not pick.
	 */
	void (*pick)(glm_device *dev, glm_picked_id *picked, glm_mem logits, const glm_pick *pick,
				 int n);

	void (*end)(glm_device *dev);
	/* Would wait() return at once? */
	bool (*ready)(glm_device *dev, int place);
	/*
	 * Waits for all that was put in order at a place, or for the first of two passes; false: it
	 * is lost, *err says why, and the second means nothing, but is to be waited for too.
	 */
	bool (*wait)(glm_device *dev, int place, glm_device_state *state, glm_error *err);
} glm_backend;

/* ---- backend.c: devices by name ------------------------------------------------ */

typedef struct glm_device_choice
{
	const glm_backend *backend;
	int				   which[GLM_MOST_DEVICES]; /* [n] */
	int				   n;
} glm_device_choice;

/*
 * The devices of this name: "auto" is the first that can be used, "cpu" the first of the
 * backend with that name, "cpu:1" its second, "cuda:0,1" are two.  extra: a backend that is not built in, or
 * NULL.  GLM_BAD_ARGUMENT for what is no name, GLM_UNSUPPORTED for a device that is not there.
 */
extern bool glm_backend_find(const char *device, const glm_backend *extra,
							 glm_device_choice *choice, glm_error *err);

#endif /* GLM_BACKEND_H */
