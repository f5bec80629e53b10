/*
 * ask.c - questions on their way and what comes back for them.
 *
 * A question is asked and its answer collected in two steps, so that many can
 * be under way at once.  A request belongs to the current subtransaction, so an
 * ERROR in between needs no cleaning up here: client_request.c cancels what an
 * aborted (sub)transaction leaves behind.
 *
 * An error can be had as a value: some functions answer with it, and a question
 * that is asked ahead must not fail before its turn.  Reading
 * arguments touches catalogs, so an error there is caught in a subtransaction
 * where one may be started (catch.c).  What a request failed of is known once its
 * last event is on file; to wait for that is the caller's part, and throws.
 */
#include "chatglm.h"

#include "utils/lsyscache.h"

#include "ask.h"
#include "call.h"
#include "catch.h"
#include "client.h"
#include "composite.h"
#include "outcome.h"
#include "route.h"
#include "toolcalls.h"

/* ---- Asking --------------------------------------------------------------- */

/* A question and where it leads, for chatglm_catch_all(). */
typedef struct Question
{
	const ChatglmFunction *function;
	const NullableDatum	  *args;
	ChatglmPriority		   priority;
	ChatglmAnswer		  *answer;
	ChatglmKnown		   known;
	void				  *arg;
} Question;

static void
ask_question(void *arg)
{
	Question	  *question = arg;
	ChatglmAnswer *answer = question->answer;
	ChatglmCall	   call;

	memset(answer, 0, sizeof(*answer));
	if (!question->function->read(&call, question->args))
	{
		answer->null = true;
		return;
	}
	chatglm_require_told(&call, question->function);
	chatglm_choose_model(&call);
	call.in_flight = question->priority == CHATGLM_PRIORITY_BATCH;
	if (call.priority == CHATGLM_PRIORITY_UNSAID)
		call.priority = question->priority;
	if (question->known == NULL || !question->known(&call, question->arg))
		chatglm_ask_call(&call, answer);
}

void
chatglm_ask(const ChatglmFunction *function, const NullableDatum *args, ChatglmPriority priority,
			ChatglmAnswer *answer)
{
	Question question = {function, args, priority, answer, NULL, NULL};

	ask_question(&question);
}

void
chatglm_ask_or_error(const ChatglmFunction *function, const NullableDatum *args,
					 ChatglmPriority priority, ChatglmAnswer *answer, MemoryContext context,
					 ChatglmKnown known, void *arg)
{
	Question   question = {function, args, priority, answer, known, arg};
	ErrorData *error = chatglm_catch_all(ask_question, &question, context);

	if (error == NULL)
		return;
	memset(answer, 0, sizeof(*answer));
	answer->error = error;
}

void
chatglm_require_told(const ChatglmCall *call, const ChatglmFunction *function)
{
	if (call->n > 1 && (function == NULL || !function->tells_n))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.n\" is %d, but this function gives one answer",
							   call->n),
						errhint("Use glm_generate_n or glm_chat.")));
	if (call->logprobs > 0 && (function == NULL || !function->tells_logprobs))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"options.logprobs\" has no place in what this function gives"),
				 errhint("Use glm_chat, glm_generate_n, glm_stream or glm_chat_stream.")));
}

/*
 * The others of several answers differ in the seed alone, and the prompt is computed for the
 * first: where it is shared with nobody, they share it in a scope of their own.
 */
static void
submit_others(const ChatglmCall *call, ChatglmAnswer *answer)
{
	ChatglmCall other = *call;

	for (int i = 0; i < call->n - 1; i++)
	{
		other.seed++;
		answer->more[i] = chatglm_submit(&other);
	}
}

