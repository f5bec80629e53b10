/*
 * glm.h - public API of libglm, the inference engine behind chatglm.
 *
 * The engine runs GLM models on its own threads and never calls back into
 * its host.  The host submits requests (one flat block of bytes each), reads
 * events (flat blocks too) and may poll a file descriptor between the two.
 * All functions below are called from ONE host thread, the one that opened
 * the engine, unless a comment says otherwise; none of them waits for
 * computation.
 *
 *     ticket = glm_engine_submit(engine, request)
 *     poll(glm_engine_fd(engine)) ... glm_engine_poll(engine, buf) -> event
 *
 * A submitted request ends in exactly one terminal event (GLM_EVENT_DONE or
 * GLM_EVENT_ERROR); its ticket is free again once that event has been polled.
 */
#ifndef GLM_H
#define GLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/drawing.h"	 /* glm_bias, glm_told */
#include "engine/base/inject.h"		 /* GLM_INJECT */
#include "engine/base/observation.h" /* glm_stats, glm_model_info, glm_progress */
#include "engine/base/results.h"	 /* glm_quantized, glm_token_logprob */
#include "engine/base/status.h"		 /* glm_error */
#include "engine/base/timing.h"		 /* glm_stage, glm_timing */
#include "engine/base/wire.h"		 /* glm_fragment; glm_event_check and others */

/* ---- Requests -------------------------------------------------------- */

typedef enum glm_kind
{
	GLM_GENERATE = 1, /* text from a prompt; see glm_form */
	GLM_LOGITS,		  /* next-token logits after `tokens` */
	GLM_SCORE,		  /* how likely each `continuation` of the prompt is, of these alone */
	GLM_LOGPROBS,	  /* how likely each token of `continuation` is behind the prompt */
	GLM_TOKENIZE,	  /* `text` -> ids */
	GLM_DETOKENIZE,	  /* `tokens` -> text */
	GLM_COUNT_TOKENS, /* `text` -> usage.prompt_tokens of DONE */
	GLM_CHAT_TOKENS,  /* `text` -> ids of its prompt; see glm_form */
	GLM_LOAD,		  /* load the model, keep it */
	GLM_UNLOAD, /* drop it when nobody uses it; without `path`: if its name was this origin's alone */
	GLM_QUANTIZE, /* write `target`, a packed directory; see glm_quantized */
	GLM_EMBED,	  /* `text` -> float[hidden]; see glm_pooling */
	GLM_PASSAGES, /* `text` -> texts of at most max_tokens tokens, each ended by a NUL */
	GLM_N_KIND
} glm_kind;

/* "generate", "logits" ...; "unknown" for what is no kind.  Thread-safe. */
extern const char *glm_kind_name(glm_kind kind);

/* How `text` becomes the ids of a prompt. */
typedef enum glm_form
{
	GLM_RAW = 0, /* the prefix of prompts ([gMASK] sop), then text, continued as it is */
	GLM_PROMPT,	 /* chat template: [system,] user = text */
	GLM_MESSAGES /* text is a JSON array of messages */
} glm_form;

/* What is cut away from the user's text when the prompt does not fit; see truncate.h. */
typedef enum glm_truncate
{
	GLM_TRUNCATE_ERROR = 0, /* nothing: it is an error */
	GLM_TRUNCATE_HEAD,		/* its beginning */
	GLM_TRUNCATE_TAIL,		/* its end */
	GLM_TRUNCATE_MIDDLE
} glm_truncate;

/* What an answer has to be; what `constraint` holds then. */
typedef enum glm_constraint_kind
{
	GLM_UNCONSTRAINED = 0,
	GLM_JSON_OBJECT, /* any JSON object; nothing */
	GLM_JSON_SCHEMA, /* a JSON value that this schema allows */
	GLM_CHOICES,	 /* one of these texts, a JSON array of strings */
	GLM_REGEX,		 /* what this pattern matches as a whole */
	GLM_TOOL_CALL, /* a call of one of the tools of this JSON array, each {"name", "parameters"} */
	GLM_N_CONSTRAINTS
} glm_constraint_kind;

/* In what order the properties of objects come. */
typedef enum glm_property_order
{
	GLM_ORDER_STRICT = 0, /* that of the schema */
	GLM_ORDER_ANY
} glm_property_order;

/* White space between the tokens of JSON. */
typedef enum glm_json_space
{
	GLM_SPACE_EXACT = 0, /* one blank after each comma and colon, as Python's json.dumps */
	GLM_SPACE_COMPACT,	 /* none */
	GLM_SPACE_ANY		 /* what JSON allows, a few bytes at a place */
} glm_json_space;

