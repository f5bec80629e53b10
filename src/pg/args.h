/*
 * args.h - SQL arguments in, SQL values out: what the files with SQL functions
 * and the plan node GlmBatch share.  Text inside the engine is UTF-8, whatever the database's
 * encoding; these functions are the border.
 */
#ifndef CHATGLM_ARGS_H
#define CHATGLM_ARGS_H

#include "chatglm.h"

#include "access/htup.h"
#include "fmgr.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"
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
extern bool chatglm_read_prompt(ChatglmCall *call, glm_form form, const NullableDatum *args);

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
/* glm_answer_parse() or glm_answer_parse_turns(), with interrupts. */
extern char	 *chatglm_parse_answer(char *(*parse)(const char *, size_t), const char *bytes,
								   Size length);
/*
 * Appends "content" and "tool_calls", as members of an object, of what
 * glm_answer_parse() gave, and frees that.  Returns how many calls there are.
 */
extern int	  chatglm_append_parsed(StringInfo out, char *parsed, uint64 hash);
/* Does the text of a stream, in UTF-8, end in calls? */
extern bool	  chatglm_text_calls(const char *bytes, Size length);

/* ---- answer.c ----------------------------------------------------------- */

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
	StringInfoData	bytes;		   /* the RESULT events' payloads, joined */
	glm_finish		finish;
	int				prompt_tokens;
	int				cached_tokens;
	int				completion_tokens;
} ChatglmAnswer;

/*
 * An SQL function that asks once and answers once.  Cut in two, it can be
 * called in its place or have many rows in flight (batch.c).
 */
typedef struct ChatglmFunction
{
	const char *symbol; /* the C function's name, as pg_proc has it */
	PGFunction	address;
	int			n_args;
	int			model;		  /* which of them is the model; from 0 */
	bool		catches;	  /* answers with what went wrong, too */
	bool		tells_finish; /* and with how it ended, though its text be NULL */
	/* reads the arguments; false: the answer is NULL without asking */
	bool (*read)(ChatglmCall *call, const NullableDatum *args);
	/* makes the value, of the function's result type, in the current context */
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

/* ---- catch.c ------------------------------------------------------------ */

/*
 * Calls work(arg) and returns the error it threw, allocated in this context, or
 * NULL.  Errors that must be thrown are.
 *
 * chatglm_catch() leaves alone what belongs to a subtransaction: work must write
 * nothing, and not be in want of it.  chatglm_catch_all() takes a subtransaction
 * where that is allowed.
 */
extern ErrorData *chatglm_catch(void (*work)(void *arg), void *arg, MemoryContext context);
extern ErrorData *chatglm_catch_all(void (*work)(void *arg), void *arg, MemoryContext context);

/* ---- function.c --------------------------------------------------------- */

/* The whole of such a function's C function. */
extern Datum chatglm_call_function(FunctionCallInfo fcinfo, const ChatglmFunction *function);

/*
 * For track_functions: goes before pgstat_end_function_usage() where a function
 * is not called but taken to pieces.
 */
extern void chatglm_usage_begin(FmgrInfo *function, PgStat_FunctionCallUsage *usage);

/* Which one is it?  NULL: none of ours, or one that must run as it is. */
extern const ChatglmFunction *chatglm_function_by_oid(Oid function);

/* Is it of this library at all? */
extern bool chatglm_is_own_function(Oid function);
/* ---- composite.c -------------------------------------------------------- */

/* The mark of the expression that makes this call; 0: it has none. */
extern int chatglm_composite_mark(FunctionCallInfo fcinfo);

/* Is there an answer to the same call for another field of this row?  Gives a copy. */
extern bool chatglm_composite_kept(FunctionCallInfo fcinfo, int mark, Oid type,
								   NullableDatum *value);

/* Keeps the answer for the other fields. */
extern void chatglm_composite_keep(FunctionCallInfo fcinfo, int mark, Oid type,
								   NullableDatum value);

/* ---- batch_same.c ------------------------------------------------------- */

/* The mark of a call (a FuncExpr), or 0.  Calls of one mark are one call a row. */
struct FuncExpr;
extern int chatglm_mark_of(const struct FuncExpr *call);

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

/* Is the worker running? */
extern bool chatglm_worker_is_up(void);

/* Sets a function up to return its rows at once, in a tuplestore. */
extern Tuplestorestate *chatglm_begin_rows(FunctionCallInfo fcinfo, TupleDesc *desc);

/* ---- catalog.c --------------------------------------------------------- */

/* chatglm.model, or NULL where it is not, or not as the extension made it. */
extern Relation chatglm_open_model_table(LOCKMODE lock);

/* Has it these columns, with these types? */
extern bool chatglm_is_model_table(Relation table);

/* What a name means; false, and no path: nothing.  A row may have no path either. */
extern bool chatglm_look_up_model(const char *name, ChatglmModelRef *ref);

/* The models whose names mean something here: a List of ChatglmModelRef *. */
extern List *chatglm_usable_models(void);
/* The same without waiting: none while somebody alters the table. */
extern List *chatglm_usable_models_at_once(void);

/* The row of a name, to be freed; NULL when there is none. */
extern HeapTuple chatglm_find_model_row(Relation table, const char *name);

/* ERROR 42602 unless this could be a model's name. */
extern void chatglm_check_model_name(const char *name);

/* Is this a directory that claims to hold a model? */
extern bool chatglm_is_model_directory(const char *path);

/* Columns of chatglm.model. */
#define CHATGLM_MODEL_NAME 1
#define CHATGLM_MODEL_PATH 2
#define CHATGLM_MODEL_OPTIONS 3
#define CHATGLM_MODEL_COLUMNS 3

/* ---- stats.c ------------------------------------------------------------ */

/* May the current user see figures that tell of others' prompts and answers? */
extern bool chatglm_may_see_totals(void);

/* ---- paths.c ------------------------------------------------------------ */

/* May the current user name or see paths on the server? */
extern bool chatglm_may_see_paths(void);

/*
 * A message without the directory of the model it is about: files stay, by name.
 * All three are UTF-8.
 */
extern char *chatglm_hide_path(const char *text, const char *path, const char *model);

#endif /* CHATGLM_ARGS_H */
