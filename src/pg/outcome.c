/*
 * outcome.c - an answer, or the error that took its place, as a row.
 *
 * That is what functions named glm_try_... return: glm_result, or a type that differs from
 * it in its first column alone.
 */
#include "chatglm.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/typcache.h"

#include "encoding.h"
#include "outcome.h"
#include "sql_values.h"

void
chatglm_outcome_columns(const ChatglmAnswer *answer, Oid value_type, ChatglmMakeValue value,
						Datum *values, bool *nulls)
{
	/* none is said of an answer that took no passes */
	const char *finish = chatglm_finish_name(answer->finish);

	memset(values, 0, OUTCOME_COLUMNS * sizeof(Datum));
	memset(nulls, true, OUTCOME_COLUMNS * sizeof(bool));
	if (answer->error != NULL)
	{
		values[OUTCOME_ERROR] = CStringGetTextDatum(answer->error->message);
		values[OUTCOME_SQLSTATE] = CStringGetTextDatum(unpack_sql_state(answer->error->sqlerrcode));
		nulls[OUTCOME_ERROR] = nulls[OUTCOME_SQLSTATE] = false;
		return;
	}
	if (answer->null)
		return;
	if (!answer->withheld)
		values[OUTCOME_VALUE] = value(answer, value_type);
	values[OUTCOME_PROMPT_TOKENS] = Int32GetDatum(answer->prompt_tokens);
	values[OUTCOME_COMPLETION_TOKENS] = Int32GetDatum(answer->completion_tokens);
	values[OUTCOME_FINISH_REASON] = CStringGetTextDatum(finish != NULL ? finish : "stop");
	values[OUTCOME_MODEL] =
		PointerGetDatum(chatglm_text_from_utf8(answer->model, strlen(answer->model)));
	nulls[OUTCOME_MODEL] = false;
	nulls[OUTCOME_VALUE] = answer->withheld;
	nulls[OUTCOME_PROMPT_TOKENS] = false;
	nulls[OUTCOME_COMPLETION_TOKENS] = nulls[OUTCOME_FINISH_REASON] = false;
}

Datum
chatglm_outcome_row(const ChatglmAnswer *answer, Oid type, ChatglmMakeValue value)
{
	TupleDesc desc = lookup_rowtype_tupdesc(type, -1);
	Datum	  values[OUTCOME_COLUMNS];
	bool	  nulls[OUTCOME_COLUMNS];
	HeapTuple row;

	if (desc->natts != OUTCOME_COLUMNS)
		elog(ERROR, "a result has %d columns", desc->natts);
	chatglm_outcome_columns(answer, TupleDescAttr(desc, 0)->atttypid, value, values, nulls);
	row = heap_form_tuple(desc, values, nulls);
	ReleaseTupleDesc(desc);
	return HeapTupleGetDatum(row);
}