void
chatglm_ask_call(const ChatglmCall *call, ChatglmAnswer *answer)
{
	ChatglmCall first = *call;

	memset(answer, 0, sizeof(*answer));
	answer->tools_offered = call->tools_offered;
	answer->on_length = call->on_length;
	answer->routed = call->route != NULL;
	answer->n = call->n;
	if (call->tools_offered)
		answer->hash = chatglm_call_hash(call);
	/* the scopes of roles do not have that bit (call.c) */
	if (call->n > 1 && !pg_strong_random(&first.group, sizeof(first.group)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not draw a random scope")));
	if (call->n > 1)
		first.group |= UINT64CONST(1) << 63;
	answer->request = chatglm_submit(&first);
	answer->id = chatglm_request_id(answer->request);
	submit_others(&first, answer);
}

int
chatglm_answer_running(const ChatglmAnswer *answer)
{
	int running = answer->request != NULL && chatglm_request_running(answer->request);

	for (int i = 0; i < answer->n - 1; i++)
		running += answer->more[i] != NULL && chatglm_request_running(answer->more[i]);
	return running;
}

/* ---- Collecting ------------------------------------------------------------ */

void
chatglm_cut_error(int tokens)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("the answer was cut after %d tokens", tokens),
			 errhint("Raise max_tokens or shorten the prompt; the option on_length says what "
					 "becomes of such an answer.")));
}

/* All of one of several answers. */
static void
collect_one(ChatglmAnswer *answer)
{
	const glm_event *event;

	answer->model = pstrdup(chatglm_request_model(answer->request));
	initStringInfo(&answer->bytes);
	initStringInfo(&answer->told);
	while ((event = chatglm_next_event(answer->request))->kind != GLM_EVENT_DONE)
	{
		if (event->kind != GLM_EVENT_RESULT && event->kind != GLM_EVENT_LOGPROBS)
			elog(ERROR, "unexpected event %u for a request that does not stream", event->kind);
		appendBinaryStringInfo(event->kind == GLM_EVENT_RESULT ? &answer->bytes : &answer->told,
							   event->payload, event->length);
	}
	answer->finish = event->finish;
	answer->chat = event->chat;
	answer->prompt_tokens = event->prompt_tokens;
	answer->context = event->context;
	answer->cached_tokens = event->cached_tokens;
	answer->completion_tokens = event->completion_tokens;
	answer->accepted_tokens = event->accepted_tokens;
	answer->kept = chatglm_request_kept(answer->request);
	chatglm_release(answer->request);
	answer->request = NULL;

	if (answer->finish != GLM_FINISH_LENGTH)
		return;
	if (answer->on_length == CHATGLM_ON_LENGTH_ERROR)
		chatglm_cut_error(answer->completion_tokens);
	answer->withheld = answer->on_length == CHATGLM_ON_LENGTH_NULL;
}

void
chatglm_collect(ChatglmAnswer *answer)
{
	collect_one(answer);
	if (answer->n > 1)
		answer->others = palloc0((answer->n - 1) * sizeof(ChatglmAnswer));
	for (int i = 0; i < answer->n - 1; i++)
	{
		ChatglmAnswer *other = &answer->others[i];

		other->tools_offered = answer->tools_offered;
		other->on_length = answer->on_length;
		other->hash = answer->hash;
		other->request = answer->more[i];
		answer->more[i] = NULL;
		collect_one(other);
	}
}

/* Lets go of the requests that there are still. */
static void
release_requests(ChatglmAnswer *answer)
{
	if (answer->request != NULL)
		chatglm_release(answer->request);
	answer->request = NULL;
	for (int i = 0; i < answer->n - 1; i++)
	{
		if (answer->more[i] != NULL)
			chatglm_release(answer->more[i]);
		answer->more[i] = NULL;
		if (answer->others != NULL && answer->others[i].request != NULL)
		{
			chatglm_release(answer->others[i].request);
			answer->others[i].request = NULL;
		}
	}
}

/* Waits until all of the answer is on file.  A cancel of the query is thrown here. */
static void
await_answer(const ChatglmAnswer *answer)
{
	for (;;)
	{
		chatglm_look();
		if (chatglm_answer_running(answer) == 0)
			return;
		chatglm_wait();
	}
}

