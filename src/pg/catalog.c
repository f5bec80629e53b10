/*
 * catalog.c - the table chatglm.model as names of models are looked up in it.
 *
 * The table is configuration, as the system catalogs are: whoever may call a function
 * may use every name in it, so it is read here by an index scan that asks for no
 * privilege, and with a catalog snapshot, so that a model registered a moment ago is
 * known in a long transaction too.
 *
 * So what is in it is not trusted.  Its owner may alter it, and then a column may be
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

bool
chatglm_is_model_table(Relation table)
{
	static const Oid types[CHATGLM_MODEL_COLUMNS] = {TEXTOID, TEXTOID, JSONBOID};
	TupleDesc		 desc = RelationGetDescr(table);

	if (table->rd_rel->relkind != RELKIND_RELATION || desc->natts < CHATGLM_MODEL_COLUMNS)
		return false;
	for (int i = 0; i < CHATGLM_MODEL_COLUMNS; i++)
		if (TupleDescAttr(desc, i)->attisdropped || TupleDescAttr(desc, i)->atttypid != types[i])
			return false;
	return true;
}

Oid
chatglm_model_table_oid(void)
{
	Oid schema = get_namespace_oid("chatglm", true);

	return OidIsValid(schema) ? get_relname_relid("model", schema) : InvalidOid;
}

Relation
chatglm_open_model_table(LOCKMODE lock)
{
	Oid		 oid = chatglm_model_table_oid();
	Relation table = OidIsValid(oid) ? try_relation_open(oid, lock) : NULL;

	if (table != NULL && !chatglm_is_model_table(table))
	{
		relation_close(table, lock);
		return NULL;
	}
	return table;
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

/* The column has collation "C", as ScanKeyInit assumes. */
HeapTuple
chatglm_find_model_row(Relation table, const char *name)
{
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	row;
	List	   *indexes;

	indexes = RelationGetIndexList(table); /* fills rd_pkindex */
	ScanKeyInit(&key, CHATGLM_MODEL_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	scan =
		systable_beginscan(table, table->rd_pkindex, OidIsValid(table->rd_pkindex), NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		row = heap_copytuple(row);
	systable_endscan(scan);
	list_free(indexes);
	return row;
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
