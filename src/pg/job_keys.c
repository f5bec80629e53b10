/*
 * job_keys.c - keys of rows, as values and as texts.
 *
 * Queue, errors and the place that a walk has come to name a row by one text: of one
 * column the value's, of several that of an array of them.  Both directions happen under
 * chatglm_job_set_output(), so that sessions with different settings read alike.
 */
#include "chatglm.h"

#include "access/genam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "jobs.h"

static void	 describe_key(ChatglmJobKey *key, Relation source, const char *column);
static char *operator_name(Oid op);
static bool	 is_unique_index_of(Relation index, const ChatglmJobKeys *keys);

AttrNumber
chatglm_job_attnum(Relation source, const char *column, const char *what)
{
	AttrNumber attnum = get_attnum(RelationGetRelid(source), column);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("%s column \"%s\" of table \"%s\" does not exist", what, column,
							   RelationGetRelationName(source))));
	if (attnum < 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s column \"%s\" is a system column", what, column)));
	return attnum;
}

/* ---- What the columns are -------------------------------------------------------- */

ChatglmJobKeys *
chatglm_job_keys(Relation source, char **names, int n)
{
	ChatglmJobKeys *keys = palloc(sizeof(*keys));

	keys->n = n;
	keys->key = palloc0(n * sizeof(ChatglmJobKey));
	for (int i = 0; i < n; i++)
		describe_key(&keys->key[i], source, names[i]);
	return keys;
}

static void
describe_key(ChatglmJobKey *key, Relation source, const char *column)
{
	TypeCacheEntry *type;
	bool			varlena;

	key->name = pstrdup(quote_identifier(column));
	key->attnum = chatglm_job_attnum(source, column, "key");
	key->typmod = TupleDescAttr(RelationGetDescr(source), key->attnum - 1)->atttypmod;
	key->type = getBaseTypeAndTypmod(
		TupleDescAttr(RelationGetDescr(source), key->attnum - 1)->atttypid, &key->typmod);
	key->type_name = format_type_extended(key->type, key->typmod,
										  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
	getTypeOutputInfo(key->type, &key->output, &varlena);
	getTypeInputInfo(key->type, &key->input, &key->ioparam);

	type = lookup_type_cache(key->type, TYPECACHE_EQ_OPR | TYPECACHE_GT_OPR);
	if (!OidIsValid(type->eq_opr) || !OidIsValid(type->gt_opr) ||
		OidIsValid(get_element_type(key->type)) || type_is_rowtype(key->type))
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("column \"%s\" of type %s cannot be a key", column, format_type_be(key->type)),
			 errhint("Keys are of types that have an order, without arrays and row types.")));
	key->equal = operator_name(type->eq_opr);
	key->greater = operator_name(type->gt_opr);
}

static char *
operator_name(Oid op)
{
	HeapTuple		 tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(op));
	Form_pg_operator form;
	char			*name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", op);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	name = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return name;
}

/* ---- Unique and never null ------------------------------------------------------- */

/* Any order of the columns will do. */
static bool
is_unique_index_of(Relation index, const ChatglmJobKeys *keys)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indisvalid || !form->indimmediate ||
		form->indnkeyatts != keys->n || RelationGetIndexExpressions(index) != NIL ||
		RelationGetIndexPredicate(index) != NIL)
		return false;
	for (int i = 0; i < keys->n; i++)
	{
		bool found = false;

		for (int j = 0; j < keys->n; j++)
			found |= form->indkey.values[j] == keys->key[i].attnum;
		if (!found)
			return false;
	}
	return true;
}

void
chatglm_job_check_keys(Relation source, const ChatglmJobKeys *keys)
{
	List	 *indexes = RelationGetIndexList(source);
	bool	  unique = false;
	ListCell *cell;

	foreach(cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		unique |= is_unique_index_of(index, keys);
		index_close(index, AccessShareLock);
	}
	if (!unique)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the key of a job must be unique in table \"%s\"",
							   RelationGetRelationName(source)),
						errhint("Name the columns of its primary key, or of a unique index that "
								"has no condition and no expressions.")));
	for (int i = 0; i < keys->n; i++)
		if (!TupleDescAttr(RelationGetDescr(source), keys->key[i].attnum - 1)->attnotnull)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key column %s may be null", keys->key[i].name),
					 errhint("ALTER TABLE ... ALTER COLUMN ... SET NOT NULL makes it a key.")));
	/* a walk compares rows of several columns by one operator */
	for (int i = 0; i < keys->n && keys->n > 1; i++)
		if (strcmp(keys->key[i].greater, "OPERATOR(pg_catalog.>)") != 0)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("key column %s of type %s cannot be one of several",
								   keys->key[i].name, format_type_be(keys->key[i].type))));
}

/* ---- Texts ----------------------------------------------------------------------- */

char *
chatglm_job_key_text(const ChatglmJobKeys *keys, const Datum *values)
{
	Datum	  *texts;
	ArrayType *array;

	if (keys->n == 1)
		return OidOutputFunctionCall(keys->key[0].output, values[0]);
	texts = palloc(keys->n * sizeof(Datum));
	for (int i = 0; i < keys->n; i++)
		texts[i] = CStringGetTextDatum(OidOutputFunctionCall(keys->key[i].output, values[i]));
	array = construct_array(texts, keys->n, TEXTOID, -1, false, TYPALIGN_INT);
	return OidOutputFunctionCall(F_ARRAY_OUT, PointerGetDatum(array));
}

void
chatglm_job_key_values(const ChatglmJobKeys *keys, const char *key, Datum *values)
{
	Datum *texts;
	int	   n = 1;

	if (keys->n == 1)
	{
		values[0] = OidInputFunctionCall(keys->key[0].input, unconstify(char *, key),
										 keys->key[0].ioparam, keys->key[0].typmod);
		return;
	}
	deconstruct_array(
		DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, unconstify(char *, key), TEXTOID, -1)),
		TEXTOID, -1, false, TYPALIGN_INT, &texts, NULL, &n);
	if (n != keys->n)
		elog(ERROR, "a key of %d columns was expected, not \"%s\"", keys->n, key);
	for (int i = 0; i < n; i++)
		values[i] = OidInputFunctionCall(keys->key[i].input, TextDatumGetCString(texts[i]),
										 keys->key[i].ioparam, keys->key[i].typmod);
}
