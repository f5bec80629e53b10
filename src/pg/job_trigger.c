/*
 * job_trigger.c - how a job hears of changes.
 *
 * A row trigger: the server clones it to partitions, those to come too, and fires it for
 * rows that are written into a partition by name or by COPY, or moved between two; for
 * rows that logical replication brings where the job asks for these.  It compares the
 * columns that the job reads byte by byte, runs no operator and no SQL, and appends the
 * key to a table of changes: no writer waits for another one or for the job.  That table has
 * no index and no numbers, which cost a writer more than all the rest; whoever claims next,
 * for whatever job, takes what is there into the queue, which has both.
 *
 * Columns are arguments of the trigger, by name, so a dump has them.  One that is gone or
 * renamed counts as changed; without the key there is nothing to queue, and the job itself
 * will say what is wrong.  A writer never gets an error from here.
 *
 * The table is written as catalogs are, past the executor and whatever rights the writer
 * has: nothing but the key leaves his transaction.
 */
#include "chatglm.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "function.h"
#include "job_shared.h"
#include "job_trigger.h"

#define CHANGE_COLUMNS 3 /* as chatglm--1.0.sql has them */
#define TAKEN "10000"	 /* changes, by one claim */

PG_FUNCTION_INFO_V1(chatglm_job_row);

/* What is to be known of a trigger. */
typedef struct Watch
{
	Oid		   trigger;
	char	   job[NAMEDATALEN];
	Oid		   changes; /* table chatglm.job_change */
	bool	   wanted;	/* the job wants to hear of changes, and the key is there */
	Oid		   owner;	/* whom to wake; InvalidOid: nobody works in the background */
	int		   n_keys;
	AttrNumber key[INDEX_MAX_KEYS];
	FmgrInfo   output[INDEX_MAX_KEYS];
	bool	   plain; /* the key's text depends on no setting */
	bool	   gone;  /* a column is: every change counts */
	int		   n_watched;
	AttrNumber watched[MaxTupleAttributeNumber];
} Watch;

/* ---- Making and dropping --------------------------------------------------------- */

/* Names of long jobs end in a hash, so that two do not meet. */
static char *
trigger_name(const char *job)
{
	if (strlen(job) < NAMEDATALEN - 16)
		return psprintf("chatglm_job_%s", job);
	return psprintf("chatglm_job_%08x",
					DatumGetUInt32(hash_any((const unsigned char *) job, strlen(job))));
}

char *
chatglm_job_table_name(Relation source)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(source)),
									  RelationGetRelationName(source));
}

static void
run_ddl(char *sql)
{
	ChatglmJobArgs none = {0};

	(void) chatglm_job_sql(sql, &none);
}

void
chatglm_job_make_trigger(const ChatglmJob *job, const char *table, List *watched)
{
	char		  *name = pstrdup(quote_identifier(trigger_name(job->name)));
	StringInfoData sql;
	ListCell	  *cell;

	if (pg_class_aclcheck(job->source, GetUserId(), ACL_TRIGGER) != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to follow changes of table %s", table),
						errhint("A continuous job needs the privilege TRIGGER on its table.")));
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "CREATE TRIGGER %s AFTER INSERT OR UPDATE ON %s FOR EACH ROW "
					 "EXECUTE FUNCTION chatglm.job_row(%s, '%d'",
					 name, table, quote_literal_cstr(job->name), job->n_keys);
	for (int i = 0; i < job->n_keys; i++)
		appendStringInfo(&sql, ", %s", quote_literal_cstr(job->keys[i]));
	foreach(cell, watched)
		appendStringInfo(&sql, ", %s",
						 quote_literal_cstr(get_attname(job->source, lfirst_int(cell), false)));
	appendStringInfoChar(&sql, ')');
	run_ddl(sql.data);
	/* so DROP EXTENSION takes it along */
	run_ddl(psprintf("ALTER TRIGGER %s ON %s DEPENDS ON EXTENSION chatglm", name, table));
	if (job->options.replicated)
		run_ddl(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table, name));
}

static bool
is_trigger_of(const Trigger *trigger, const char *job)
{
	char *symbol = chatglm_c_function(trigger->tgfoid, Anum_pg_proc_prosrc);

	return !trigger->tgisinternal && symbol != NULL && strcmp(symbol, "chatglm_job_row") == 0 &&
		   trigger->tgnargs > 0 && strcmp(trigger->tgargs[0], job) == 0;
}

void
chatglm_job_drop_trigger(const ChatglmJob *job, Relation source)
{
	const TriggerDesc *all = source->trigdesc;
	char			  *table = chatglm_job_table_name(source);
	List			  *names = NIL;
	ListCell		  *cell;

	for (int i = 0; all != NULL && i < all->numtriggers; i++)
		if (is_trigger_of(&all->triggers[i], job->name))
			names = lappend(names, pstrdup(all->triggers[i].tgname));
	table_close(source, NoLock);
	foreach(cell, names)
		run_ddl(psprintf("DROP TRIGGER %s ON %s", quote_identifier(lfirst(cell)), table));
}

