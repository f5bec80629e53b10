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

const ChatglmTable chatglm_model_table = {
	"model", "chatglm_model_check", CHATGLM_MODEL_COLUMNS, {TEXTOID, TEXTOID, JSONBOID}};
const ChatglmTable chatglm_route_table = {"route", "chatglm_route_check", 2, {TEXTOID, JSONBOID}};
const ChatglmTable chatglm_linear_table = {
	"linear_model",
	"chatglm_linear_check",
	6,
	{TEXTOID, NAMEOID, TEXTOID, FLOAT8OID, JSONBOID, JSONBOID}};

/* ---- Tables ------------------------------------------------------------------ */

bool
chatglm_is_table(const ChatglmTable *table, Relation relation)
{
	TupleDesc desc = RelationGetDescr(relation);

	if (relation->rd_rel->relkind != RELKIND_RELATION || desc->natts < table->n_columns)
		return false;
	for (int i = 0; i < table->n_columns; i++)
		if (TupleDescAttr(desc, i)->attisdropped ||
			TupleDescAttr(desc, i)->atttypid != table->types[i])
			return false;
	return true;
}

Oid
chatglm_table_oid(const ChatglmTable *table)
{
	Oid schema = get_namespace_oid("chatglm", true);

	return OidIsValid(schema) ? get_relname_relid(table->name, schema) : InvalidOid;
}

Relation
chatglm_open_table(const ChatglmTable *table, LOCKMODE lock)
{
	Oid		 oid = chatglm_table_oid(table);
	Relation relation = OidIsValid(oid) ? try_relation_open(oid, lock) : NULL;

	if (relation != NULL && !chatglm_is_table(table, relation))
	{
		relation_close(relation, lock);
		return NULL;
	}
	return relation;
}

/* The columns have collation "C", as ScanKeyInit assumes. */
HeapTuple
chatglm_find_row(Relation relation, const char *const *key, int n)
{
	SysScanDesc scan;
	ScanKeyData keys[CHATGLM_KEY_COLUMNS];
	HeapTuple	row;
	List	   *indexes;

	indexes = RelationGetIndexList(relation); /* fills rd_pkindex */
	for (int i = 0; i < n; i++)
		ScanKeyInit(&keys[i], i + 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(key[i]));
	scan = systable_beginscan(relation, relation->rd_pkindex, OidIsValid(relation->rd_pkindex),
							  NULL, n, keys);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		row = heap_copytuple(row);
	systable_endscan(scan);
	list_free(indexes);
	return row;
}

/* ---- chatglm.model ------------------------------------------------------------ */

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

bool
chatglm_read_model_row(const char *name, ChatglmModelRef *ref)
{
	Relation  table = chatglm_open_table(&chatglm_model_table, AccessShareLock);
	HeapTuple row;

	if (table == NULL)
		return false;
	row = chatglm_find_row(table, &name, 1);
	if (HeapTupleIsValid(row))
		*ref = row_to_ref(row, RelationGetDescr(table));
	table_close(table, AccessShareLock);
	return HeapTupleIsValid(row);
}

List *
chatglm_registered_models(void)
{
	Relation	table = chatglm_open_table(&chatglm_model_table, AccessShareLock);
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
