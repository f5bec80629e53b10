/*
 * resident.h - a model on a GPU, or some of its layers: their matrices, norms and angles, and the
 * memory that passes work in, all of it one piece.
 */
#ifndef GLM_CUDA_RESIDENT_H
#define GLM_CUDA_RESIDENT_H

#include "cuda/gpu_backend.h"
#include "engine/model/kv_layout.h"
#include "engine/weights/packed.h"

/* Places in the piece, in bytes from its beginning. */
typedef uint64_t cuda_place;

/* Of a matrix of the model, at the same place in its list. */
typedef struct cuda_matrix
{
	cuda_place data; /* packed ones are woven, but for the embedding */
	cuda_place bias;
	uint64_t   tile_bytes, head; /* of packed ones */
} cuda_matrix;

/* What passes work in; see gpu_kernels.h. */
typedef struct cuda_scratch
{
	cuda_place code, scale, minus_sum;	/* activations in 8 bits */
	cuda_place narrow, narrow_scale;	/* and in 16, for products that are fast */
	cuda_place gated;					/* gate_up before SwiGLU [max_rows, width] */
	cuda_place part;					/* of attention */
	cuda_place changed, candidate, sum; /* of PICK_ROWS rows */
	cuda_place pick_data;				/* what picks point to */
	cuda_place pick, picked;			/* [max_rows] */
	cuda_place chosen;	/* [max_rows]: what the pass before picked, of one that follows */
	cuda_place pass;	/* what cuda_pass says */
	cuda_place landing; /* rows that come from another GPU; not in the first part */
	uint64_t   part_bytes;
} cuda_scratch;

/* Layers [first, last) of a model, and what stands before and behind all of them. */
struct cuda_span
{
	int	 first, last;
	bool embedding, head;
};

/* What a pass tells the device, in the order in which it lies there and in pinned memory. */
typedef struct cuda_pass
{
	cuda_row *row;	  /* [max_rows] */
	int32_t	 *logits; /* [max_rows]: rows that want them */
	int32_t	 *hidden; /* [max_rows] */
	uint32_t *block;  /* [room for blocks] */
} cuda_pass;

/* Pinned memory of a pass: what it tells, and the ids that come home. */
typedef struct cuda_pinned
{
	cuda_pass	 pass;
	cuda_pick	*pick;		/* [max_rows] */
	cuda_picked *picked;	/* the same */
	char		*pick_data; /* [CUDA_PICK_BYTES], if there is the head */
} cuda_pinned;

#define PICK_ROWS 32 /* that one launch picks for */

struct cuda_part
{
	const glm_model *model;
	cuda_span		 span;
	int				 max_rows;
	uint64_t		 memory; /* the piece */
	uint64_t		 bytes;
	cuda_matrix		*matrix; /* [model->n_matrices] */
	cuda_place		*norm;	 /* [layers + 1, GLM_N_NORMS] */
	cuda_place		 rope;
	cuda_scratch	 scratch;

	/* pinned memory of the host, of the engine's thread */
	char	   *pinned;
	size_t		most_blocks;
	cuda_pinned of_turn[2]; /* in there: of passes by turns, see cuda_gpu */
};

/* Lays the piece out for a model; false: out of memory, or what kernels cannot do. */
extern bool		cuda_weights_plan(cuda_part *w, const cuda_gpu *dev, const glm_model *model,
								  const cuda_span *span, int max_rows, glm_error *err);
extern void		cuda_weights_forget(cuda_part *w); /* what plan took */
extern uint64_t cuda_weights_need(const cuda_gpu *dev, const glm_model *model,
								  const cuda_span *span, int max_rows);

/* Is it all of its model? */
extern bool cuda_part_is_whole(const cuda_part *w);

/* Gives all of it back. */
extern void cuda_unload(cuda_gpu *dev, cuda_part *w);

/* Norm of a layer: where its place stands. */
extern cuda_place *cuda_weights_norm(const cuda_part *w, glm_norm norm, int layer);

/* The device's address of a place. */
static inline void *
cuda_at(const cuda_part *w, cuda_place place)
{
	return (void *) (uintptr_t) (w->memory + place);
}

/* What the device is told of a pass lies at these places, as in pinned memory. */
static inline cuda_pass
cuda_pass_there(const cuda_part *w)
{
	cuda_pass p;

	p.row = cuda_at(w, w->scratch.pass);
	p.logits = (int32_t *) (p.row + w->max_rows);
	p.hidden = p.logits + w->max_rows;
	p.block = (uint32_t *) (p.hidden + w->max_rows);
	return p;
}

/* Pinned memory of the pass that was begun. */
static inline const cuda_pinned *
cuda_pinned_of(const cuda_gpu *dev)
{
	return &dev->weights->of_turn[dev->turn];
}

#endif /* GLM_CUDA_RESIDENT_H */
