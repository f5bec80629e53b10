/*
 * linear_model.c - linear models as they stand in chatglm.linear_model, and kept for use.
 *
 * A prediction should take microseconds, and reading a model's jsonb takes longer.  So a
 * model that was read is kept with the version of its row, by which inserting transaction
 * and place it is known.  The row itself is looked up for every prediction, by an index scan as
 * names of models are (catalog.c): a change is in force at once and needs no invalidation.
 */
#include "chatglm.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#include "catalog.h"
#include "linear_model.h"
#include "options.h"

const char *const chatglm_link_names[] = {"identity", "logistic", NULL};

#define NAME_SIZE 64 /* of a name, which has at most 63 bytes */

/* A model that is kept. */
typedef struct KeptModel
{
	char			   name[NAME_SIZE]; /* hash key */
	MemoryContext	   context;			/* NULL: nothing is kept */
	TransactionId	   xmin;			/* of the row that it was read of */
	ItemPointerData	   place;
	ChatglmLinearModel model; /* in that context */
} KeptModel;

static HTAB *kept;

/* ---- Reading ------------------------------------------------------------------ */

double
chatglm_check_finite(double number, const char *argument)
{
	if (!isfinite(number))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" must be a finite number", argument)));
	return number;
}

ChatglmLink
chatglm_read_link(const char *name)
{
	for (int i = 0; chatglm_link_names[i] != NULL; i++)
		if (strcmp(name, chatglm_link_names[i]) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"link\" must be \"identity\" or \"logistic\", not \"%s\"", name)));
}

static double
read_weight(const JsonbValue *value, const ChatglmWeight *weight, int place)
{
	double number = NAN;

	/* no_overflow: what is too large becomes infinite, and is refused here */
	if (value->type == jbvNumeric)
		number = DatumGetFloat8(
			DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!isfinite(number))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						weight->name != NULL
							? errmsg("weight \"%s\" must be a finite number", weight->name)
							: errmsg("weight %d must be a finite number", place + 1)));
	return number;
}

void
chatglm_read_weights(Jsonb *weights, ChatglmLinearModel *model)
{
	JsonbIterator	  *it;
	JsonbIteratorToken token;
	JsonbValue		   value;
	int				   n = 0;

	if (JB_ROOT_IS_SCALAR(weights) || JB_ROOT_COUNT(weights) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"weights\" must be an object of numbers by the names of "
							   "features, or an array of numbers, not %s",
							   chatglm_show_json(weights))));
	model->named = JB_ROOT_IS_OBJECT(weights);
	model->weights = MemoryContextAllocExtended(
		CurrentMemoryContext, JB_ROOT_COUNT(weights) * sizeof(ChatglmWeight), MCXT_ALLOC_ZERO);
	it = JsonbIteratorInit(&weights->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		ChatglmWeight *weight = &model->weights[n];

		if (token == WJB_KEY)
		{
			weight->name = pnstrdup(value.val.string.val, value.val.string.len);
			weight->length = value.val.string.len;
		}
		else if (token == WJB_VALUE || token == WJB_ELEM)
		{
			weight->weight = read_weight(&value, weight, n);
			n++;
		}
	}
	model->n = n;
}

/* Reads a row, which may hold anything: its table's owner may do as he likes. */
static void
read_row(HeapTuple row, TupleDesc desc, const char *name, ChatglmLinearModel *model)
{
	Datum values[CHATGLM_LINEAR_COLUMNS];
	bool  nulls[CHATGLM_LINEAR_COLUMNS];

	for (int i = 0; i < CHATGLM_LINEAR_COLUMNS; i++)
		values[i] = heap_getattr(row, i + 1, desc, &nulls[i]);
	if (nulls[CHATGLM_LINEAR_LINK] || nulls[CHATGLM_LINEAR_BIAS] || nulls[CHATGLM_LINEAR_WEIGHTS])
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("linear model \"%s\" has no link, bias or weights", name)));
	model->link = chatglm_read_link(TextDatumGetCString(values[CHATGLM_LINEAR_LINK]));
	model->bias = chatglm_check_finite(DatumGetFloat8(values[CHATGLM_LINEAR_BIAS]), "bias");
	chatglm_read_weights(DatumGetJsonbP(values[CHATGLM_LINEAR_WEIGHTS]), model);
}

/* ---- What is kept ----------------------------------------------------------------- */

static void
forget(KeptModel *entry)
{
	if (entry->context != NULL)
		MemoryContextDelete(entry->context);
	entry->context = NULL;
}

/* Keeps what the row says.  An error in it leaves the entry empty. */
static void
keep(KeptModel *entry, HeapTuple row, TupleDesc desc)
{
	MemoryContext	   context;
	MemoryContext	   caller;
	ChatglmLinearModel model;

	forget(entry);
	/* a child of the caller's until it is sound, so that an error frees it */
	context =
		AllocSetContextCreate(CurrentMemoryContext, "chatglm linear model", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	read_row(row, desc, entry->name, &model);
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, CacheMemoryContext);
	entry->model = model;
	entry->xmin = HeapTupleHeaderGetRawXmin(row->t_data);
	entry->place = row->t_self;
	entry->context = context;
}

static bool
is_kept(const KeptModel *entry, HeapTuple row)
{
	return entry->context != NULL && entry->xmin == HeapTupleHeaderGetRawXmin(row->t_data) &&
		   ItemPointerEquals((ItemPointer) &entry->place, &row->t_self);
}

static KeptModel *
find_entry(const char *name, Size length, bool *found)
{
	char key[NAME_SIZE] = {0};

	if (kept == NULL)
	{
		HASHCTL control = {.keysize = NAME_SIZE, .entrysize = sizeof(KeptModel)};

		kept = hash_create("chatglm linear models", 16, &control, HASH_ELEM | HASH_BLOBS);
	}
	memcpy(key, name, length);
	return hash_search(kept, key, HASH_ENTER, found);
}

static void
no_such_model(const char *name, Size length)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_OBJECT),
		 errmsg("linear model \"%.*s\" does not exist", (int) length, name),
		 errhint("glm_linear_create and glm_linear_fit make one; glm_linear_models lists them.")));
}

const ChatglmLinearModel *
chatglm_linear_model(const char *name, Size length)
{
	Relation   relation;
	KeptModel *entry;
	HeapTuple  row;
	bool	   found;
	char	  *key;

	if (length >= NAME_SIZE)
		no_such_model(name, length);
	entry = find_entry(name, length, &found);
	if (!found)
		entry->context = NULL;
	key = entry->name;
	relation = chatglm_open_table(&chatglm_linear_table, AccessShareLock);
	row = relation != NULL ? chatglm_find_row(relation, (const char *const *) &key, 1) : NULL;
	if (!HeapTupleIsValid(row))
	{
		forget(entry);
		(void) hash_search(kept, key, HASH_REMOVE, NULL);
		no_such_model(name, length);
	}
	if (!is_kept(entry, row))
		keep(entry, row, RelationGetDescr(relation));
	heap_freetuple(row);
	table_close(relation, AccessShareLock);
	return &entry->model;
}
