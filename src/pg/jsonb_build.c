/*
 * jsonb_build.c - jsonb made member by member, without a text of it in between.
 */
#include "chatglm.h"

#include "common/shortest_dec.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "jsonb_build.h"

/* The key of what comes next, if it has one. */
static void
put_key(JsonbParseState **json, const char *key)
{
	JsonbValue value = {.type = jbvString};

	if (key == NULL)
		return;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	(void) pushJsonbValue(json, WJB_KEY, &value);
}

static void
put_value(JsonbParseState **json, const char *key, JsonbValue *value)
{
	put_key(json, key);
	(void) pushJsonbValue(json, key != NULL ? WJB_VALUE : WJB_ELEM, value);
}

void
chatglm_json_object(JsonbParseState **json, const char *key)
{
	put_key(json, key);
	(void) pushJsonbValue(json, WJB_BEGIN_OBJECT, NULL);
}

void
chatglm_json_end_object(JsonbParseState **json)
{
	(void) pushJsonbValue(json, WJB_END_OBJECT, NULL);
}

void
chatglm_json_array(JsonbParseState **json, const char *key)
{
	put_key(json, key);
	(void) pushJsonbValue(json, WJB_BEGIN_ARRAY, NULL);
}

void
chatglm_json_end_array(JsonbParseState **json)
{
	(void) pushJsonbValue(json, WJB_END_ARRAY, NULL);
}

void
chatglm_json_string(JsonbParseState **json, const char *key, const char *string)
{
	JsonbValue value = {.type = jbvString};

	if (string == NULL)
	{
		chatglm_json_null(json, key);
		return;
	}
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	put_value(json, key, &value);
}

void
chatglm_json_null(JsonbParseState **json, const char *key)
{
	JsonbValue value = {.type = jbvNull};

	put_value(json, key, &value);
}

void
chatglm_json_bool(JsonbParseState **json, const char *key, bool boolean)
{
	JsonbValue value = {.type = jbvBool, .val.boolean = boolean};

	put_value(json, key, &value);
}

void
chatglm_json_count(JsonbParseState **json, const char *key, int64 count)
{
	JsonbValue value = {.type = jbvNumeric};

	value.val.numeric = DatumGetNumeric(DirectFunctionCall1(int8_numeric, Int64GetDatum(count)));
	put_value(json, key, &value);
}

void
chatglm_json_number(JsonbParseState **json, const char *key, const char *digits)
{
	JsonbValue value = {.type = jbvNumeric};

	value.val.numeric = DatumGetNumeric(DirectFunctionCall3(
		numeric_in, CStringGetDatum(digits), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	put_value(json, key, &value);
}

Jsonb *
chatglm_json_finish(JsonbParseState **json)
{
	return JsonbValueToJsonb(pushJsonbValue(json, WJB_END_OBJECT, NULL));
}

Jsonb *
chatglm_json_finish_array(JsonbParseState **json)
{
	return JsonbValueToJsonb(pushJsonbValue(json, WJB_END_ARRAY, NULL));
}

/* ---- Numbers and values alone ------------------------------------------------------- */

static JsonbValue
value_of_float(double number)
{
	JsonbValue value = {.type = jbvNumeric};
	char	   digits[DOUBLE_SHORTEST_DECIMAL_LEN];

	double_to_shortest_decimal_buf(number, digits);
	value.val.numeric = DatumGetNumeric(DirectFunctionCall3(
		numeric_in, CStringGetDatum(digits), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	return value;
}

void
chatglm_json_float(JsonbParseState **json, const char *key, double number)
{
	JsonbValue value = value_of_float(number);

	put_value(json, key, &value);
}

Jsonb *
chatglm_json_of_bool(bool boolean)
{
	JsonbValue value = {.type = jbvBool, .val.boolean = boolean};

	return JsonbValueToJsonb(&value);
}

Jsonb *
chatglm_json_of_float(double number)
{
	JsonbValue value = value_of_float(number);

	return JsonbValueToJsonb(&value);
}
