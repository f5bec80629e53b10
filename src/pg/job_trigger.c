/*
 * job_trigger.c - how a job hears of changes.
 *
 * A row trigger: the server clones it to partitions, those to come too, and fires it for
 * rows that are written into a partition by name or by COPY, or moved between two; for
 * rows that logical replication brings where the job asks for these.  It compares the
 * columns that the job reads byte by byte, runs no operator and no SQL, and appends the
 * key to the queue: no writer waits for another one or for the job.
 *
 * Columns are arguments of the trigger, by name, so a dump has them.  One that is gone or
 * renamed counts as changed; without the key there is nothing to queue, and the job itself
 * will say what is wrong.  A writer never gets an error from here.
 *
 * The queue is written as catalogs are, past the executor and whatever rights the writer
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
#include "commands/sequence.h"
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

#include "function.h"
#include "job_shared.h"
#include "job_trigger.h"

#define QUEUE_COLUMNS 10 /* as chatglm--1.0.sql has them */
#define QUEUE_GIVEN 6	 /* of these, those a trigger gives; the rest are null or now */

PG_FUNCTION_INFO_V1(chatglm_job_row);

/* What a statement needs to know of a trigger; in the memory of the statement. */
typedef struct Watch
{
	bool	   wanted; /* the job wants to hear of changes, and the key is there */
	Oid		   owner;
	char	  *job;
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

/* ---- What is known of jobs ------------------------------------------------------- */

typedef struct KnownJob
{
	char name[NAMEDATALEN];
	Oid	 owner;
	bool follows; /* it is begun: the queue takes keys */
	bool runs;	  /* in the background, so somebody should be woken */
} KnownJob;

static HTAB *known_jobs;
static bool	 jobs_outdated;

static Oid
relation_of_jobs(const char *name)
{
	Oid schema = get_namespace_oid("chatglm", true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

static void
jobs_changed(Datum arg, Oid relation)
{
	jobs_outdated = true;
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
read_job(KnownJob *known)
{
	Relation	table = table_open(relation_of_jobs("job"), AccessShareLock);
	TupleDesc	desc = RelationGetDescr(table);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	row;

	list_free(RelationGetIndexList(table)); /* fills rd_pkindex */
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(known->name));
	scan =
		systable_beginscan(table, table->rd_pkindex, OidIsValid(table->rd_pkindex), NULL, 1, &key);
	row = systable_getnext(scan);
	known->follows = known->runs = false;
	if (HeapTupleIsValid(row))
	{
		char *state = job_attribute(row, desc, "state");
		char *background = job_attribute(row, desc, "background");
		bool  isnull;

		known->owner = DatumGetObjectId(heap_getattr(row, 2, desc, &isnull));
		known->follows =
			state != NULL && strcmp(state, "created") != 0 && strcmp(state, "cancelled") != 0;
		known->runs = known->follows && strcmp(state, "running") == 0 && background != NULL &&
					  background[0] == 't';
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
}

static KnownJob
known_job(const char *name)
{
	static bool registered = false;
	KnownJob   *known;
	KnownJob	fresh = {0};

	if (!registered)
		CacheRegisterRelcacheCallback(jobs_changed, (Datum) 0);
	registered = true;
	if (known_jobs != NULL && jobs_outdated)
	{
		hash_destroy(known_jobs);
		known_jobs = NULL;
	}
	if (known_jobs == NULL)
	{
		HASHCTL control = {.keysize = NAMEDATALEN, .entrysize = sizeof(KnownJob)};

		known_jobs = hash_create("chatglm jobs known", 16, &control, HASH_ELEM | HASH_STRINGS);
		jobs_outdated = false;
	}
	known = hash_search(known_jobs, name, HASH_FIND, NULL);
	if (known != NULL)
		return *known;
	strlcpy(fresh.name, name, NAMEDATALEN);
	read_job(&fresh);
	if (!jobs_outdated)
		*(KnownJob *) hash_search(known_jobs, name, HASH_ENTER, NULL) = fresh;
	return fresh;
}

/* ---- A statement ----------------------------------------------------------------- */

/* The text of a date depends on settings, that of these does not. */
static bool
is_plain_type(Oid type)
{
	return type == INT8OID || type == INT4OID || type == INT2OID || type == TEXTOID ||
		   type == VARCHAROID || type == UUIDOID || type == NUMERICOID || type == BPCHAROID ||
		   type == OIDOID || type == NAMEOID;
}

static void
find_keys(Watch *watch, Relation table, char **args, MemoryContext context)
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
		fmgr_info_cxt(output, &watch->output[i], context);
	}
}

static Watch *
begin_watch(FunctionCallInfo fcinfo, const TriggerData *data)
{
	const Trigger *trigger = data->tg_trigger;
	Watch		  *watch = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Watch));
	KnownJob	   job;

	fcinfo->flinfo->fn_extra = watch;
	if (trigger->tgnargs < 2 || !OidIsValid(relation_of_jobs("job")))
		return watch;
	watch->n_keys = pg_strtoint32(trigger->tgargs[1]);
	if (watch->n_keys < 1 || watch->n_keys > INDEX_MAX_KEYS || trigger->tgnargs < 2 + watch->n_keys)
		return watch;
	job = known_job(trigger->tgargs[0]);
	watch->job = MemoryContextStrdup(fcinfo->flinfo->fn_mcxt, trigger->tgargs[0]);
	watch->owner = job.runs ? job.owner : InvalidOid;
	watch->wanted = job.follows;
	find_keys(watch, data->tg_relation, trigger->tgargs + 2, fcinfo->flinfo->fn_mcxt);
	for (int i = 2; i < trigger->tgnargs; i++)
	{
		AttrNumber attnum = get_attnum(RelationGetRelid(data->tg_relation), trigger->tgargs[i]);

		if (attnum > 0)
			watch->watched[watch->n_watched++] = attnum;
		else
			watch->gone = true;
	}
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

/* The queue, if it is as the extension made it; NULL: it is not. */
static Relation
open_queue(void)
{
	static const Oid types[QUEUE_GIVEN] = {INT8OID, TEXTOID, TEXTARRAYOID,
										   BOOLOID, INT4OID, INT4OID};
	Oid				 oid = relation_of_jobs("job_queue");
	Relation		 queue = OidIsValid(oid) ? try_relation_open(oid, RowExclusiveLock) : NULL;
	bool			 good = queue != NULL && RelationGetDescr(queue)->natts == QUEUE_COLUMNS;

	for (int i = 0; good && i < QUEUE_GIVEN; i++)
		good = !TupleDescAttr(RelationGetDescr(queue), i)->attisdropped &&
			   TupleDescAttr(RelationGetDescr(queue), i)->atttypid == types[i];
	if (queue != NULL && !good)
	{
		table_close(queue, RowExclusiveLock);
		queue = NULL;
	}
	return queue;
}

/* Columns: id, job, keys, changed, tries, claims, worker, pid, not_before, queued_at. */
static void
append_key(const Watch *watch, Datum key)
{
	Relation  queue = open_queue();
	Oid		  sequence = relation_of_jobs("job_queue_id");
	Datum	  values[QUEUE_COLUMNS] = {0};
	bool	  nulls[QUEUE_COLUMNS] = {[6] = true, [7] = true, [8] = true};
	HeapTuple row;

	if (queue != NULL && OidIsValid(sequence))
	{
		values[0] = Int64GetDatum(nextval_internal(sequence, false));
		values[1] = CStringGetTextDatum(watch->job);
		values[2] = PointerGetDatum(construct_array(&key, 1, TEXTOID, -1, false, TYPALIGN_INT));
		values[3] = BoolGetDatum(true);
		values[4] = values[5] = Int32GetDatum(0);
		values[9] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
		row = heap_form_tuple(RelationGetDescr(queue), values, nulls);
		CatalogTupleInsert(queue, row);
		heap_freetuple(row);
	}
	if (queue != NULL)
		table_close(queue, NoLock);
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