/* Which hidden states of a text become its vector. */
typedef enum glm_pooling
{
	GLM_POOL_MEAN = 0, /* the mean over all its tokens */
	GLM_POOL_LAST	   /* that of the last token */
} glm_pooling;

/* Bytes inside a request block: [offset, offset + length), then a NUL. */
typedef struct glm_span
{
	uint32_t offset; /* from the start of the block; 0 = absent (NULL) */
	uint32_t length; /* bytes, the NUL not counted */
} glm_span;

#define GLM_REQUEST_MAX (64u << 20) /* bytes of one request block */

/*
 * A request is one contiguous block: this header, then the bytes its spans
 * point at.  The same block travels the queue and lives in the engine.
 */
typedef struct glm_request
{
	uint32_t size; /* bytes of the whole block */
	uint16_t kind; /* glm_kind */
	uint16_t form; /* glm_form */
	uint64_t id;   /* the client's own number, echoed in events */

	/* models are known by name and path, a directory; options are those of the first to come */
	glm_span model;
	glm_span path;
	glm_span options; /* model options, JSON object or absent; QUANTIZE: its own */
	glm_span target;  /* QUANTIZE: absolute path of a new directory */
	/* of the model's files, see glm_model_identity(): no others will do; absent: any will */
	glm_span identity;

	glm_span label; /* the host's own, for its statistics */

	glm_span text;		 /* prompt, messages or text; QUANTIZE: calibration texts */
	glm_span system;	 /* system prompt or absent */
	glm_span tools;		 /* JSON array or absent */
	glm_span stop;		 /* stop strings, each ended by a NUL */
	glm_span tokens;	 /* int32_t[length / 4], 4-byte aligned */
	glm_span bias;		 /* glm_bias[length / 8], 4-byte aligned; no token twice */
	glm_span constraint; /* see glm_constraint_kind */
	/*
	 * LOGPROBS: a text; SCORE: a JSON array of labels, each a text or an array of the texts
	 * that say it
	 */
	glm_span continuation;

	int32_t	 max_tokens;		 /* >= 1; clipped to the room in the context */
	int32_t	 top_k;				 /* 0 = off */
	double	 temperature;		 /* 0 = greedy */
	double	 top_p;				 /* (0, 1] */
	double	 min_p;				 /* [0, 1], 0 = off */
	double	 repetition_penalty; /* > 0, 1 = off */
	double	 frequency_penalty;	 /* 0 = off; for each time that a token is in the answer */
	double	 presence_penalty;	 /* 0 = off; where it is there at all */
	uint64_t seed;
	uint64_t scope;		  /* what caches hold is shared within it only; 0: with nobody */
	int32_t	 timeout_ms;  /* 0 = none */
	uint32_t tenant;	  /* on whose behalf: tenants take turns */
	int32_t	 overlap;	  /* PASSAGES: most tokens that one shares with the next */
	uint32_t origin;	  /* whose names these are: within it a model's name means one path */
	uint8_t	 stream;	  /* one TOKEN event a token, else text at the end */
	uint8_t	 add_special; /* TOKENIZE: put the prefix of prompts in front */
	uint8_t	 batch;		  /* comes after all requests that are not */
	uint8_t	 turns;		  /* text at the end: turns marked, see glm_answer_parse_turns() */
	uint8_t	 truncate;	  /* glm_truncate: of a prompt that does not fit */
	uint8_t	 mark;		  /* the host's own: what it does with the answer is part of what it asks */
	uint8_t	 constrained; /* glm_constraint_kind */
	uint8_t	 property_order; /* glm_property_order */
	uint8_t	 json_space;	 /* glm_json_space */
	uint8_t	 pooling;		 /* glm_pooling */
	uint8_t	 normalize;		 /* EMBED: to length 1 */
	uint8_t	 logprobs;		 /* 0: off; else 1 + how many likeliest tokens are told, see glm_told */
	uint8_t
		top_logprobs; /* LOGPROBS: tokens told of each place; SCORE: 1: the likeliest label alone */
	uint8_t pad[3];
} glm_request;

/* Is this block of `size` bytes a request we may touch?  Thread-safe. */
extern bool glm_request_check(const void *block, size_t size, glm_error *err);

/*
 * The same in two parts: all but the bytes of text, system, tools, constraint and
 * continuation, which takes no time, and these, after it.  The engine checks the texts of what is submitted itself.
 */
