/*
 * args.h - SQL arguments in, SQL values out: what the files with SQL functions
 * and the plan node GlmBatch share.  Text inside the engine is UTF-8, whatever the database's
 * encoding; these functions are the border.
 */
#ifndef CHATGLM_ARGS_H
#define CHATGLM_ARGS_H

#include "chatglm.h"

#include "fmgr.h"
#include "utils/tuplestore.h"

/* ---- args.c ----------------------------------------------------------- */

/* A text as NUL-terminated UTF-8; *length (may be NULL) counts its bytes. */
extern char *chatglm_text_to_utf8(const text *value, Size *length);
/* The same for a C string in the database's encoding. */
extern char *chatglm_cstring_to_utf8(const char *value);
/*
 * A model with byte fallback may well utter a NUL, which no text can hold and
 * which is no reason to fail an answer: it becomes U+FFFD.
 */
extern char *chatglm_without_nuls(const char *bytes, Size length);
/* From UTF-8 to the database's encoding, without NULs. */
extern text *chatglm_text_from_utf8(const char *bytes, Size length);
extern char *chatglm_cstring_from_utf8(const char *bytes, Size length);

/* The value as a message shows it: its text, cut off when it is long. */
extern char *chatglm_show_json(Jsonb *value);

/* Resolves the model argument (NULL: chatglm.model) into *call. */
extern void chatglm_read_model(ChatglmCall *call, const NullableDatum *model);

/*
 * The call of a function that starts (prompt text, ...G).  false: the prompt
 * is NULL, and so is the answer.
 */
extern bool chatglm_read_prompt(ChatglmCall *call, glm_form form,
								const NullableDatum *args);

/* ---- chat.c ----------------------------------------------------------- */

/*
 * The call of glm_chat_stream(messages jsonb, tools json, tool_choice jsonb, ...G).
 * false: the messages are NULL, and so is the answer.
 */
extern bool chatglm_read_chat_stream(ChatglmCall *call, const NullableDatum *args);

/* ---- toolcalls.c -------------------------------------------------------- */

/* Goes on with a hash. */
extern uint64 chatglm_hash(uint64 hash, const char *bytes, Size length);
/* Of what the answer to a call depends on, but for how it is sampled. */
extern uint64 chatglm_call_hash(const ChatglmCall *call);
/*
 * Appends "content" and "tool_calls", as members of an object, of what
 * glm_answer_parse() gave, and frees that.  Returns how many calls there are.
 */
extern int	chatglm_append_parsed(StringInfo out, char *parsed, uint64 hash);
/* Does the text of a stream, in UTF-8, end in calls? */
extern bool chatglm_text_calls(const char *bytes, Size length);

/* ---- answer.c ----------------------------------------------------------- */

/* A question on its way, and all that came back for it. */
typedef struct ChatglmAnswer
{
	ChatglmRequest *request;	/* NULL: never sent, or all of it has come */
	bool		null;			/* nothing was asked, the answer is NULL */
	bool		tools_offered;	/* as in the ChatglmCall */
	bool		withheld;		/* it was cut, and is not wanted then */
	ChatglmOnLength on_length;	/* as in the ChatglmCall */
	uint64		hash;			/* of the ChatglmCall, when tools were offered */
	ErrorData  *error;			/* what asking failed of, where that was caught */
	uint64		id;				/* of the request */
	StringInfoData bytes;		/* the RESULT events' payloads, joined */
	glm_finish	finish;
	int			prompt_tokens;
	int			cached_tokens;
	int			completion_tokens;
} ChatglmAnswer;

/*
 * An SQL function that asks once and answers once.  Cut in two, it can be
 * called in its place or have many rows in flight (batch.c).
 */
typedef struct ChatglmFunction
{
	const char *symbol;			/* the C function's name, as pg_proc has it */
	PGFunction	address;
	int			n_args;
	bool		catches;		/* answers with what went wrong, too */
	bool		tells_finish;	/* and with how it ended, though its text be NULL */
	/* reads the arguments; false: the answer is NULL without asking */
	bool		(*read) (ChatglmCall *call, const NullableDatum *args);
	/* makes the value, of the function's result type, in the current context */
	Datum		(*value) (const ChatglmAnswer *answer, Oid type);
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

/*
 * The same in a subtransaction of its own: what is wrong with the arguments
 * becomes answer->error, allocated in this context.  Cancels are thrown still.
 */
extern void chatglm_ask_or_error(const ChatglmFunction *function, const NullableDatum *args,
								 ChatglmPriority priority, ChatglmAnswer *answer,
								 MemoryContext context);

/* Waits for all of the answer, in the current context. */
extern void chatglm_collect(ChatglmAnswer *answer);

/* The same, but what the request failed of becomes answer->error. */
extern void chatglm_collect_or_error(ChatglmAnswer *answer);

/* Waits for the answer and makes the function's value of it; throws its error. */
extern Datum chatglm_answer_value(const ChatglmFunction *function, ChatglmAnswer *answer,
								  Oid type, bool *isnull);

/* Lets go of an answer that nobody wants any more.  Never fails. */
extern void chatglm_abandon(ChatglmAnswer *answer);

/* Submits a request and waits for all of it. */
extern void chatglm_run(const ChatglmCall *call, ChatglmAnswer *answer);

/* The elements of an array. */
extern char *chatglm_array_data(ArrayType *array);

/* A one-dimensional int[] or real[] from the bytes of an answer. */
extern ArrayType *chatglm_array_of_words(Oid element, const StringInfoData *bytes);

/* ERROR: an answer that may not be cut was, after so many tokens. */
extern void chatglm_cut_error(int tokens) pg_attribute_noreturn();

/* "stop", "length", or NULL. */
extern const char *chatglm_finish_name(glm_finish finish);

/* ---- function.c --------------------------------------------------------- */

/* The whole of such a function's C function. */
extern Datum chatglm_call_function(FunctionCallInfo fcinfo, const ChatglmFunction *function);

/* Which one is it?  NULL: none of ours, or one that must run as it is. */
extern const ChatglmFunction *chatglm_function_by_oid(Oid function);

/* ---- sqlfuncs.c, chat.c, batchfuncs.c ------------------------------------ */

extern const ChatglmFunction chatglm_generate_function;
extern const ChatglmFunction chatglm_complete_function;
extern const ChatglmFunction chatglm_tokenize_function;
extern const ChatglmFunction chatglm_detokenize_function;
extern const ChatglmFunction chatglm_count_tokens_function;
extern const ChatglmFunction chatglm_logits_function;
extern const ChatglmFunction chatglm_chat_function;
extern const ChatglmFunction chatglm_chat_tokens_function;
extern const ChatglmFunction chatglm_try_generate_function;

/* ---- stats.c ------------------------------------------------------------ */

/* Sets a function up to return its rows at once, in a tuplestore. */
extern Tuplestorestate *chatglm_begin_rows(FunctionCallInfo fcinfo, TupleDesc *desc);

/* ---- catalog.c --------------------------------------------------------- */

/* Rows of chatglm.model, whatever the caller's rights: a List of ChatglmModelRef *. */
extern List *chatglm_model_table_rows(void);

/* May the current user name or see paths on the server? */
extern bool chatglm_may_see_paths(void);

#endif							/* CHATGLM_ARGS_H */
