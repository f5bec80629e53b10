/*
 * sql_values.c - arrays and words of SQL in which the engine's answers are given.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"

#include "ask.h"
#include "sql_values.h"

/* ARR_DATA_PTR without its mixing of signed and unsigned offsets. */
char *
chatglm_array_data(ArrayType *array)
{
	return (char *) array +
		   (ARR_HASNULL(array) ? (Size) array->dataoffset : ARR_OVERHEAD_NONULLS(ARR_NDIM(array)));
}

/*
 * int32 and float arrays are the same bytes on both sides of the queue, so
 * the array is a header and a copy; a vocabulary of 150,000 logits deserves
 * better than as many Datums.
 */
ArrayType *
chatglm_array_of_words(Oid element, const StringInfoData *bytes)
{
	int		   n = bytes->len / 4;
	Size	   size = ARR_OVERHEAD_NONULLS(1) + (Size) n * 4;
	ArrayType *array;

	if (n == 0)
		return construct_empty_array(element);
	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = element;
	ARR_DIMS(array)[0] = n;
	ARR_LBOUND(array)[0] = 1;
	memcpy(chatglm_array_data(array), bytes->data, (Size) n * 4);
	return array;
}

const char *
chatglm_finish_name(glm_finish finish)
{
	switch (finish)
	{
		case GLM_FINISH_STOP:
			return "stop";
		case GLM_FINISH_LENGTH:
			return "length";
		case GLM_FINISH_NONE:
			break;
	}
	return NULL;
}

Datum
chatglm_ids_value(const ChatglmAnswer *answer, Oid type)
{
	return PointerGetDatum(chatglm_array_of_words(INT4OID, &answer->bytes));
}