/* ---- What is known of triggers --------------------------------------------------- */

/*
 * Kept in the session, as looking it up takes longer than all else about a row.  Whatever
 * changes with a relation, a job's state too, makes all of it outdated; statements that
 * are under way may still have it, so it goes with the transaction.
 */
static HTAB			*watches;
static MemoryContext watches_context;
static bool			 outdated;

static Oid
relation_of_jobs(const char *name)
{
	Oid schema = get_namespace_oid("chatglm", true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

static void
relation_changed(Datum arg, Oid relation)
{
	outdated = true;
}

void
chatglm_job_changed(void)
{
	CacheInvalidateRelcacheByRelid(relation_of_jobs("job"));
}

static char *
job_attribute(HeapTuple row, TupleDesc desc, const char *column)
{
	int number = SPI_fnumber(desc, column);

	return number > 0 ? SPI_getvalue(row, desc, number) : NULL;
}

/* The job's row, without asking for a right on it. */
static void
read_job(Watch *watch)
{
	Relation	table = table_open(relation_of_jobs("job"), AccessShareLock);
	TupleDesc	desc = RelationGetDescr(table);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	row;

	list_free(RelationGetIndexList(table)); /* fills rd_pkindex */
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(watch->job));
	scan =
		systable_beginscan(table, table->rd_pkindex, OidIsValid(table->rd_pkindex), NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
	{
		char *state = job_attribute(row, desc, "state");
		char *background = job_attribute(row, desc, "background");
		bool  isnull;

		watch->wanted =
			state != NULL && strcmp(state, "created") != 0 && strcmp(state, "cancelled") != 0;
		if (watch->wanted && strcmp(state, "running") == 0 && background != NULL &&
			background[0] == 't')
			watch->owner = DatumGetObjectId(heap_getattr(row, 2, desc, &isnull));
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
}

/* The text of a date depends on settings, that of these does not. */
static bool
is_plain_type(Oid type)
{
	return type == INT8OID || type == INT4OID || type == INT2OID || type == TEXTOID ||
		   type == VARCHAROID || type == UUIDOID || type == NUMERICOID || type == BPCHAROID ||
		   type == OIDOID || type == NAMEOID;
}

static void
find_keys(Watch *watch, Relation table, char **args)
{
	watch->plain = true;
	for (int i = 0; i < watch->n_keys; i++)
	{
		AttrNumber attnum = get_attnum(RelationGetRelid(table), args[i]);
		Oid		   type;
		Oid		   output;
		bool	   varlena;

		watch->wanted &= attnum > 0;
		if (attnum <= 0)
			continue;
		type = getBaseType(TupleDescAttr(RelationGetDescr(table), attnum - 1)->atttypid);
		watch->key[i] = attnum;
		watch->plain &= is_plain_type(type);
		getTypeOutputInfo(type, &output, &varlena);
		fmgr_info_cxt(output, &watch->output[i], watches_context);
	}
}

static void
find_watched(Watch *watch, Relation table, const Trigger *trigger)
{
	for (int i = 2; i < trigger->tgnargs; i++)
	{
		AttrNumber attnum = get_attnum(RelationGetRelid(table), trigger->tgargs[i]);

		if (attnum > 0)
			watch->watched[watch->n_watched++] = attnum;
		else
			watch->gone = true;
	}
}

static void
find_out(Watch *watch, Relation table, const Trigger *trigger)
{
	watch->trigger = trigger->tgoid;
	watch->changes = relation_of_jobs("job_change");
	if (trigger->tgnargs < 2 || !OidIsValid(relation_of_jobs("job")))
		return;
	watch->n_keys = pg_strtoint32(trigger->tgargs[1]);
	if (watch->n_keys < 1 || watch->n_keys > INDEX_MAX_KEYS || trigger->tgnargs < 2 + watch->n_keys)
		return;
	strlcpy(watch->job, trigger->tgargs[0], NAMEDATALEN);
	read_job(watch);
	find_keys(watch, table, trigger->tgargs + 2);
	find_watched(watch, table, trigger);
}

static void
renew_watches(void)
{
	static bool registered = false;
	HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(Watch)};

	if (watches != NULL && !outdated)
		return;
	if (!registered)
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	registered = true;
	if (watches != NULL)
		MemoryContextSetParent(watches_context, TopTransactionContext);
	watches = NULL;
	watches_context =
		AllocSetContextCreate(TopMemoryContext, "chatglm triggers", ALLOCSET_DEFAULT_SIZES);
	control.hcxt = watches_context;
	watches = hash_create("chatglm triggers", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	outdated = false;
}

static Watch *
begin_watch(FunctionCallInfo fcinfo, const TriggerData *data)
{
	Oid	   trigger = data->tg_trigger->tgoid;
	Watch *watch;
	Watch *kept;

	renew_watches();
	watch = hash_search(watches, &trigger, HASH_FIND, NULL);
	if (watch == NULL)
	{
		watch = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Watch));
		find_out(watch, data->tg_relation, data->tg_trigger);
		if (!outdated)
		{
			kept = hash_search(watches, &trigger, HASH_ENTER, NULL);
			*kept = *watch;
			watch = kept;
		}
	}
	fcinfo->flinfo->fn_extra = watch;
	return watch;
}

/* ---- A row ----------------------------------------------------------------------- */

static bool
is_same(TupleTableSlot *old, TupleTableSlot *new, AttrNumber attnum)
{
	Form_pg_attribute attribute = TupleDescAttr(old->tts_tupleDescriptor, attnum - 1);
	bool			  old_null;
	bool			  new_null;
	Datum			  old_value = slot_getattr(old, attnum, &old_null);
	Datum			  new_value = slot_getattr(new, attnum, &new_null);

	if (old_null || new_null)
		return old_null && new_null;
	return datum_image_eq(old_value, new_value, attribute->attbyval, attribute->attlen);
}

static bool
is_changed(const Watch *watch, const TriggerData *data)
{
	if (!TRIGGER_FIRED_BY_UPDATE(data->tg_event) || watch->gone)
		return true;
	for (int i = 0; i < watch->n_watched; i++)
		if (!is_same(data->tg_trigslot, data->tg_newslot, watch->watched[i]))
			return true;
	return false;
}

static Datum
key_text(Watch *watch, TupleTableSlot *row)
{
	Datum texts[INDEX_MAX_KEYS];
	int	  level = watch->plain ? 0 : chatglm_job_set_output();

	for (int i = 0; i < watch->n_keys; i++)
	{
		bool  isnull;
		Datum value = slot_getattr(row, watch->key[i], &isnull);

		if (isnull)
			return (Datum) 0;
		texts[i] = CStringGetTextDatum(OutputFunctionCall(&watch->output[i], value));
	}
	if (!watch->plain)
		AtEOXact_GUC(true, level);
	if (watch->n_keys == 1)
		return texts[0];
	return CStringGetTextDatum(OidOutputFunctionCall(
		F_ARRAY_OUT,
		PointerGetDatum(construct_array(texts, watch->n_keys, TEXTOID, -1, false, TYPALIGN_INT))));
}

/* The table of changes, if it is as the extension made it; NULL: it is not. */
static Relation
open_changes(const Watch *watch)
{
	static const Oid types[CHANGE_COLUMNS] = {TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Relation		 changes =
		OidIsValid(watch->changes) ? try_relation_open(watch->changes, RowExclusiveLock) : NULL;
	bool good = changes != NULL && RelationGetDescr(changes)->natts == CHANGE_COLUMNS;

	for (int i = 0; good && i < CHANGE_COLUMNS; i++)
		good = TupleDescAttr(RelationGetDescr(changes), i)->atttypid == types[i];
	if (changes != NULL && !good)
	{
		table_close(changes, RowExclusiveLock);
		changes = NULL;
	}
	return changes;
}

/* Columns: job, key, queued_at. */
static void
append_key(const Watch *watch, Datum key)
{
	Relation  changes = open_changes(watch);
	Datum	  values[CHANGE_COLUMNS];
	bool	  nulls[CHANGE_COLUMNS] = {false};
	HeapTuple row;

	if (changes == NULL)
		return;
	values[0] = CStringGetTextDatum(watch->job);
	values[1] = key;
	values[2] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	row = heap_form_tuple(RelationGetDescr(changes), values, nulls);
	CatalogTupleInsert(changes, row);
	heap_freetuple(row);
	table_close(changes, NoLock);
}

/* chatglm.job_row(job, number of key columns, key columns ..., other columns ...) */
Datum
chatglm_job_row(PG_FUNCTION_ARGS)
{
	TriggerData	   *data = (TriggerData *) fcinfo->context;
	Watch		   *watch;
	TupleTableSlot *row;
	Datum			key;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(data->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(data->tg_event) || TRIGGER_FIRED_BY_DELETE(data->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("chatglm.job_row must be an AFTER INSERT OR UPDATE row trigger")));
	watch = fcinfo->flinfo->fn_extra;
	if (watch == NULL)
		watch = begin_watch(fcinfo, data);
	if (!watch->wanted || !is_changed(watch, data))
		return PointerGetDatum(NULL);
	row = TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newslot : data->tg_trigslot;
	key = key_text(watch, row);
	if (key != (Datum) 0)
		append_key(watch, key);
	if (OidIsValid(watch->owner))
		chatglm_jobs_wake(watch->owner);
	return PointerGetDatum(NULL);
}

/* ---- Into the queue -------------------------------------------------------------- */

/* Who takes changes at the same time waits for this one, and finds them in the queue. */
void
chatglm_job_take_changes(void)
{
	ChatglmJobArgs none = {0};

	(void) chatglm_job_sql(
		"WITH taken AS (DELETE FROM chatglm.job_change WHERE ctid = ANY (ARRAY("
		"SELECT ctid FROM chatglm.job_change LIMIT " TAKEN ")) RETURNING *) "
		"INSERT INTO chatglm.job_queue (job, keys, changed, queued_at) "
		"SELECT job, ARRAY[key], true, min(queued_at) FROM taken GROUP BY job, key ORDER BY 4",
		&none);
}
