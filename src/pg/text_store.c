/*
 * text_store.c - texts one behind the other, however many: a tuplestore of one column.
 */
#include "chatglm.h"

#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "text_store.h"

struct ChatglmTexts
{
	Tuplestorestate *store;
	TupleTableSlot	*slot;
	int64			 count;
};

ChatglmTexts *
chatglm_texts_begin(void)
{
	ChatglmTexts *texts = palloc0(sizeof(*texts));
	TupleDesc	  desc = CreateTemplateTupleDesc(1);

	TupleDescInitEntry(desc, 1, "content", TEXTOID, -1, 0);
	texts->slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	texts->store = tuplestore_begin_heap(false, false, work_mem);
	return texts;
}

void
chatglm_texts_add(ChatglmTexts *texts, const text *value)
{
	Datum datum = PointerGetDatum(value);
	bool  isnull = false;

	tuplestore_putvalues(texts->store, texts->slot->tts_tupleDescriptor, &datum, &isnull);
	texts->count++;
}

int64
chatglm_texts_count(const ChatglmTexts *texts)
{
	return texts->count;
}

char *
chatglm_texts_next(ChatglmTexts *texts)
{
	bool isnull;

	if (!tuplestore_gettupleslot(texts->store, true, false, texts->slot))
		return NULL;
	return TextDatumGetCString(slot_getattr(texts->slot, 1, &isnull));
}

void
chatglm_texts_end(ChatglmTexts *texts)
{
	ExecDropSingleTupleTableSlot(texts->slot);
	tuplestore_end(texts->store);
	pfree(texts);
}
