/*
 * register.c - glm_model_load, glm_model_unload and glm_model_unregister, and what
 * chatglm.model may hold.
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
 *
 * Only members of pg_read_server_files may bring a path into the table, by
 * glm_model_load() or by plain SQL; the trigger below sees to the latter.
 */
#include "chatglm.h"

#include <sys/stat.h>

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
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "args.h"
#include "ask.h"
#include "call.h"
#include "catalog.h"
#include "catch.h"
#include "encoding.h"
#include "function.h"
#include "model_name.h"
#include "options.h"
#include "privileges.h"
#include "shared.h"

#define WRITE_LOCK ShareRowExclusiveLock

PG_FUNCTION_INFO_V1(chatglm_model_load);
PG_FUNCTION_INFO_V1(chatglm_model_unload);
PG_FUNCTION_INFO_V1(chatglm_model_unregister);
PG_FUNCTION_INFO_V1(chatglm_model_check);

static void		check_path_right(void);
static void		check_absolute(const char *path);
static void		check_path(const char *path);
static void		check_model_options(Jsonb *options);
static Relation open_for_writing(bool to_delete);
static void		store_row(const char *name, Datum path, const NullableDatum *options);
static bool		delete_row(const char *name);
static bool		unload_model(const char *name, const char *path);

/* ---- Loading and unloading ------------------------------------------------------ */

/* glm_model_load(name text, path text, options jsonb) returns void */
Datum
chatglm_model_load(PG_FUNCTION_ARGS)
{
	char		 *name;
	NullableDatum model;
	ChatglmCall	  call;
	ChatglmAnswer answer;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"name\" must not be NULL")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	chatglm_check_model_name(name);
	if (!PG_ARGISNULL(1))
	{
		PreventCommandIfReadOnly("glm_model_load()");
		check_path_right();
		if (!PG_ARGISNULL(2))
			check_model_options(PG_GETARG_JSONB_P(2));
		check_path(text_to_cstring(PG_GETARG_TEXT_PP(1)));
		store_row(name, PG_GETARG_DATUM(1), &fcinfo->args[2]);
	}
	else if (!PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options\" needs argument \"path\" beside it")));

	/* an ERROR of the engine takes the new row back with it */
	model.value = PG_GETARG_DATUM(0);
	model.isnull = false;
	chatglm_call_defaults(&call, GLM_LOAD);
	chatglm_read_model(&call, &model);
	chatglm_run(&call, &answer);
	PG_RETURN_VOID();
}

/*
 * glm_model_unload(name text) returns boolean
 *
 * A name that means nothing here (any more) may have meant something before: then
 * what only this database has used by it goes.
 */
Datum
chatglm_model_unload(PG_FUNCTION_ARGS)
{
	char		   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ChatglmModelRef ref = {0};
	bool			known;
	bool			unloaded;

	chatglm_check_model_name(name);
	known = chatglm_look_up_model(name, &ref);
	unloaded = unload_model(name, ref.path);
	if (!known && !unloaded)
		ereport(NOTICE,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" does not exist", name)));
	PG_RETURN_BOOL(unloaded);
}

/*
 * glm_model_unregister(name text) returns boolean
 *
 * Works without a worker too, which then has nothing to unload.
 */
Datum
chatglm_model_unregister(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	chatglm_check_model_name(name);
	PreventCommandIfReadOnly("glm_model_unregister()");
	if (!delete_row(name))
		PG_RETURN_BOOL(false);
	if (chatglm_worker_is_up())
		unload_model(name, NULL);
	PG_RETURN_BOOL(true);
}

/* A request to unload, for chatglm_catch_all(). */
static void
run_unload(void *arg)
{
	ChatglmAnswer answer;

	chatglm_run(arg, &answer);
}

/*
 * Asks the worker to unload the model of this name and path; NULL: those of the name
 * that no other database uses.  Only the worker knows for sure whether there was one,
 * and says so by an ERROR.
 */
static bool
unload_model(const char *name, const char *path)
{
	ChatglmCall call;
	ErrorData  *error;

	chatglm_call_defaults(&call, GLM_UNLOAD);
	call.model = chatglm_cstring_to_utf8(name);
	call.path = path;
	error = chatglm_catch_all(run_unload, &call, CurrentMemoryContext);
	if (error != NULL && error->sqlerrcode != ERRCODE_UNDEFINED_OBJECT)
		ReThrowError(error);
	return error == NULL;
}

/* ---- Writing the table ------------------------------------------------------------ */

static bool
is_our_trigger(const Trigger *trigger)
{
	char *symbol = chatglm_c_function(trigger->tgfoid, Anum_pg_proc_prosrc);

	return symbol != NULL && strcmp(symbol, "chatglm_model_check") == 0;
}

/*
 * A trigger that an INSERT, an UPDATE of path and options, or a DELETE would fire and
 * that is not ours.  Of foreign keys that refer to a name only a DELETE has to know.
 */
static const char *
foreign_trigger(const Relation table, bool to_delete)
{
	const TriggerDesc *all = table->trigdesc;

	for (int i = 0; all != NULL && i < all->numtriggers; i++)
	{
		const Trigger *trigger = &all->triggers[i];

		if (!is_our_trigger(trigger) &&
			(to_delete || !trigger->tgisinternal || TRIGGER_FOR_INSERT(trigger->tgtype)))
			return psprintf("trigger \"%s\"", trigger->tgname);
	}
	return NULL;
}

