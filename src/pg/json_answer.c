/*
 * json_answer.c - glm_json and glm_try_json: answers that are values of a schema.
 *
 * The engine sees to it that an answer fits its schema, and is one that jsonb can hold.
 * What it does not know is the database's encoding, which may lack a character, and the
 * server's own limits.  Where these end it, the error is of the answer, not of the call.
 */
#include "chatglm.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "args.h"
#include "encoding.h"
#include "json_answer.h"
#include "response_format.h"

char *
chatglm_read_schema(ChatglmCall *call, const NullableDatum *schema)
{
	char *shown;

	if (schema->isnull)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"schema\" must not be NULL")));
	shown = TextDatumGetCString(schema->value);
	chatglm_constrain(call, GLM_JSON_SCHEMA, "schema", shown);
	return shown;
}

/* Reads (prompt text, schema json, ...G). */
static bool
read_json_prompt(ChatglmCall *call, const NullableDatum *args)
{
	NullableDatum prompt[1 + CHATGLM_N_TAIL];

	prompt[0] = args[0];
	memcpy(prompt + 1, args + 2, CHATGLM_N_TAIL * sizeof(*prompt));
	if (!chatglm_read_prompt(call, prompt))
		return false;
	(void) chatglm_read_schema(call, &args[1]);
	return true;
}

/* jsonb of a text; what is wrong with it is said of the answer. */
static Datum
jsonb_of(char *text)
{
	MemoryContext  context = CurrentMemoryContext;
	volatile Datum value = (Datum) 0;

	PG_TRY();
	{
		value = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
	}
	PG_CATCH();
	{
		ErrorData *error;

		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		ereport(ERROR, (errcode(error->sqlerrcode),
						errmsg("the answer is no value of type jsonb: %s", error->message),
						error->detail != NULL ? errdetail_internal("%s", error->detail) : 0));
	}
	PG_END_TRY();
	return value;
}

Datum
chatglm_json_answer(const ChatglmAnswer *answer, Oid type)
{
	if (answer->finish == GLM_FINISH_LENGTH)
		chatglm_cut_error(answer->completion_tokens);
	return jsonb_of(chatglm_cstring_from_utf8(answer->bytes.data, answer->bytes.len));
}

/*
 * glm_json(prompt text, schema json, ...G) returns jsonb
 * glm_try_json(prompt text, schema json, ...G) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_json, chatglm_try_json, .n_args = 2 + CHATGLM_N_TAIL, .model = 2,
						.read = read_json_prompt, .value = chatglm_json_answer);
