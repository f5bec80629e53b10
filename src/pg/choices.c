/*
 * choices.c - glm_generate_n: several answers to one prompt, a row for each.
 *
 * They are one question (ask.c), so the prompt is computed once, and an error of one of them
 * is the statement's.
 */
#include "chatglm.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "args.h"
#include "ask.h"
#include "encoding.h"
#include "logprobs.h"
#include "result_rows.h"
#include "sql_values.h"

PG_FUNCTION_INFO_V1(chatglm_generate_n);

/* Columns of its rows. */
enum
{
	CHOICE_IDX,
	CHOICE_RESPONSE,
	CHOICE_PROMPT_TOKENS,
	CHOICE_COMPLETION_TOKENS,
	CHOICE_FINISH_REASON,
	CHOICE_LOGPROBS,
	CHOICE_MODEL,
	CHOICE_COLUMNS
};

/* (prompt, n, ...G) */
static bool
read_choices(ChatglmCall *call, const NullableDatum *args)
{
	NullableDatum prompt[1 + CHATGLM_N_TAIL];
	bool		  asked;

	prompt[0] = args[0];
	memcpy(prompt + 1, args + 2, CHATGLM_N_TAIL * sizeof(*prompt));
	asked = chatglm_read_prompt(call, prompt);
	if (call->n != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.n\" is given beside argument \"n\"")));
	if (args[1].isnull)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"n\" must not be NULL")));
	call->n = DatumGetInt32(args[1].value);
	if (call->n < 1 || call->n > CHATGLM_N_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"n\" must be from 1 to %d, not %d", CHATGLM_N_MAX,
							   DatumGetInt32(args[1].value))));
	return asked;
}

/* How its answers are asked for. */
static const ChatglmFunction question = {
	.n_args = 2 + CHATGLM_N_TAIL, .tells_n = true, .tells_logprobs = true, .read = read_choices};

static void
put_choice(const ChatglmAnswer *answer, int idx, Tuplestorestate *rows, TupleDesc desc)
{
	Jsonb *logprobs = chatglm_logprobs(answer);
	Datum  values[CHOICE_COLUMNS];
	bool   nulls[CHOICE_COLUMNS] = {0};

	values[CHOICE_IDX] = Int32GetDatum(idx);
	nulls[CHOICE_RESPONSE] = answer->withheld;
	values[CHOICE_RESPONSE] =
		answer->withheld
			? (Datum) 0
			: PointerGetDatum(chatglm_text_from_utf8(answer->bytes.data, answer->bytes.len));
	values[CHOICE_PROMPT_TOKENS] = Int32GetDatum(answer->prompt_tokens);
	values[CHOICE_COMPLETION_TOKENS] = Int32GetDatum(answer->completion_tokens);
	values[CHOICE_FINISH_REASON] = CStringGetTextDatum(chatglm_finish_name(answer->finish));
	nulls[CHOICE_LOGPROBS] = logprobs == NULL;
	values[CHOICE_LOGPROBS] = logprobs != NULL ? JsonbPGetDatum(logprobs) : (Datum) 0;
	values[CHOICE_MODEL] =
		PointerGetDatum(chatglm_text_from_utf8(answer->model, strlen(answer->model)));
	tuplestore_putvalues(rows, desc, values, nulls);
}

/*
 * glm_generate_n(prompt text, n int, ...G)
 * returns table(idx, response, prompt_tokens, completion_tokens, finish_reason, logprobs, model)
 */
Datum
chatglm_generate_n(PG_FUNCTION_ARGS)
{
	TupleDesc		 desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);
	ChatglmAnswer	 answer;

	if (desc->natts != CHOICE_COLUMNS)
		elog(ERROR, "glm_generate_n has %d columns", desc->natts);
	chatglm_ask(&question, fcinfo->args, CHATGLM_PRIORITY_INTERACTIVE, &answer);
	if (answer.null)
		return (Datum) 0;
	chatglm_collect(&answer);
	put_choice(&answer, 1, rows, desc);
	for (int i = 1; i < answer.n; i++)
		put_choice(&answer.others[i - 1], i + 1, rows, desc);
	return (Datum) 0;
}