extern bool glm_request_check_frame(const void *block, size_t size, glm_error *err);
extern bool glm_request_check_texts(const glm_request *req, glm_error *err);

/* The bytes of a span as a C string, NULL when absent.  Thread-safe. */
extern const char *glm_request_text(const glm_request *req, glm_span span);

/* ---- Events ---------------------------------------------------------- */

/* The ways in which chat models write their answers. */
typedef enum glm_chat_format
{
	GLM_CHAT_NONE = 0,
	GLM_CHAT_CHATGLM3,
	GLM_N_CHAT_FORMATS
} glm_chat_format;

typedef enum glm_event_kind
{
	GLM_EVENT_TOKEN = 1, /* stream: token_id, logprob, text = delta (may be empty) */
	GLM_EVENT_RESULT,	 /* a piece of the result: text, ids, logits, probabilities */
	GLM_EVENT_LOGPROBS, /* a piece of what is told of its tokens, after all of the text: glm_told */
	GLM_EVENT_DONE,		/* terminal: finish, usage */
	GLM_EVENT_ERROR		/* terminal: status, advice, text = message NUL hint NUL */
} glm_event_kind;

typedef enum glm_finish
{
	GLM_FINISH_NONE = 0,
	GLM_FINISH_STOP,  /* stop id or stop string */
	GLM_FINISH_LENGTH /* max_tokens or context reached */
} glm_finish;

#define GLM_EVENT_PAYLOAD 8192 /* most payload bytes in one event */

/* An event is one contiguous block too: this header, then `length` bytes. */
typedef struct glm_event
{
	uint16_t kind;	 /* glm_event_kind */
	uint16_t chat;	 /* DONE, last TOKEN: glm_chat_format of the model */
	uint32_t length; /* payload bytes behind the header */
	uint64_t id;	 /* the request's id */
	int32_t	 ticket; /* what glm_engine_submit returned */
	union
	{
		int32_t token_id; /* TOKEN */
		int32_t advice;	  /* ERROR: glm_advice */
		int32_t context;  /* DONE of what needs a tokenizer alone: most tokens of the model */
	};
	float	 logprob; /* TOKEN: natural log of the model's probability */
	uint16_t finish;  /* DONE: glm_finish; the last TOKEN carries it too */
	uint16_t status;  /* ERROR: glm_status */
	union
	{
		int32_t prompt_tokens; /* DONE: usage */
		int32_t told;		   /* TOKEN: bytes at the payload's end that are not text: glm_told */
	};
	int32_t completion_tokens;
	int32_t cached_tokens;	 /* of the prompt, found in the prefix cache */
	int32_t accepted_tokens; /* of the answer, that were in drafts */
	char	payload[];		 /* right behind: the header has no padding */
} glm_event;

#define GLM_EVENT_MAX (sizeof(glm_event) + GLM_EVENT_PAYLOAD)

/* ---- Engine ---------------------------------------------------------- */

typedef struct glm_engine glm_engine;

/* When the SHA-256 of a packed model's chunks are checked against its manifest. */
typedef enum glm_verify
{
	GLM_VERIFY_FIRST_MAP = 0, /* before the first pass, each chunk that was not yet */
	GLM_VERIFY_FULL,		  /* all of them while the model is loaded */
	GLM_VERIFY_OFF
} glm_verify;

/* Their names, by number; NULL at the end. */
extern const char *const glm_verify_names[];

/*
 * An option of a model, as glm_request.options has them: {"verify": "full", ...}.  The value
 * of a choice is that of its enum: first, first + 1, ...
 */
typedef struct glm_model_option
{
	const char		  *name;
	int				   first;
	const char *const *values; /* NULL at the end */
	const char		  *rule;   /* the values as a message lists them */
} glm_model_option;

/* All there are, by name; one without a name at the end. */
extern const glm_model_option glm_model_options[];

/* Whether tokens that can be predicted are computed several at a time. */
typedef enum glm_speculation
{
	GLM_SPECULATE_AUTO = 0, /* where it pays, as measured */
	GLM_SPECULATE_OFF,
	GLM_SPECULATE_ALWAYS /* whatever can be predicted, for tests */
} glm_speculation;

/* In what keys and values are kept. */
typedef enum glm_kv_type
{
	GLM_KV_AUTO = 0, /* fp16 for packed models, fp32 for the others */
	GLM_KV_F32,
	GLM_KV_F16,
	GLM_KV_INT8
} glm_kv_type;