/* An index with an expression of somebody's, or one that is not written at once. */
static const char *
foreign_index(const Relation table)
{
	List	   *indexes = RelationGetIndexList(table);
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
foreign_matter(const Relation table, bool to_delete)
{
	const TupleConstr *constraints = RelationGetDescr(table)->constr;
	const char		  *found = foreign_trigger(table, to_delete);

	if (found == NULL)
		found = foreign_index(table);
	if (found == NULL && constraints != NULL && constraints->num_check > 0)
		found = psprintf("constraint \"%s\"", constraints->check[0].ccname);
	if (found == NULL && table->rd_rules != NULL)
		found = "a rule";
	if (found == NULL && table->rd_rel->relrowsecurity)
		found = "row security";
	if (found == NULL && RelationGetDescr(table)->natts != CHATGLM_MODEL_COLUMNS)
		found = "another column";
	if (found == NULL && table->rd_rel->relam != HEAP_TABLE_AM_OID)
		found = "another access method";
	return found;
}

static Relation
open_for_writing(bool to_delete)
{
	Relation	table = chatglm_open_model_table(WRITE_LOCK);
	const char *foreign;

	if (table == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table chatglm.model is not there as the extension made it"),
						errhint("Drop and create the extension again.")));
	foreign = foreign_matter(table, to_delete);
	if (foreign != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table chatglm.model has %s that is not the extension's", foreign),
						errdetail("It would not be heeded here."),
						errhint("Drop it, or write to the table by SQL.")));
	return table;
}

/* Inserts or updates the row of this name. */
static void
store_row(const char *name, Datum path, const NullableDatum *options)
{
	Relation  table = open_for_writing(false);
	TupleDesc desc = RelationGetDescr(table);
	HeapTuple old = chatglm_find_model_row(table, name);
	Datum	  values[CHATGLM_MODEL_COLUMNS] = {CStringGetTextDatum(name), path, options->value};
	bool	  nulls[CHATGLM_MODEL_COLUMNS] = {false, false, options->isnull};
	HeapTuple row = heap_form_tuple(desc, values, nulls);

	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(table, &old->t_self, row);
	else
		CatalogTupleInsert(table, row);
	table_close(table, NoLock);
	CommandCounterIncrement(); /* the name means this from now on */
}

static bool
delete_row(const char *name)
{
	Relation  table = open_for_writing(true);
	HeapTuple row = chatglm_find_model_row(table, name);

	if (HeapTupleIsValid(row))
		CatalogTupleDelete(table, &row->t_self);
	table_close(table, NoLock);
	CommandCounterIncrement();
	return HeapTupleIsValid(row);
}

/* ---- What may be registered ------------------------------------------------------- */

/*
 * chatglm.check_model(): BEFORE INSERT OR UPDATE trigger of chatglm.model.
 * That the files are there is not asked, so that a dump can be restored on
 * another machine before they are.
 */
Datum
chatglm_model_check(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	 row;
	TupleDesc	 desc;
	Datum		 values[CHATGLM_MODEL_COLUMNS];
	bool		 nulls[CHATGLM_MODEL_COLUMNS];

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatglm.check_model must be a BEFORE INSERT OR UPDATE row trigger")));

	if (!chatglm_is_model_table(trigger->tg_relation))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" has not the columns of chatglm.model",
							   RelationGetRelationName(trigger->tg_relation))));

	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	desc = RelationGetDescr(trigger->tg_relation);
	for (int i = 0; i < CHATGLM_MODEL_COLUMNS; i++)
		values[i] = heap_getattr(row, i + 1, desc, &nulls[i]);

	check_path_right();
	/* the table's own NOT NULL may be gone */
	if (nulls[CHATGLM_MODEL_NAME - 1] || nulls[CHATGLM_MODEL_PATH - 1])
		ereport(ERROR, (errcode(ERRCODE_NOT_NULL_VIOLATION),
						errmsg("a model's name and path must not be NULL")));
	chatglm_check_model_name(TextDatumGetCString(values[CHATGLM_MODEL_NAME - 1]));
	check_absolute(TextDatumGetCString(values[CHATGLM_MODEL_PATH - 1]));
	if (!nulls[CHATGLM_MODEL_OPTIONS - 1])
		check_model_options(DatumGetJsonbP(values[CHATGLM_MODEL_OPTIONS - 1]));
	return PointerGetDatum(row);
}

static void
check_path_right(void)
{
	if (!chatglm_may_see_paths())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to register a model's path"),
						errhint("Only members of the role pg_read_server_files may do so.")));
}

/* The engine reports paths in buffers of glm_model_info.path's size. */
static void
check_absolute(const char *path)
{
	if (!is_absolute_path(path) || strlen(path) >= sizeof(((glm_model_info *) NULL)->path))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"path\" must be an absolute path of less than %zu bytes, not \"%s\"",
					sizeof(((glm_model_info *) NULL)->path), path)));
}

static void
check_path(const char *path)
{
	struct stat st;

	check_absolute(path);
	if (stat(path, &st) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not find model directory \"%s\": %m", path)));
	if (!S_ISDIR(st.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a directory", path)));
	errno = 0;
	if (chatglm_is_model_directory(path))
		return;
	if (errno == EACCES)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not look into directory \"%s\": %m", path)));
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FILE),
					errmsg("directory \"%s\" holds no config.json", path)));
}

/* Unknown options are refused, as otherwise they would seem to work. */
static void
check_model_option(const char *key, JsonbValue *value, void *arg)
{
	for (const glm_model_option *option = glm_model_options; option->name != NULL; option++)
	{
		if (strcmp(key, option->name) != 0)
			continue;
		if (chatglm_option_choice(value, option->values) < 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("model option \"%s\" must be %s", option->name, option->rule)));
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown model option \"%s\"", key),
			 errhint("Known options are rope and verify.")));
}

static void
check_model_options(Jsonb *options)
{
	chatglm_read_options(options, check_model_option, NULL);
}
