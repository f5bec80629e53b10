/*
 * model.h - a model directory opened: config, tokenizer, weights.
 */
#ifndef GLM_MODEL_H
#define GLM_MODEL_H

#include "engine/model/config.h"
#include "engine/model/tensor_list.h"
#include "engine/text/chat_format.h"
#include "engine/weights/weights.h"

typedef struct glm_open_options
{
	glm_weight_options weights;
	glm_kv_type		   kv_type;
	glm_rope		   rope;
} glm_open_options;

/* A matrix and its bias; c = a tensor^T + bias. */
typedef struct glm_matrix
{
	glm_projection projection;
	int			   layer;  /* or GLM_NO_LAYER */
	int			   offset; /* column of the projection's output at which its own begin */
	glm_tensor	   tensor; /* [its columns of the output, inputs]; the embedding [vocab, hidden] */
	float		  *bias;   /* [its columns of the output] or NULL */
} glm_matrix;

/* Neighbours in an array of matrices. */
typedef struct glm_place
{
	int first;
	int n;
} glm_place;

/* Tensors that become readable together. */
typedef struct glm_segment
{
	glm_tensor *tensor; /* [n] */
	int			n;
} glm_segment;

/* Immutable once it is open. */
typedef struct glm_model
{
	char			*name;
	char			*path;
	glm_model_config config;
	glm_rope		 rope_option; /* as it was opened */
	glm_tokenizer	*tokenizer;
	const glm_chat	*chat; /* how it talks */
	glm_shards		*shards;
	glm_dtype		 dtype; /* of the projections */
	/* of its files while it was opened; empty: they changed, or could not be told */
	char			 identity[GLM_MODEL_HASH];

	glm_matrix	*matrix; /* [n_matrices]: those of one projection and layer together */
	int			 n_matrices;
	glm_place	*place;	 /* [layers + 1, GLM_N_PROJECTIONS], what belongs to no layer first */
	float	   **norm;	 /* [layers + 1, GLM_N_NORMS], the same */
	glm_tensor	*tensor; /* of all segments, one behind the other */
	/* [layers + 2]: output, embedding, layers; NULL: the weights are in no file */
	glm_segment *segment;
	float		*rope;			 /* [context, rotary / 2, 2]: cos and sin */
	glm_dtype	 kv_dtype;		 /* GLM_F32, GLM_F16 or GLM_I8 */
	size_t		 kv_block_bytes; /* see kv_layout.h */

	double load_ms; /* what opening it took */
} glm_model;

/* Opens a directory of an architecture we know, plain or packed; every error names the file. */
extern glm_model *glm_model_open(const char *name, const char *path, glm_error *err);
extern glm_model *glm_model_open_with(const char *name, const char *path,
									  const glm_open_options *options, glm_error *err);
extern void		  glm_model_close(glm_model *model);

/* The n matrices of a projection, by offset; layer: GLM_NO_LAYER for head and embedding. */
extern const glm_matrix *glm_model_matrices(const glm_model *model, glm_projection projection,
											int layer, int *n);
/* Columns of a projection's output. */
extern int				 glm_model_width(const glm_model *model, glm_projection projection);
/* [hidden]; NULL: there is no such norm. */
extern const float		*glm_model_norm(const glm_model *model, glm_norm norm, int layer);

/*
 * Takes the memory for what a list names, by model->config: matrices have their form but
 * for the dtype, no data and no bias; norms are NULL.
 */
extern bool		   glm_model_lay_out(glm_model *model, const glm_tensor_list *list, glm_error *err);
/* The matrix of an entry of that list, or the one that a bias belongs to; and a norm's place. */
extern glm_matrix *glm_model_matrix_of(const glm_model *model, const glm_tensor_entry *entry);
extern float	 **glm_model_norm_of(const glm_model *model, const glm_tensor_entry *entry);

/* Weights become readable a segment at a time: layers 0, 1, ... and these two. */
#define GLM_SEGMENT_EMBEDDING (-1)
#define GLM_SEGMENT_OUTPUT (-2)
/* NULL: the weights are in no file. */
extern const glm_segment *glm_model_segment(const glm_model *model, int number);

#endif /* GLM_MODEL_H */
