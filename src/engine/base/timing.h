/*
 * timing.h - what became of one request and when, and how such figures are put into classes.
 */
#ifndef GLM_TIMING_H
#define GLM_TIMING_H

#include <stdint.h>

/* How far a request is. */
typedef enum glm_stage
{
	GLM_STAGE_READING = 0, /* waits to be read, is read, or is answered without passes */
	GLM_STAGE_LOADING,	   /* waits for its model */
	GLM_STAGE_WAITING,	   /* for a place and KV memory, for the first time or again */
	GLM_STAGE_PREFILL,	   /* computed, and nothing of an answer is there yet */
	GLM_STAGE_DECODE,
	GLM_STAGE_PAUSED, /* computed no further until its reader has read */
	GLM_STAGE_JOB,	  /* quantizes a model */
	GLM_N_STAGE
} glm_stage;

/* "reading", "loading" ...; "unknown" for what is no stage. */
extern const char *glm_stage_name(glm_stage stage);

/*
 * Classes of durations and of numbers of tokens, with their upper bounds, which belong to
 * them; in the last one is what is above all bounds.
 */
#define GLM_N_TIME_BOUNDS 18
#define GLM_N_TOKEN_BOUNDS 14
extern const int64_t glm_time_bounds[GLM_N_TIME_BOUNDS]; /* microseconds, ascending */
extern const int64_t glm_token_bounds[GLM_N_TOKEN_BOUNDS];

/* The class of a value: 0 to n. */
extern int glm_bound_of(int64_t value, const int64_t *bounds, int n);

/* What passes do for a request. */
typedef enum glm_work_kind
{
	GLM_WORK_PREFILL_MATMUL = 0, /* of layers, with norms and activations */
	GLM_WORK_PREFILL_ATTENTION,
	GLM_WORK_DECODE_MATMUL,
	GLM_WORK_DECODE_ATTENTION,
	GLM_WORK_HEAD,		/* logits, and hidden states that are wanted */
	GLM_WORK_SAMPLE,	/* tokens drawn where any may come */
	GLM_WORK_CONSTRAIN, /* and where not all may */
	GLM_WORK_DELIVER,	/* tokens made text and passed on */
	GLM_WORK_COPY,		/* waiting for a device with memory of its own, and reading from it */
	GLM_N_WORK
} glm_work_kind;

/* "prefill matmul", "decode matmul" ... */
extern const char *glm_work_name(glm_work_kind work);

/* Its share of passes that did it for several requests, by rows or by what they attend to. */
typedef struct glm_spent
{
	uint64_t calls; /* passes */
	int64_t	 ns;
	uint64_t bytes; /* of weights, or keys and values, that are read for it */
	uint64_t ops;	/* multiplications and additions */
} glm_spent;

/*
 * One request, from its submission on.  Times are nanoseconds of CLOCK_MONOTONIC; 0: it did
 * not come so far.
 */
typedef struct glm_timing
{
	int64_t	  submitted_ns;
	int64_t	  begun_ns;	   /* first looked at by a thread */
	int64_t	  ready_ns;	   /* its prompt is read and its model in memory */
	int64_t	  admitted_ns; /* first */
	int64_t	  first_ns;	   /* the first token of its answer was there */
	int64_t	  last_ns;	   /* the last one so far */
	int64_t	  ended_ns;
	glm_stage stage; /* in which it ended */
	int32_t	  prompt_tokens;
	int32_t	  cached_tokens; /* of these, found in the prefix cache */
	int32_t	  completion_tokens;
	int32_t	  draft_tokens;
	int32_t	  accepted_tokens;
	int32_t	  preemptions;
	/*
	 * Between tokens: n that come of one pass count n times, each a part of the time since
	 * the pass before; the first ones have none before them.
	 */
	uint32_t  gap[GLM_N_TIME_BOUNDS + 1];
	int64_t	  gap_ns; /* the sum */
	glm_spent spent[GLM_N_WORK];
} glm_timing;

/* n >= 1 tokens of its answer are there at this time. */
extern void glm_timing_tokens(glm_timing *timing, int n, int64_t now_ns);

struct glm_engine;

/* How far the request of a live ticket is. */
extern glm_stage glm_engine_stage(const struct glm_engine *engine, int ticket);

/*
 * What became of the request whose terminal event was polled last; the caller's until the
 * next one is submitted.
 */
extern const glm_timing *glm_engine_timing(const struct glm_engine *engine, int ticket);

#endif /* GLM_TIMING_H */
