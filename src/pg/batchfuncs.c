/*
 * batchfuncs.c - glm_try_generate and glm_generate_batch: answers for jobs that
 * go on when a row of theirs cannot be answered.
 *
 * glm_try_generate answers one prompt with a row that has either a response or
 * an error, so that a query over a million rows does not end at a bad one.
 * glm_generate_batch does so for an array and keeps chatglm.prefetch of its prompts in
 * flight without the help of the planner.
 *
 * An error is per prompt when it is the prompt's (too long) or happens on
 * the way (timeout, lost worker).  glm_generate_batch reads the other arguments
 * once before it begins, so that what is wrong with them is thrown at once.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "admission.h"
#include "args.h"
#include "ask.h"
#include "batch_stat.h"
#include "batchfuncs.h"
#include "call.h"
#include "client.h"
#include "encoding.h"
#include "outcome.h"
#include "result_rows.h"
#include "settings.h"
#include "sql_values.h"

PG_FUNCTION_INFO_V1(chatglm_generate_batch);

/* A row has idx before the columns of an outcome, of which it lacks the SQLSTATE. */
#define BATCH_COLUMNS OUTCOME_COLUMNS

/* ---- glm_try_generate ------------------------------------------------------ */

static Datum
response_value(const ChatglmAnswer *answer, Oid type)
{
	return PointerGetDatum(chatglm_text_from_utf8(answer->bytes.data, answer->bytes.len));
}

/* glm_try_generate(prompt text, ...G) returns glm_result */
CHATGLM_DEFINE_FUNCTION(chatglm_try_generate, .n_args = 1 + CHATGLM_N_TAIL, .model = 1,
						.catches = true, .read = chatglm_read_prompt, .value = response_value);

/* ---- glm_generate_batch ------------------------------------------------------ */

/* The prompts of a call, those before `next` asked, those before `done` answered. */
typedef struct Batch
{
	int				 n;
	int				 next;
	int				 done;
	Datum			*prompts;
	bool			*nulls;
	NullableDatum	 args[1 + CHATGLM_N_TAIL];
	ChatglmAnswer	*answers;
	MemoryContext	 scratch; /* reset after every prompt */
	ChatglmCallStat *stat;
} Batch;

/* Reads the tail once for its errors; the prompt stays to be filled in. */
static void
read_common_arguments(Batch *batch, const NullableDatum *args)
{
	ChatglmCall call;

	memcpy(batch->args, args, sizeof(batch->args));
	chatglm_call_defaults(&call, GLM_GENERATE);
	chatglm_read_tail(&call, &batch->args[1]);
	chatglm_require_told(&call, &chatglm_try_generate_function);
}

static void
ask_next(Batch *batch)
{
	MemoryContext old = MemoryContextSwitchTo(batch->scratch);

	batch->args[0].value = batch->prompts[batch->next];
	batch->args[0].isnull = batch->nulls[batch->next];
	chatglm_ask_or_error(&chatglm_try_generate_function, batch->args, CHATGLM_PRIORITY_BATCH,
						 &batch->answers[batch->next], old, NULL, NULL);
	batch->next++;
	chatglm_batch_stat_add(&batch->stat->stat->rows_read, 1);
	MemoryContextSwitchTo(old);
	MemoryContextReset(batch->scratch);
}

static bool
may_ask(const Batch *batch)
{
	return batch->next < batch->n &&
		   (batch->next == batch->done ||
			(chatglm_requests_running() < chatglm_prefetch &&
			 batch->next - batch->done < chatglm_prefetch * CHATGLM_ROWS_IN_HAND &&
			 chatglm_room_for_row()));
}

/* Asks as many as may be in flight; true once the first unanswered one is ready. */
static bool
ask_ahead(Batch *batch)
{
	const ChatglmAnswer *answer = &batch->answers[batch->done];

	chatglm_look();
	while (may_ask(batch))
		ask_next(batch);
	return chatglm_answer_running(answer) == 0;
}

/* A row of glm_generate_batch. */
typedef struct BatchRow
{
	Datum values[1 + OUTCOME_COLUMNS];
	bool  nulls[1 + OUTCOME_COLUMNS];
} BatchRow;

static void
fill_row(const ChatglmAnswer *answer, void *arg)
{
	BatchRow *row = arg;

	chatglm_outcome_columns(answer, TEXTOID, response_value, row->values + 1, row->nulls + 1);
	row->values[1 + OUTCOME_SQLSTATE] = row->values[1 + OUTCOME_MODEL];
	row->nulls[1 + OUTCOME_SQLSTATE] = row->nulls[1 + OUTCOME_MODEL];
}

static void
put_answer(Batch *batch, Tuplestorestate *rows, TupleDesc desc)
{
	MemoryContext  old = MemoryContextSwitchTo(batch->scratch);
	ChatglmAnswer *answer = &batch->answers[batch->done];
	BatchRow	   row;

	chatglm_use_answer(answer, fill_row, &row);
	chatglm_batch_stat_add(&batch->stat->stat->answered, 1);
	chatglm_batch_stat_add(&batch->stat->stat->failed, answer->error != NULL);
	chatglm_batch_stat_add(&batch->stat->stat->tokens, answer->completion_tokens);
	row.values[0] = Int32GetDatum(++batch->done);
	row.nulls[0] = false;
	tuplestore_putvalues(rows, desc, row.values, row.nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(batch->scratch);
}

/*
 * glm_generate_batch(prompts text[], ...G)
 * returns table(idx, response, prompt_tokens, completion_tokens, finish_reason, error, model)
 */
Datum
chatglm_generate_batch(PG_FUNCTION_ARGS)
{
	TupleDesc		 desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);
	Batch			*batch = palloc0(sizeof(*batch));

	if (desc->natts != BATCH_COLUMNS)
		elog(ERROR, "glm_generate_batch has %d columns", desc->natts);
	read_common_arguments(batch, fcinfo->args);
	if (PG_ARGISNULL(0))
		return (Datum) 0;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &batch->prompts,
					  &batch->nulls, &batch->n);
	batch->answers =
		palloc_extended((Size) batch->n * sizeof(ChatglmAnswer), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	batch->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "glm_generate_batch", ALLOCSET_DEFAULT_SIZES);
	batch->stat = chatglm_call_stat_begin("glm_generate_batch", batch->n);
	while (batch->done < batch->n)
	{
		if (ask_ahead(batch))
			put_answer(batch, rows, desc);
		else
			chatglm_wait();
	}
	chatglm_call_stat_end(batch->stat);
	return (Datum) 0;
}
