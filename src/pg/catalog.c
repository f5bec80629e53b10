/*
 * catalog.c - the tables of configuration, chatglm.model above all, as functions look
 * names up in them.
 *
 * They are configuration, as the system catalogs are: whoever may call a function
 * may use every name in them, so they are read here by an index scan that asks for no
 * privilege, and with a catalog snapshot, so that a model registered a moment ago is
 * known in a long transaction too.
 *
 * So what is in them is not trusted.  Their owner may alter them, and then a column may be
 * gone, of another type, or hold NULLs: a table that is not as the extension made it
 * is taken for missing, and a row without a name or path for none.
 */
#include "chatglm.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog.h"
#include "model_name.h"

/* ---- Tables of configuration ---------------------------------------------------- */

bool
chatglm_has_columns(Relation table, const Oid *types, int n)
{
	TupleDesc desc = RelationGetDescr(table);

	if (table->rd_rel->relkind != RELKIND_RELATION || desc->natts < n)
		return false;
	for (int i = 0; i < n; i++)
		if (TupleDescAttr(desc, i)->attisdropped || TupleDescAttr(desc, i)->atttypid != types[i])
			return false;
	return true;
}

static Oid
table_oid(const char *name)
{
	Oid schema = get_namespace_oid("chatglm", true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

Relation
chatglm_open_table(const char *name, const Oid *types, int n, LOCKMODE lock)
{
	Oid		 oid = table_oid(name);
	Relation table = OidIsValid(oid) ? try_relation_open(oid, lock) : NULL;

	if (table != NULL && !chatglm_has_columns(table, types, n))
	{
		relation_close(table, lock);
		return NULL;
	}
	return table;
}

/* The columns have collation "C", as ScanKeyInit assumes. */
HeapTuple
chatglm_find_row(Relation table, const char *const *key, int n)
{
	SysScanDesc scan;
	ScanKeyData keys[CHATGLM_KEY_COLUMNS];
	HeapTuple	row;
	List	   *indexes;

	indexes = RelationGetIndexList(table); /* fills rd_pkindex */
	for (int i = 0; i < n; i++)
		ScanKeyInit(&keys[i], i + 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(key[i]));
	scan =
		systable_beginscan(table, table->rd_pkindex, OidIsValid(table->rd_pkindex), NULL, n, keys);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		row = heap_copytuple(row);
	systable_endscan(scan);
	list_free(indexes);
	return row;
}

/* ---- chatglm.model ----------------------------------------------------------------- */

static const Oid model_types[CHATGLM_MODEL_COLUMNS] = {TEXTOID, TEXTOID, JSONBOID};

bool
chatglm_is_model_table(Relation table)
{
	return chatglm_has_columns(table, model_types, CHATGLM_MODEL_COLUMNS);
}

Oid
chatglm_model_table_oid(void)
{
	return table_oid("model");
}

Relation
chatglm_open_model_table(LOCKMODE lock)
{
	return chatglm_open_table("model", model_types, CHATGLM_MODEL_COLUMNS, lock);
}

/* The row as text; path is NULL when there is none. */
static ChatglmModelRef
row_to_ref(HeapTuple row, TupleDesc desc)
{
	ChatglmModelRef ref = {0};
	bool			isnull;
	Datum			value;

	value = heap_getattr(row, CHATGLM_MODEL_NAME, desc, &isnull);
	if (!isnull)
		ref.name = TextDatumGetCString(value);
	value = heap_getattr(row, CHATGLM_MODEL_PATH, desc, &isnull);
	if (!isnull)
		ref.path = TextDatumGetCString(value);
	value = heap_getattr(row, CHATGLM_MODEL_OPTIONS, desc, &isnull);
	if (!isnull)
	{
		Jsonb *json = DatumGetJsonbP(value);

		ref.options = JsonbToCString(NULL, &json->root, VARSIZE(json));
	}
	ref.registered = true;
	return ref;
}

HeapTuple
chatglm_find_model_row(Relation table, const char *name)
{
	return chatglm_find_row(table, &name, 1);
}

bool
chatglm_read_model_row(const char *name, ChatglmModelRef *ref)
{
	Relation  table = chatglm_open_model_table(AccessShareLock);
	HeapTuple row;

	if (table == NULL)
		return false;
	row = chatglm_find_model_row(table, name);
	if (HeapTupleIsValid(row))
		*ref = row_to_ref(row, RelationGetDescr(table));
	table_close(table, AccessShareLock);
	return HeapTupleIsValid(row);
}

List *
chatglm_registered_models(void)
{
	Relation	table = chatglm_open_model_table(AccessShareLock);
	SysScanDesc scan;
	HeapTuple	row;
	List	   *refs = NIL;

	if (table == NULL)
		return NIL;
	scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		ChatglmModelRef *ref = palloc(sizeof(*ref));

		*ref = row_to_ref(row, RelationGetDescr(table));
		if (ref->name != NULL)
			refs = lappend(refs, ref);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return refs;
}