typedef struct glm_config
{
	int			threads; /* compute threads; 0 = one a CPU */
	const char *cpus;	 /* that compute threads may run on; "" or NULL = any, see glm_cpus_check */
	size_t		kv_cache_size;	 /* bytes of the KV pool */
	size_t		memory_limit;	 /* bytes of mapped weights kept; 0 = no limit */
	int			max_sequences;	 /* sequences computed side by side */
	int			max_queue;		 /* requests waiting beside them */
	int			prefill_budget;	 /* prompt tokens computed in one step, 1..GLM_PREFILL_MAX */
	const char *kernels;		 /* of the CPU: "auto", "scalar", "avx2", "avx512", "neon" */
	const char *device;			 /* "cpu", "cuda:0"; NULL or "auto" = the first that can be used */
	const char *backend_library; /* file with the backend for GPUs; NULL = there is none */
	bool		fallback;		 /* the CPU computes where the device cannot be had */
	bool		fast; /* a GPU may come to other bits than the CPU, where it is faster so */
	/* A device of a kind that is not built in, by the name in it; NULL = there is none. */
	const struct glm_backend *backend;
	glm_verify				  verify;  /* of models whose options do not say */
	glm_kv_type				  kv_type; /* of all models */
} glm_config;

/*
 * Starts the engine's threads.  The caller blocks the signals it does not
 * want them to take before the call; see glm_engine_thread().
 * NULL and *err on failure (bad kernels name: GLM_BAD_ARGUMENT; a table this
 * CPU lacks: GLM_UNSUPPORTED).
 */
extern glm_engine *glm_engine_open(const glm_config *config, glm_error *err);

/* Stops and joins the threads.  Unfinished requests get no event. */
extern void glm_engine_close(glm_engine *engine);

/*
 * For a host that leaves without closing the engine: ends a GLM_QUANTIZE that runs, waits
 * until it has removed what it wrote, and lets no other start.
 */
extern void glm_engine_quit_job(glm_engine *engine);

/* Removes what a GLM_QUANTIZE for this target left that died with its process. */
extern void glm_quantize_sweep(const char *target);

/*
 * Takes a copy of a request whose frame was checked.  Returns its ticket (>= 0, below
 * max_sequences + max_queue), or -1 with *err (GLM_BUSY).
 */
extern int glm_engine_submit(glm_engine *engine, const glm_request *req, glm_error *err);

/*
 * The same without a copy: memory from glm_request_new() (NULL: there is none) becomes the
 * engine's, but stays the caller's when the result is -1.
 */
extern int			glm_engine_give(glm_engine *engine, glm_request *req, glm_error *err);
extern glm_request *glm_request_new(size_t size);
extern void			glm_request_free(glm_request *req);

/* Ends a request early: its terminal event is ERROR / GLM_CANCELLED. */
extern void glm_engine_cancel(glm_engine *engine, int ticket);

/*
 * Tells how many TOKEN events of a streaming request its reader has taken so
 * far.  A sequence pauses while GLM_OUTBOX of them are made but not taken.
 */
#define GLM_OUTBOX 16
extern void glm_engine_taken(glm_engine *engine, int ticket, uint32_t taken);

/* How many tokens the answer to a live ticket has so far.  Thread-safe. */
extern int glm_engine_generated(const glm_engine *engine, int ticket);

/* Is this a list of CPUs, like "0-3,8", or empty?  *err says why not. */
extern bool glm_cpus_check(const char *list, glm_error *err);

/* Could an engine be opened with these CPUs, with kernels of this name?  *err says why not. */
extern bool glm_cpus_there(const char *list, glm_error *err);
extern bool glm_kernels_there(const char *name, glm_error *err);

/*
 * Is this what a device can be called?  And could it be there?  *err says why not.  Asks no
 * driver: of a GPU it is known only whether there is the library, see glm_config.
 */
extern bool glm_device_check(const char *name, glm_error *err);
extern bool glm_device_there(const char *name, const char *backend_library, glm_error *err);

/*
 * Has the device that computes been lost?  *err says how.  All requests for passes fail then:
 * the host looks after it took events, and goes, or opens another engine.
 */
extern bool glm_engine_lost(const glm_engine *engine, glm_error *err);

/* A descriptor that is readable when events are ready (an eventfd). */
extern int glm_engine_fd(const glm_engine *engine);

/*
 * Copies the next event into buf (GLM_EVENT_MAX bytes); false when there is
 * none.  Clears the descriptor once the last one is taken.
 */
extern bool glm_engine_poll(glm_engine *engine, glm_event *buf);

