/*
 * call.h - what a call asks of the engine, before and as a request.
 */
#ifndef CHATGLM_CALL_H
#define CHATGLM_CALL_H

#include "chatglm.h"

/* Interactive requests come before batch in the worker. */
typedef enum ChatglmPriority
{
	CHATGLM_PRIORITY_UNSAID = 0, /* batch for rows of GlmBatch, else interactive */
	CHATGLM_PRIORITY_INTERACTIVE,
	CHATGLM_PRIORITY_BATCH
} ChatglmPriority;

/* What becomes of an answer that max_tokens or the context cut. */
typedef enum ChatglmOnLength
{
	CHATGLM_ON_LENGTH_KEEP = 0,
	CHATGLM_ON_LENGTH_NULL,
	CHATGLM_ON_LENGTH_ERROR
} ChatglmOnLength;

#define CHATGLM_N_MAX 32 /* answers to one question */

/*
 * What a call wants, before it becomes a glm_request.  NULL strings are
 * absent; zero-initialize and use chatglm_call_defaults().
 */
typedef struct ChatglmCall
{
	glm_kind			 kind;
	glm_form			 form;
	const char			*model;			/* resolved name */
	const char			*path;			/* resolved directory */
	const char			*model_options; /* JSON text; GLM_QUANTIZE: its own options */
	struct ChatglmRoute *route;			/* that was named instead of a model; NULL: none was */
	const char			*route_key;		/* UTF-8; what its choice depends on, NULL: on the texts */
	const char			*identity;		/* of the model's files; NULL: any */
	const char			*label;			/* in statistics; NULL: none */
	const char			*target;		/* GLM_QUANTIZE: directory to write */
	const char			*text;
	Size				 text_length;
	const char			*system;
	const char			*tools;			 /* JSON text */
	StringInfo			 stop;			 /* strings, each with its NUL; NULL = none */
	const char			*constraint;	 /* see glm_constraint_kind */
	const char			*constrained_by; /* the argument that says so */
	const int32			*tokens;
	int					 n_tokens;
	const char			*continuation; /* GLM_SCORE, GLM_LOGPROBS */
	int					 top_logprobs;
	int					 max_tokens;
	int					 top_k;
	double				 temperature;
	double				 top_p;
	double				 min_p;
	double				 repetition_penalty;
	double				 frequency_penalty;
	double				 presence_penalty;
	glm_bias			*bias;
	int					 n_bias;
	int					 logprobs; /* as in a glm_request */
	int					 n;		   /* answers; 0: one, and none of several */
	uint64				 group; /* scope of its requests where they share with no others; 0: none */
	uint64				 seed;
	int					 timeout_ms;
	bool				 stream;
	bool				 add_special;
	ChatglmPriority		 priority;
	bool				 in_flight;			/* one of several rows that are asked for at a time */
	bool				 max_tokens_unsaid; /* they are the setting's */
	bool				 no_cache;			/* options.cache = false */
	bool				 role_cache;		/* shared with no other role */
	bool				 tools_offered;		/* the answer may be a call */
	ChatglmOnLength		 on_length;			/* of no concern to the worker */
	glm_truncate		 truncate;
	glm_constraint_kind	 constrained;
	glm_property_order	 property_order;
	glm_json_space		 json_space;
	glm_pooling			 pooling;
	bool				 normalize;
	int					 overlap;
	const char			*kept; /* what value() needs of the arguments; not for the worker */
	Size				 kept_length;
} ChatglmCall;

/* Fills the sampling fields from the GUCs and the documented defaults. */
extern void chatglm_call_defaults(ChatglmCall *call, glm_kind kind);

/* This is the model that it asks. */
struct ChatglmModelRef;
extern void chatglm_call_model(ChatglmCall *call, const struct ChatglmModelRef *ref);

/* The call as one block of bytes, allocated in this context (call.c). */
extern glm_request *chatglm_call_block(const ChatglmCall *call, uint64 id, MemoryContext context);

/* ERROR: more than GLM_REQUEST_MAX bytes. */
extern void chatglm_request_too_large(void) pg_attribute_noreturn();

#endif /* CHATGLM_CALL_H */