/*
 * The same as chatglm_collect() for an answer that is on file.  Taking events from
 * the file holds no lock and no resource, so a plain PG_TRY does.
 */
static void
collect_or_error(ChatglmAnswer *answer)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		chatglm_collect(answer);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		answer->error = CopyErrorData();
		FlushErrorState();
		/* an answer that was cut has been taken as a whole before it is an error */
		release_requests(answer);
	}
	PG_END_TRY();
}

/* The arguments of use(), for chatglm_catch(). */
typedef struct Use
{
	void (*use)(const ChatglmAnswer *answer, void *arg);
	void				*arg;
	const ChatglmAnswer *answer;
} Use;

static void
use_answer(void *arg)
{
	Use *use = arg;

	use->use(use->answer, use->arg);
}

void
chatglm_use_answer(ChatglmAnswer *answer, void (*use)(const ChatglmAnswer *answer, void *arg),
				   void			 *arg)
{
	Use use_of = {use, arg, answer};

	if (answer->request != NULL)
	{
		await_answer(answer);
		collect_or_error(answer);
	}
	if (answer->error == NULL)
	{
		answer->error = chatglm_catch(use_answer, &use_of, CurrentMemoryContext);
		if (answer->error == NULL)
			return;
	}
	use(answer, arg);
}

/* A row of a function that catches, for chatglm_use_answer(). */
typedef struct Value
{
	const ChatglmFunction *function;
	Oid					   type;
	Datum				   datum;
} Value;

static void
make_value(const ChatglmAnswer *answer, void *arg)
{
	Value *value = arg;

	value->datum = chatglm_outcome_row(answer, value->type, value->function->value);
}

Datum
chatglm_answer_value(const ChatglmFunction *function, ChatglmAnswer *answer, Oid type, bool *isnull)
{
	Value value = {function, type, (Datum) 0};

	*isnull = answer->null;
	if (answer->null)
		return (Datum) 0;
	if (function->catches)
	{
		chatglm_use_answer(answer, make_value, &value);
		return value.datum;
	}
	if (answer->error != NULL)
		ReThrowError(answer->error);
	if (answer->request != NULL)
		chatglm_collect(answer);
	*isnull = answer->withheld && !function->tells_finish;
	return *isnull ? (Datum) 0 : function->value(answer, type);
}

void
chatglm_abandon(ChatglmAnswer *answer)
{
	release_requests(answer);
	if (answer->error != NULL)
		FreeErrorData(answer->error);
	answer->error = NULL;
}

void
chatglm_run(const ChatglmCall *call, ChatglmAnswer *answer)
{
	chatglm_ask_call(call, answer);
	chatglm_collect(answer);
}

/* ---- The call of a function in its place --------------------------------------- */

/* Asks and waits for the answer. */
static NullableDatum
ask_in_place(FunctionCallInfo fcinfo, const ChatglmFunction *function, Oid type)
{
	ChatglmAnswer answer;
	NullableDatum value;

	if (function->catches)
		chatglm_ask_or_error(function, fcinfo->args, CHATGLM_PRIORITY_INTERACTIVE, &answer,
							 CurrentMemoryContext, NULL, NULL);
	else
		chatglm_ask(function, fcinfo->args, CHATGLM_PRIORITY_INTERACTIVE, &answer);
	value.value = chatglm_answer_value(function, &answer, type, &value.isnull);
	return value;
}

Datum
chatglm_call_function(FunctionCallInfo fcinfo, const ChatglmFunction *function)
{
	Oid			  type = get_func_rettype(fcinfo->flinfo->fn_oid);
	int			  mark = chatglm_composite_mark(fcinfo);
	NullableDatum value;

	if (mark == 0 || !chatglm_composite_kept(fcinfo, mark, type, &value))
	{
		value = ask_in_place(fcinfo, function, type);
		if (mark != 0)
			chatglm_composite_keep(fcinfo, mark, type, value);
	}
	fcinfo->isnull = value.isnull;
	return value.value;
}
