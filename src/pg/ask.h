/*
 * ask.h - questions to the model, and what comes back for them.
 */
#ifndef CHATGLM_ASK_H
#define CHATGLM_ASK_H

#include "args.h"
#include "client.h"

#include "fmgr.h"

/* A question on its way, and all that came back for it. */
typedef struct ChatglmAnswer
{
	ChatglmRequest *request;	   /* NULL: never sent, or all of it has come */
	bool			null;		   /* nothing was asked, the answer is NULL */
	bool			tools_offered; /* as in the ChatglmCall */
	bool			withheld;	   /* it was cut, and is not wanted then */
	ChatglmOnLength on_length;	   /* as in the ChatglmCall */
	uint64			hash;		   /* of the ChatglmCall, when tools were offered */
	ErrorData	   *error;		   /* what asking failed of, where that was caught */
	uint64			id;			   /* of the request */
	bool			routed;		   /* a route was named, and led to the model */
	char		   *model;		   /* its name, UTF-8; once collecting has begun */
	StringInfoData	bytes;		   /* the RESULT events' payloads, joined */
	char		   *kept;		   /* as in the ChatglmCall */
	StringInfoData	told;		   /* and those of LOGPROBS; see glm_told */
	glm_finish		finish;
	int				prompt_tokens;
	int				context; /* of what needs a tokenizer alone: most tokens of the model */
	int				cached_tokens;
	int				completion_tokens;
	int				accepted_tokens; /* of these, that speculation had proposed */
	glm_chat_format chat;			 /* how its model writes */

	/* of a question that asks for several answers, the others */
	int					  n; /* of all; 0: one, and none of several */
	ChatglmRequest		 *more[CHATGLM_N_MAX - 1];
	struct ChatglmAnswer *others; /* [n - 1], once they have come */
} ChatglmAnswer;

/*
 * An SQL function that asks once.  Most answer once; cut in two, they can be called in
 * their place or have many rows in flight (batch.c).  Others give a row for every token.
 */
typedef struct ChatglmFunction
{
	const char *symbol; /* the C function's name, as pg_proc has it */
	PGFunction	address;
	int			n_args;
	int			model;		  /* which of them is the model; from 0 */
	bool		catches;	  /* answers with a row: the value, or what went wrong (outcome.c) */
	bool		tells_finish; /* its value says how the answer ended, though its text be NULL */
	bool		tells_n;	  /* and has room for several answers */
	bool		tells_logprobs;
	bool		streams; /* gives a row for every token (stream.c); has no value() */
	/* reads the arguments; false: the answer is NULL without asking */
	bool (*read)(ChatglmCall *call, const NullableDatum *args);
	/* makes the value, of the function's result type or that row's first, in the current context */
	Datum (*value)(const ChatglmAnswer *answer, Oid type);
} ChatglmFunction;

#define CHATGLM_MAX_ARGS (3 + CHATGLM_N_TAIL)

/*
 * Answers are given in order, so some have to wait for an earlier one: at most so
 * many rows are kept for each that may be in flight.
 */
#define CHATGLM_ROWS_IN_HAND 4

/*
 * Sends the question, at this priority if its options do not say.  The rest waits
 * in *answer, which needs no initializing.
 */
extern void chatglm_ask(const ChatglmFunction *function, const NullableDatum *args,
						ChatglmPriority priority, ChatglmAnswer *answer);

/* Need a question not be sent, because its answer is known? */
typedef bool (*ChatglmKnown)(const ChatglmCall *call, void *arg);

/*
 * The same, but what is wrong with the arguments becomes answer->error, allocated
 * in this context.  Cancels are thrown still.  known may be NULL; where it says yes,
 * there is no request.
 */
extern void chatglm_ask_or_error(const ChatglmFunction *function, const NullableDatum *args,
								 ChatglmPriority priority, ChatglmAnswer *answer,
								 MemoryContext context, ChatglmKnown known, void *arg);

/* ERROR 22023: the call asks for more than the function's value, NULL: a text, has room for. */
extern void chatglm_require_told(const ChatglmCall *call, const ChatglmFunction *function);

/* How many requests of an answer are running. */
extern int chatglm_answer_running(const ChatglmAnswer *answer);

/* Waits for all of the answer, in the current context. */
extern void chatglm_collect(ChatglmAnswer *answer);

/*
 * Waits for all of the answer and hands it to use().  What the request or use()
 * fails of becomes answer->error, and use() is called once more.
 */
extern void chatglm_use_answer(ChatglmAnswer *answer,
							   void (*use)(const ChatglmAnswer *answer, void *arg), void *arg);

/* Waits for the answer and makes the function's value of it; throws its error. */
extern Datum chatglm_answer_value(const ChatglmFunction *function, ChatglmAnswer *answer, Oid type,
								  bool *isnull);

/* Lets go of an answer that nobody wants any more.  Never fails. */
extern void chatglm_abandon(ChatglmAnswer *answer);

/* Sends what a call asks, whatever it is. */
extern void chatglm_ask_call(const ChatglmCall *call, ChatglmAnswer *answer);

/* Submits a request and waits for all of it. */
extern void chatglm_run(const ChatglmCall *call, ChatglmAnswer *answer);

/* ERROR: an answer that may not be cut was, after so many tokens. */
extern void chatglm_cut_error(int tokens) pg_attribute_noreturn();

/* The whole of the C function of a ChatglmFunction that answers once. */
extern Datum chatglm_call_function(FunctionCallInfo fcinfo, const ChatglmFunction *function);

/* Defines that C function and, with these members, name_function, declared before. */
#define CHATGLM_DEFINE_FUNCTION(name, ...)                                                         \
	PG_FUNCTION_INFO_V1(name);                                                                     \
	Datum name(PG_FUNCTION_ARGS)                                                                   \
	{                                                                                              \
		return chatglm_call_function(fcinfo, &name##_function);                                    \
	}                                                                                              \
	const ChatglmFunction name##_function = {.symbol = #name, .address = name, __VA_ARGS__}

/* The same twice: the function, and one that answers with a row of its value or error. */
#define CHATGLM_DEFINE_WITH_TRY(name, try_name, ...)                                               \
	CHATGLM_DEFINE_FUNCTION(name, __VA_ARGS__);                                                    \
	CHATGLM_DEFINE_FUNCTION(try_name, .catches = true, __VA_ARGS__)

#endif /* CHATGLM_ASK_H */