/* Prompt tokens computed in one step from now on, at most GLM_PREFILL_MAX. */
#define GLM_PREFILL_MAX 512
extern void glm_engine_set_prefill_budget(glm_engine *engine, int tokens);

/* Do devices choose by measuring what is fastest; do weights move to huge pages?  At first they do. */
extern void glm_engine_set_tuning(glm_engine *engine, bool on);
extern void glm_engine_set_huge_pages(glm_engine *engine, bool on);

/* Never changes an answer; GLM_SPECULATE_AUTO at first. */
extern void glm_engine_set_speculation(glm_engine *engine, glm_speculation speculation);

/* How models are verified that are loaded from now on. */
extern void glm_engine_set_verify(glm_engine *engine, glm_verify verify);

/*
 * For tests and demonstrations: sleep this long after every step, and draft nothing.  A sleep
 * that has begun becomes longer or shorter; requests are admitted and cancelled meanwhile.
 */
extern void glm_engine_set_step_delay(glm_engine *engine, int ms);

/* Is the calling thread one of the engine's?  Async-signal-safe. */
extern bool glm_engine_thread(void);

/* ---- Observation ----------------------------------------------------- */

extern void glm_engine_stats(glm_engine *engine, glm_stats *out);

extern void glm_engine_progress(glm_engine *engine, glm_progress *out);

/* Fills at most `max` entries with the loaded models, returns how many. */
extern int glm_engine_models(glm_engine *engine, glm_model_info *out, int max);

/* ---- What a model is (thread-safe, with pauses) -------------------------- */

/*
 * The version of the arithmetic: goes up whenever a model may come to other bits, or a text to
 * other tokens, than by the code before.
 */
#define GLM_ARITHMETIC 1

#define GLM_MODEL_HASH 65 /* a SHA-256 in hex, and its NUL */

/*
 * Tells which files a directory has, by their names, devices, inodes, sizes and times: as long
 * as that is the same, so is what is in them.  Reads none of them.  *packed: has it a manifest?
 */
extern bool glm_model_identity(const char *path, char identity[GLM_MODEL_HASH], bool *packed,
							   glm_error *err);

/* The SHA-256 of a directory's contents; of a packed one, of its manifest. */
extern bool glm_model_hash(const char *path, char hash[GLM_MODEL_HASH], glm_error *err);

/* Makes it the hash of a model that is opened with these options, if they matter. */
extern bool glm_model_hash_with(const char *options, char hash[GLM_MODEL_HASH], glm_error *err);

/* ---- Long work that can be ended --------------------------------------- */

/* Looks whether the work is still wanted; false: stop, *err (may be NULL) says why. */
typedef bool (*glm_pause_hook)(void *arg, glm_error *err);

/*
 * Whom long work in the calling thread asks every few milliseconds from now on;
 * NULL: nobody.  The engine's own threads have theirs.
 */
extern void glm_pause_with(glm_pause_hook hook, void *arg);

/* ---- Texts in units (pure functions, thread-safe) ---------------------- */

typedef enum glm_unit
{
	GLM_UNIT_WORD,
	GLM_UNIT_SENTENCE,
	GLM_UNIT_PARAGRAPH
} glm_unit;

/*
 * The next unit of a text, which is valid UTF-8, at or behind byte *to: bytes [*from, *to);
 * begin with *to = 0.  White space between units, and what is no word between words, is in
 * none.  false: there is no more.
 */
extern bool glm_next_unit(glm_unit unit, const char *text, size_t n, size_t *from, size_t *to);

/* ---- Answers of a chat model (pure functions, thread-safe) ----------- */

/*
 * Splits an answer of a model that writes in this format, as it was shown, into content and
 * tool calls; an empty first line means content.  Result: a JSON object in malloc'd memory,
 * {"content": text or null, "tool_calls": [{"name": text, "arguments": "JSON"}]}, tool_calls
 * left out when there are none; "arguments" is the text of a JSON object (for `interpreter`:
 * {"code": text}).  What cannot be parsed as literals is returned as content, never
 * evaluated.  NULL only when out of memory, when what glm_pause_with() told has ended it, or
 * where there is no such format.
 */
extern char *glm_answer_parse(glm_chat_format format, const char *raw, size_t length);

/*
 * The same for the answer to a request with `turns`: a NUL stands between turns,
 * and each is a metadata line, then content as it stands, so that no content behind an
 * empty one is taken for a call.  Several contents are joined by newlines.
 */
extern char *glm_answer_parse_turns(glm_chat_format format, const char *raw, size_t length);

#endif /* GLM_H */
