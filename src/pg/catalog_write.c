/*
 * catalog_write.c - rows of tables of configuration, written by functions and triggers.
 *
 * Callers of these functions need no right on the table.  An INSERT with the rights
 * of its owner would run what others have attached to the table with these rights, and
 * a grant of TRIGGER would be as good as the owner's password.  So the row is written
 * as rows of catalogs are, past the executor: nothing runs but the indexes' own
 * comparisons.  But what is attached was meant to run, so a table that has more on it
 * than the extension made is refused, and left to plain SQL.
 *
 * The lock that a write takes keeps other writers out, and triggers from being
 * made, until the transaction ends.
 */
#include "chatglm.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "catalog.h"
#include "function.h"

#define WRITE_LOCK ShareRowExclusiveLock

/* ---- What others have put on a table ------------------------------------------------ */

static bool
is_our_trigger(const ChatglmTable *table, const Trigger *trigger)
{
	char *symbol = chatglm_c_function(trigger->tgfoid, Anum_pg_proc_prosrc);

	return symbol != NULL && strcmp(symbol, table->trigger) == 0;
}

/*
 * A trigger that an INSERT, an UPDATE of all but the name, or a DELETE would fire and
 * that is not ours.  Of foreign keys that refer to a name only a DELETE has to know.
 */
static const char *
foreign_trigger(const ChatglmTable *table, const Relation relation, bool to_delete)
{
	const TriggerDesc *all = relation->trigdesc;

	for (int i = 0; all != NULL && i < all->numtriggers; i++)
	{
		const Trigger *trigger = &all->triggers[i];

		if (!is_our_trigger(table, trigger) &&
			(to_delete || !trigger->tgisinternal || TRIGGER_FOR_INSERT(trigger->tgtype)))
			return psprintf("trigger \"%s\"", trigger->tgname);
	}
	return NULL;
}

/* An index with an expression of somebody's, or one that is not written at once. */
static const char *
foreign_index(const Relation relation)
{
	List	   *indexes = RelationGetIndexList(relation);
	const char *found = NULL;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		if (RelationGetIndexExpressions(index) != NIL || RelationGetIndexPredicate(index) != NIL ||
			index->rd_index->indisexclusion || !index->rd_index->indimmediate)
			found = psprintf("index \"%s\"", RelationGetRelationName(index));
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

/* What is on the table that the extension did not put there; NULL: nothing. */
static const char *
foreign_matter(const ChatglmTable *table, const Relation relation, bool to_delete)
{
	const TupleConstr *constraints = RelationGetDescr(relation)->constr;
	const char		  *found = foreign_trigger(table, relation, to_delete);

	if (found == NULL)
		found = foreign_index(relation);
	if (found == NULL && constraints != NULL && constraints->num_check > 0)
		found = psprintf("constraint \"%s\"", constraints->check[0].ccname);
	if (found == NULL && relation->rd_rules != NULL)
		found = "a rule";
	if (found == NULL && relation->rd_rel->relrowsecurity)
		found = "row security";
	if (found == NULL && RelationGetDescr(relation)->natts != table->n_columns)
		found = "another column";
	if (found == NULL && relation->rd_rel->relam != HEAP_TABLE_AM_OID)
		found = "another access method";
	return found;
}

/* ---- Writing --------------------------------------------------------------------------- */

static Relation
open_for_writing(const ChatglmTable *table, bool to_delete)
{
	Relation	relation = chatglm_open_table(table, WRITE_LOCK);
	const char *foreign;

	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table chatglm.%s is not there as the extension made it", table->name),
				 errhint("Drop and create the extension again.")));
	foreign = foreign_matter(table, relation, to_delete);
	if (foreign != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table chatglm.%s has %s that is not the extension's", table->name,
							   foreign),
						errdetail("It would not be heeded here."),
						errhint("Drop it, or write to the table by SQL.")));
	return relation;
}

void
chatglm_store_row(const ChatglmTable *table, Datum *values, bool *nulls)
{
	Relation  relation = open_for_writing(table, false);
	char	 *name = TextDatumGetCString(values[0]);
	HeapTuple old = chatglm_find_row(relation, (const char *const *) &name, 1);
	HeapTuple row = heap_form_tuple(RelationGetDescr(relation), values, nulls);

	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(relation, &old->t_self, row);
	else
		CatalogTupleInsert(relation, row);
	table_close(relation, NoLock);
	CommandCounterIncrement(); /* the name means this from now on */
}

bool
chatglm_delete_row(const ChatglmTable *table, const char *name)
{
	Relation  relation = open_for_writing(table, true);
	HeapTuple row = chatglm_find_row(relation, &name, 1);

	if (HeapTupleIsValid(row))
		CatalogTupleDelete(relation, &row->t_self);
	table_close(relation, NoLock);
	CommandCounterIncrement();
	return HeapTupleIsValid(row);
}

HeapTuple
chatglm_new_row(FunctionCallInfo fcinfo, const ChatglmTable *table, const char *name, Datum *values,
				bool *nulls)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	 row;
	TupleDesc	 desc;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s must be a BEFORE INSERT OR UPDATE row trigger", name)));

	if (!chatglm_is_table(table, trigger->tg_relation))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" has not the columns of chatglm.%s",
							   RelationGetRelationName(trigger->tg_relation), table->name)));

	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	desc = RelationGetDescr(trigger->tg_relation);
	for (int i = 0; i < table->n_columns; i++)
		values[i] = heap_getattr(row, i + 1, desc, &nulls[i]);
	return row;
}
