/*
 * model.h - a model directory opened: config, tokenizer, weights.
 */
#ifndef GLM_MODEL_H
#define GLM_MODEL_H

#include "engine/text/chat_format.h"
#include "engine/weights/weights.h"

/* ---- config.c ---------------------------------------------------------------------------- */

/* What rope_ratio means in config.json. */
typedef enum glm_rope
{
	GLM_ROPE_BY_NAME = 0, /* what the name it was published under says */
	GLM_ROPE_CHATGLM2,	  /* it divides positions */
	GLM_ROPE_CHATGLM3	  /* it multiplies the base */
} glm_rope;

/* "chatglm2" or "chatglm3", as the option "rope" has them; false: neither.  In config.c. */
extern bool glm_rope_named(const char *name, glm_rope *rope);

typedef struct glm_model_config
{
	int		layers;
	int		hidden;
	int		heads;
	int		groups; /* KV heads */
	int		head_dim;
	int		ffn;
	int		vocab;	 /* padded */
	int		context; /* seq_length */
	float	norm_eps;
	double	rope_base;	/* 10000 * rope_ratio; ChatGLM2: 10000 */
	double	rope_scale; /* divides positions: 1; ChatGLM2: rope_ratio */
	bool	final_norm; /* post_layer_norm */
	bool	qkv_bias;	/* add_qkv_bias */
	bool	tied;		/* tie_word_embeddings: no output tensor needed */
	int32_t eos[8];
	int		n_eos;
} glm_model_config;

/* Reads dir/config.json: every number in range, every variant one we run. */
extern bool glm_config_read(glm_model_config *config, const char *dir, glm_error *err);
extern bool glm_config_read_with(glm_model_config *config, const char *dir, glm_rope rope,
								 glm_error *err);

/* ---- model.c ------------------------------------------------------------------------------ */

typedef struct glm_open_options
{
	glm_weight_options weights;
	glm_kv_type		   kv_type;
	glm_rope		   rope;
} glm_open_options;

typedef struct glm_layer
{
	float	  *attn_norm; /* [hidden] */
	glm_tensor qkv;		  /* [(heads + 2 groups) * head_dim, hidden] */
	float	  *qkv_bias;  /* [(heads + 2 groups) * head_dim] or NULL */
	glm_tensor dense;	  /* [hidden, heads * head_dim] */
	float	  *ffn_norm;  /* [hidden] */
	glm_tensor gate_up;	  /* [2 * ffn, hidden]: gate rows, then up rows */
	glm_tensor down;	  /* [hidden, ffn] */
} glm_layer;

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

	glm_tensor			   embedding;	   /* [vocab, hidden] */
	glm_tensor			   output;		   /* [vocab, hidden]; the embedding when tied */
	float				  *final_norm;	   /* [hidden] or NULL */
	glm_layer			  *layer;		   /* [layers] */
	struct glm_model_part *part;		   /* what to touch, see model.c */
	float				  *rope;		   /* [context, head_dim / 4, 2]: cos, sin; see forward.c */
	glm_dtype			   kv_dtype;	   /* GLM_F32, GLM_F16 or GLM_I8 */
	size_t				   kv_block_bytes; /* see kv.c */

	atomic_bool	 held;	  /* all parts are touched */
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

/*
 * Parts of a model whose weights become readable together: layers 0, 1, ... and
 * these two.  A part is touched before its first use, by one thread at a time,
 * and stays readable until it is released or the model closed.
 */
#define GLM_PART_EMBEDDING (-1)
#define GLM_PART_OUTPUT (-2)
extern bool glm_model_touch(const glm_model *model, int part, glm_error *err);
/*
 * Touches all parts, with pauses, and brings back what the kernel took away of those that
 * were touched before: afterwards a pass waits for no disk.  Whether all have been touched;
 * one thread at a time does it, any thread may ask.
 */
extern bool glm_model_hold(glm_model *model, glm_error *err);
extern bool glm_model_held(const glm_model *model);
extern void glm_model_release(const glm_model *model, int part);

#endif /* GLM_MODEL_H */
