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
	bool		resident; /* all of them are held */
} glm_segment;

/* What a model's sequences came to, for statistics. */
typedef struct glm_tally
{
	atomic_ullong prompt_tokens;  /* of all prompts */
	atomic_ullong cached_tokens;  /* of those, found in the prefix cache */
	atomic_ullong prefill_tokens; /* computed, again after a preemption too */
	atomic_ullong completion_tokens;
	atomic_ullong draft_tokens;	   /* foreseen and computed in advance */
	atomic_ullong accepted_tokens; /* of those, right */
	atomic_ullong preemptions;
} glm_tally;

/* Whose turn it is among models; the engine thread's alone. */
typedef struct glm_pace
{
	uint32_t passes;   /* so far */
	int64_t	 spent_ns; /* time of its passes, see scheduler.c */
} glm_pace;

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

	glm_matrix *matrix; /* [n_matrices]: those of one projection and layer together */
	int			n_matrices;
	glm_place  *place;	/* [layers + 1, GLM_N_PROJECTIONS], what belongs to no layer first */
	float	  **norm;	/* [layers + 1, GLM_N_NORMS], the same */
	glm_tensor *tensor; /* of all segments, one behind the other */
	glm_segment
		  *segment; /* [layers + 2], output, embedding, layers; NULL: the weights are in no file */
	float *rope;	/* [context, rotary / 2, 2]: cos and sin */
	glm_dtype kv_dtype;		  /* GLM_F32, GLM_F16 or GLM_I8 */
	size_t	  kv_block_bytes; /* see kv.c */

	atomic_bool	 held;	  /* all segments are touched */
	atomic_llong used_ns; /* when its last pass ended */

	double				load_ms;
	uint64_t			generation; /* of all models ever opened, this one's number */
	glm_tally			tally;
	glm_pace			pace;
	struct glm_drafter *drafter; /* the engine thread's alone; NULL: none */
	/* the engine's bookkeeping, under its model lock */
	int					refs;
	bool				dead; /* unload when refs falls to 0 */
	uint64_t			last_used;
	uint64_t			requests;
	uint32_t		   *origin; /* [n_origins]: of requests that named it */
	int					n_origins;
	struct glm_model   *next;
} glm_model;

/* Opens a ChatGLM directory, plain or packed; every error names the file. */
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

/*
 * Weights become readable a segment at a time: layers 0, 1, ... and these two.  A segment
 * is touched before its first use, by one thread at a time, and stays readable until it
 * is released or the model closed.
 */
#define GLM_SEGMENT_EMBEDDING (-1)
#define GLM_SEGMENT_OUTPUT (-2)
extern bool glm_model_touch(const glm_model *model, int segment, glm_error *err);
/*
 * Touches all segments, with pauses, and brings back what the kernel took away of those that
 * were touched before: afterwards a pass waits for no disk.  Whether all have been touched;
 * one thread at a time does it, any thread may ask.
 */
extern bool glm_model_hold(glm_model *model, glm_error *err);
extern bool glm_model_held(const glm_model *model);
extern void glm_model_release(const glm_model *model, int segment);

#endif /* GLM_MODEL_H */
