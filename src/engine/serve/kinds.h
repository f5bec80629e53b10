/*
 * kinds.h - the kinds of requests as a table: what each needs, how it is served, what it
 * wants of a forward pass and how the results are taken.
 *
 * A kind is served in one of three ways and has the functions of that one alone:
 *
 *	- answered: with what it needs there, answer() sends the result, and it is over;
 *	- by passes: read_tokens() gives the tokens of a sequence, which is computed as soon
 *	  as its model is in memory; rows from wants_from() on leave what `want` says, and
 *	  take() makes results of it after each pass;
 *	- by a job: start_job() begins one, which sends the result when it is done.
 *
 * A new kind is its number in glm.h, the fields it must have in base/request.c, one entry
 * in kinds.c and one file.
 */
#ifndef GLM_KINDS_H
#define GLM_KINDS_H

#include "engine/serve/sequence.h"

/* What is made ready for a request. */
typedef enum glm_need
{
	GLM_NEEDS_MODEL = 1,	/* its model is open */
	GLM_NEEDS_VERIFIED = 2, /* and verified now, if its options ask for all of it */
	GLM_NEEDS_TEXT = 4,		/* its texts are checked; long ones are read in turns */
	GLM_NEEDS_SAMPLER = 8,	/* max_tokens more tokens may follow, by a sampler and drafts */
	GLM_NEEDS_DECODER = 16, /* which become text */
	GLM_NEEDS_POOL = 32		/* its hidden states are pooled */
} glm_need;

struct glm_request_kind
{
	const char *name;
	unsigned	needs; /* of glm_need */

	/* Sends the result; *tokens is its usage.  model is NULL if it needs none.
	 * NULL: there is no result. */
	bool (*answer)(glm_engine *engine, int ticket, const glm_request *req, const glm_model *model,
				   int *tokens, glm_error *err);

	/* The tokens of a sequence, without those that it comes to. */
	bool (*read_tokens)(const glm_request *req, const glm_model *model, glm_ids *tokens,
						glm_error *err);
	/*
	 * Makes what the sequence has of this kind alone, seq->own, may change these tokens, and
	 * says by seq->more how many can come behind them at most.  Both functions or none.
	 */
	bool (*open)(glm_sequence *seq, glm_error *err);
	void (*close)(void *own);
	/* Takes tokens behind the prompt back and goes on by others: their KV is never shared. */
	bool	 goes_back;
	/* What rows leave, and the first position of which it is wanted, never a cached one. */
	glm_want want;
	int (*wants_from)(const glm_sequence *seq);
	/* How the device may pick by the logits of the i-th such row, asked of one after the other;
	 * false, as is NULL for all rows: it may not, the logits themselves are wanted. */
	bool (*describe)(const glm_sequence *seq, int i, glm_pick_room *room, glm_pick *pick);
	/*
	 * What else may stand behind the prompt in the next pass, whose last row leaves what `want`
	 * says, behind the sequence's own: ids [n] of the i-th branch; false: there are no more.
	 * NULL: it has none.
	 */
	bool (*branch)(const glm_sequence *seq, int i, const int32_t **ids, int *n);
	/* The part of the results that is heavy: in a compute thread; may be NULL.  Where it lacks
	 * logits, which it says, it is called once more when they are there. */
	void (*sample)(glm_sequence *seq);
	/* Sends what has come of a pass, from seq->logits or what sample() made of them or of
	 * seq->device_picked; *finish: that was the last. */
	bool (*take)(glm_engine *engine, glm_sequence *seq, glm_finish *finish, glm_error *err);

	/* The ticket is the job's from now on, unless this fails. */
	bool (*start_job)(glm_engine *engine, int ticket, glm_error *err);
};

extern const glm_request_kind glm_kind_generate; /* kind_generate.c */
extern const glm_request_kind glm_kind_logits;	 /* kind_logits.c */
extern const glm_request_kind glm_kind_score;	 /* kind_score.c */
extern const glm_request_kind glm_kind_logprobs; /* kind_logprobs.c */
extern const glm_request_kind glm_kind_tokenize; /* kind_tokens.c */
extern const glm_request_kind glm_kind_detokenize;
extern const glm_request_kind glm_kind_count_tokens;
extern const glm_request_kind glm_kind_chat_tokens;
extern const glm_request_kind glm_kind_passages;
extern const glm_request_kind glm_kind_load; /* kind_model.c */
extern const glm_request_kind glm_kind_unload;
extern const glm_request_kind glm_kind_quantize;
extern const glm_request_kind glm_kind_embed; /* kind_embed.c */

/*
 * The ids of a request's prompt, cut as it says where they do not fit the context, or
 * refused before much of it is read (kind_generate.c).
 */
extern bool glm_read_prompt(const glm_request *req, const glm_model *model, glm_ids *ids,
							glm_error *err);

/* The kind of a request that was checked. */
extern const glm_request_kind *glm_request_kind_of(const glm_request *req);

#endif /* GLM_KINDS_H */
