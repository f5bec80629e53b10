/*
 * internal.h - what the parts of libglm share with each other.
 *
 * One vocabulary: a *model* is a directory opened once (weights, config,
 * tokenizer); a *sequence* is one prompt with the tokens generated after it;
 * a *row* is one token of a sequence going through one forward pass; a *KV
 * block* holds keys and values of GLM_KV_BLOCK consecutive positions of one
 * sequence for all layers of its model.
 *
 * Three parties meet here.  The host's thread only calls glm.h.  The *front*
 * (tasks.c, front.c) turns requests into work: builds prompts, tokenizes, answers
 * what needs no forward pass; it has a thread for short requests and one more for
 * each long one, of which one works.  *Loaders* (loader.c) open models and bring them
 * into memory.  The *engine thread* (scheduler.c) runs forward passes with the compute
 * pool (threads.c).  Beside them a quantize job (job.c) has a thread and a pool of its own.
 */
#ifndef GLM_INTERNAL_H
#define GLM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/glm.h"

/* ---- error.c --------------------------------------------------------- */

/* Fills *err and returns false, so that callers write `return glm_fail(...)`. */
extern bool glm_fail(glm_error *err, glm_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
extern void glm_hint(glm_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
extern bool glm_no_memory(glm_error *err);

/* ---- pause.c: long work that can be ended ------------------------------ */

/* To be called every few milliseconds of long work; false: end it.  err may be NULL. */
extern bool glm_pause(glm_error *err);

/* ---- text.c: growable byte buffer, UTF-8 ------------------------------ */

typedef struct glm_buf
{
	char  *data; /* NUL-terminated once anything was added */
	size_t length;
	size_t capacity;
	bool   failed; /* out of memory; sticky, later adds do nothing */
} glm_buf;

extern void glm_buf_add(glm_buf *buf, const void *bytes, size_t n);
extern void glm_buf_puts(glm_buf *buf, const char *s);
extern void glm_buf_free(glm_buf *buf);

/* Offset of the first byte that is not valid UTF-8, or -1 when all is. */
extern ptrdiff_t glm_utf8_check(const char *s, size_t n);
/* The same with pauses; false when one of them ended it. */
extern bool		 glm_utf8_check_long(const char *s, size_t n, ptrdiff_t *bad, glm_error *err);
/*
 * Bytes of the character that s begins with; 0 when the n bytes are only the
 * beginning of one, -1 when no bytes after them can make them one.
 */
extern int		 glm_utf8_length(const char *s, size_t n);

/* ---- file.c: files as untrusted bytes -------------------------------- */

/* Reads a small text file (at most `limit` bytes) into *buf. */
extern bool glm_file_read(glm_buf *buf, const char *path, size_t limit, glm_error *err);

/* ---- shards.c, safetensors.c ------------------------------------------ */

typedef enum glm_dtype
{
	GLM_F32 = 0,
	GLM_F16,
	GLM_BF16,
	GLM_Q4, /* packed, see packed.h */
	GLM_Q8,
	GLM_I8 /* keys and values only, see kv.c */
} glm_dtype;

typedef struct glm_tensor
{
	const void *data; /* inside a shard, see glm_shards_hold; may be unaligned */
	glm_dtype	dtype;
	int			n_dims;	  /* 1 or 2 */
	int64_t		shape[2]; /* rows, columns; shape[1] = 1 for vectors */
	int			group;	  /* columns that share a scale; packed dtypes only */
} glm_tensor;

typedef struct glm_weight_files glm_weight_files; /* those that are open, to be shared */

extern glm_weight_files *glm_weight_files_open(void);					  /* NULL: out of memory */
extern void				 glm_weight_files_close(glm_weight_files *files); /* when none is open */

/* What rope_ratio means in config.json. */
typedef enum glm_rope
{
	GLM_ROPE_BY_NAME = 0, /* what the name it was published under says */
	GLM_ROPE_CHATGLM2,	  /* it divides positions */
	GLM_ROPE_CHATGLM3	  /* it multiplies the base */
} glm_rope;

/* "chatglm2" or "chatglm3", as the option "rope" has them; false: neither.  In config.c. */
extern bool glm_rope_named(const char *name, glm_rope *rope);

typedef struct glm_open_options
{
	glm_verify		  verify;
	glm_weight_files *files; /* NULL: share with nobody */
	glm_kv_type		  kv_type;
	glm_rope		  rope;
} glm_open_options;

typedef struct glm_shards glm_shards; /* all weight files of a directory */

/*
 * Opens model.safetensors.index.json and its shards, or model.safetensors,
 * or the single *.safetensors there is.  Checks every header whole: offsets
 * inside the file, no overlap, sizes that match dtype and shape, no name
 * twice; every tensor the index names is where it says; a packed directory is
 * what its manifest says.  Maps nothing.
 */
extern glm_shards *glm_shards_open(const char *dir, const glm_open_options *options,
								   glm_error *err);
extern void		   glm_shards_close(glm_shards *shards);
extern uint64_t	   glm_shards_bytes(const glm_shards *shards);
/* "none", "int4" or "int8": what the manifest says. */
extern const char *glm_shards_quantization(const glm_shards *shards);
/* Checks every chunk against the manifest, on two threads; true without one. */
extern bool		   glm_shards_verify(const glm_shards *shards, glm_error *err);
/* Path of the file that holds a tensor of this name, NULL when none does. */
extern const char *glm_shards_file(const glm_shards *shards, const char *name);

/* Finds a tensor of exactly this shape (cols 0: a vector of rows). */
extern bool glm_shards_find(const glm_shards *shards, const char *name, int64_t rows, int64_t cols,
							glm_tensor *out, glm_error *err);

/*
 * A tensor that was found has an address, but its bytes can be read only while
 * it is held; every hold is given back by one drop.  Thread-safe.
 */
extern bool glm_shards_hold(const glm_shards *shards, const glm_tensor *tensor, glm_error *err);
extern void glm_shards_drop(const glm_shards *shards, const glm_tensor *tensor);
/* Brings the pages of a tensor that is held into memory, with pauses; false: ended. */
extern bool glm_shards_populate(const glm_shards *shards, const glm_tensor *tensor, glm_error *err);
/* Copies a tensor's bytes without mapping them: for small ones. */
extern bool glm_shards_read(const glm_shards *shards, const glm_tensor *tensor, void *to,
							glm_error *err);
extern size_t glm_tensor_bytes(const glm_tensor *tensor);

/* ---- tokenizer.c ----------------------------------------------------- */

typedef struct glm_tokenizer glm_tokenizer;

/* Special ids, in the order in which they follow the SentencePiece vocabulary. */
typedef enum glm_special
{
	GLM_SP_MASK = 0,
	GLM_SP_GMASK,
	GLM_SP_SMASK,
	GLM_SP_SOP,
	GLM_SP_EOP,
	GLM_SP_SYSTEM,
	GLM_SP_USER,
	GLM_SP_ASSISTANT,
	GLM_SP_OBSERVATION,
	GLM_N_SPECIAL
} glm_special;

/* Growable list of token ids. */
typedef struct glm_ids
{
	int32_t *data;
	size_t	 length;
	size_t	 capacity;
	bool	 counted; /* only that: there is no data */
} glm_ids;

extern bool glm_ids_add(glm_ids *ids, int32_t id, glm_error *err);
extern void glm_ids_free(glm_ids *ids);

/* Opens dir/tokenizer.model.  Ids must all be below `vocab` (the padded one). */
extern glm_tokenizer *glm_tokenizer_open(const char *dir, int vocab, glm_error *err);
extern void			  glm_tokenizer_close(glm_tokenizer *tok);

/* The functions below are thread-safe: a tokenizer is immutable. */
/* How many ids mean something: pieces and special tokens, no padding. */
extern int	   glm_tokenizer_size(const glm_tokenizer *tok);
/* Most bytes of text that one id can stand for. */
extern size_t  glm_tokenizer_longest(const glm_tokenizer *tok);
extern int32_t glm_tokenizer_special(const glm_tokenizer *tok, glm_special which);
extern bool glm_tokenizer_encode(const glm_tokenizer *tok, const char *text, size_t n, glm_ids *out,
								 glm_error *err); /* appends, with pauses */
/* The same, but stops where *out has more than `most` ids, and says if it did. */
extern bool glm_tokenizer_encode_most(const glm_tokenizer *tok, const char *text, size_t n,
									  size_t most, bool *stopped, glm_ids *out, glm_error *err);
/* Text of ids; special ids by name, ids past the vocabulary are an error. */
extern bool glm_tokenizer_decode(const glm_tokenizer *tok, const int32_t *ids, size_t n,
								 glm_buf *out, glm_error *err);

/*
 * The streaming half of decode: text of one answer, token by token.  Holds
 * back incomplete UTF-8, what may become a stop string and, in a chat answer,
 * the empty metadata line with the blanks around the content.  Special ids give
 * no text, but <|assistant|> begins another turn of a chat answer.  All text of all pushes plus the finish is what glm_generate shows.
 */
typedef struct glm_decoder glm_decoder;

extern glm_decoder *glm_decoder_open(const glm_tokenizer *tok, bool chat, const char *stop,
									 size_t stop_length);
extern void			glm_decoder_close(glm_decoder *dec);
/* A NUL between the turns of the answer, and a newline before content: see glm_answer_parse_turns(). */
extern void			glm_decoder_mark_turns(glm_decoder *dec);
/* Appends the text that is certain now; *stopped when a stop string came. */
extern bool			glm_decoder_push(glm_decoder *dec, int32_t id, glm_buf *out, bool *stopped);
extern bool			glm_decoder_finish(glm_decoder *dec, glm_buf *out);

/* ---- prompt.c -------------------------------------------------------- */

/* The ids of a request's prompt, by its form (see GLM.md for the template). */
extern bool glm_prompt_build(const glm_tokenizer *tok, const glm_request *req, glm_ids *out,
							 glm_error *err);
/*
 * The same for a request that is to be computed: cut as it says where it does not fit the
 * context (truncate.h), or given up with GLM_TOO_LONG once it has more than `most` ids,
 * which is soon told of a text of megabytes.
 */
extern bool glm_prompt_fit(const glm_tokenizer *tok, const glm_request *req, int context,
						   size_t most, glm_ids *out, glm_error *err);

/* ---- config.c, model.c ------------------------------------------------ */

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

/* ---- kv.c: one pool for the keys and values of all models ------------- */

#define GLM_KV_BLOCK 32 /* positions in a block */
#define GLM_KV_GROUP 32 /* elements of a head that share a scale, GLM_I8 only */

typedef struct glm_kv_pool glm_kv_pool;

/* The blocks of one sequence; block[i] holds positions [32 i, 32 i + 32). */
typedef struct glm_kv_table
{
	float **block; /* [capacity] */
	int		n_blocks;
	int		capacity;
} glm_kv_table;

extern glm_kv_pool *glm_kv_pool_open(size_t bytes);
extern void			glm_kv_pool_close(glm_kv_pool *pool);
extern uint64_t		glm_kv_pool_total(const glm_kv_pool *pool);
extern uint64_t		glm_kv_pool_used(const glm_kv_pool *pool); /* any thread */

/* The dtype of a model's keys and values, by the dtype of its weights. */
extern glm_dtype glm_kv_dtype(glm_kv_type type, glm_dtype weights);
/* Groups with a scale that a head has, the last one may be smaller. */
extern int		 glm_kv_groups(int head_dim);
/* Bytes of the keys, or of the values, of 32 positions of one KV head. */
extern size_t	 glm_kv_part_bytes(const glm_model_config *config, glm_dtype dtype);
/* Bytes of one block of this model: 32 positions, K and V, all layers. */
extern size_t	 glm_kv_block_bytes(const glm_model_config *config, glm_dtype dtype);

/* Could the pool, all empty, ever hold n blocks of this size? */
extern bool	  glm_kv_fits(const glm_kv_pool *pool, size_t block_bytes, int n);
/* Takes n blocks into an empty table, or none at all and returns false. */
extern bool	  glm_kv_take(glm_kv_pool *pool, size_t block_bytes, int n, glm_kv_table *table);
extern void	  glm_kv_give(glm_kv_pool *pool, size_t block_bytes, glm_kv_table *table);
/* The same for a single block; NULL when there is no room for it. */
extern float *glm_kv_take_block(glm_kv_pool *pool, size_t block_bytes);
extern void	  glm_kv_give_block(glm_kv_pool *pool, size_t block_bytes, float *block);

/* ---- threads.c: the compute pool ------------------------------------- */

typedef struct glm_threads glm_threads;

/* part(arg, index, count) runs once for each index in [0, count). */
typedef void (*glm_part)(void *arg, int index, int count);

extern glm_threads *glm_threads_open(int count, glm_error *err);
extern void			glm_threads_close(glm_threads *pool);
extern int			glm_threads_count(const glm_threads *pool);
/* Lets them run on these CPUs only; see glm_cpus_check. */
extern bool			glm_threads_bind(const glm_threads *pool, const char *cpus);
/* Runs part on all threads, the caller's among them; returns when all are done. */
extern void			glm_threads_run(glm_threads *pool, glm_part part, void *arg);

/* First thing every engine thread does: marks itself, takes a signal stack. */
extern void glm_thread_enter(const char *name);

/* ---- affinity.c: lists of CPUs, see glm_cpus_check ---------------------- */

/* How many CPUs a list names, or the process has; 0 and *err when one is not there. */
extern int	glm_cpus_count(const char *list, glm_error *err);
/* Lets a thread run on these CPUs only. */
extern bool glm_cpus_bind(pthread_t thread, const char *list);

/* ---- forward.c ------------------------------------------------------- */

typedef struct glm_row
{
	int32_t				token;
	int32_t				position;
	const glm_kv_table *kv;		/* has a block for this position */
	bool				logits; /* wanted for this row? */
} glm_row;

typedef struct glm_forward glm_forward; /* scratch buffers and the compute pool */

/* kernels: see glm_config; max_rows: most rows of one pass. */
extern glm_forward *glm_forward_open(const char *kernels, glm_threads *pool, int max_rows,
									 glm_error *err);
extern void			glm_forward_close(glm_forward *fwd);
extern const char  *glm_forward_kernels(const glm_forward *fwd);
/* Grows the scratch buffers to what this model needs.  Engine thread, between passes. */
extern bool			glm_forward_prepare(glm_forward *fwd, const glm_model *model, glm_error *err);

/*
 * One forward pass over n_rows rows.  Rows of one sequence are neighbours in
 * ascending position; positions before the first have their KV in place.
 * Writes the KV of every row; logits of the rows that want them land in
 * *logits as [n, vocab] fp32 in row order (memory of fwd, good until the next
 * pass).  Each row's result depends on its own sequence only, bit for bit.
 */
extern bool glm_forward_run(glm_forward *fwd, const glm_model *model, const glm_row *rows,
							int n_rows, float **logits, glm_error *err);

/* ---- sample.c -------------------------------------------------------- */

typedef struct glm_sampler glm_sampler;

/* Samples among the first n_ids ids: those behind are padding of the vocabulary. */
extern glm_sampler *glm_sampler_open(const glm_request *req, int n_ids);
extern void			glm_sampler_close(glm_sampler *s);
/* Counts a token of the prompt or the answer for the repetition penalty. */
extern void			glm_sampler_see(glm_sampler *s, int32_t token);
/*
 * Picks the next token of the answer from logits [n_ids] (changed in place).
 * `index` numbers the draws of a request: the same seed and index give the
 * same random number.  *logprob (may be NULL) is ln p(token) by the model
 * itself, before temperature and penalties.  false: GLM_NOT_FINITE.
 */
extern bool			glm_sampler_pick(glm_sampler *s, float *logits, uint64_t index, int32_t *token,
									 float *logprob, glm_error *err);

#endif /* GLM_INTERNAL_H */
