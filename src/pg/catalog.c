/*
 * catalog.c - the names of models.
 *
 * A name means a row of chatglm.model, or else a directory of that name under
 * chatglm.model_dir.  The table is configuration, as the system catalogs are:
 * whoever may call a function may use every name in it, so it is read here by
 * an index scan that asks for no privilege, and with a catalog snapshot, so
 * that a model registered a moment ago is known in a long transaction too.
 *
 * Paths are another matter.  Only members of pg_read_server_files may bring
 * one into the table, by glm_model_load() or by plain SQL (the trigger below
 * sees to that), and only they are shown one.
 */
#include "chatglm.h"

#include <sys/stat.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "args.h"

#define MAX_NAME_LENGTH		(NAMEDATALEN - 1)

/* Columns of chatglm.model. */
#define Anum_model_name		1
#define Anum_model_path		2
#define Anum_model_options	3
#define Natts_model			3

PG_FUNCTION_INFO_V1(chatglm_model_load);
PG_FUNCTION_INFO_V1(chatglm_model_unload);
PG_FUNCTION_INFO_V1(chatglm_model_check);

static void check_path_right(void);
static void check_absolute(const char *path);
static void check_path(const char *path);
static void check_model_options(Jsonb *options);
static void store_model(const char *name, Datum path, const NullableDatum *options);

/* ---- Names ---------------------------------------------------------------- */

/* Could this be a model's name?  It becomes part of a path, so no tricks. */
static bool
name_is_valid(const char *name)
{
	Size		length = strlen(name);

	if (length == 0 || length > MAX_NAME_LENGTH || name[0] == '.')
		return false;
	for (const char *c = name; *c != '\0'; c++)
		if (*c == '/' || *c == '\\' || (unsigned char) *c < ' ' || *c == '\x7F')
			return false;
	return true;
}

static void
check_name(const char *name)
{
	if (!name_is_valid(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid model name \"%s\"", name),
				 errhint("A name has 1 to %d bytes, no slash, backslash or control character, and no leading dot.",
						 MAX_NAME_LENGTH)));
}

/* Is this a directory that claims to hold a model? */
static bool
is_model_directory(const char *path)
{
	char	   *config = psprintf("%s/config.json", path);
	struct stat st;
	bool		found = stat(config, &st) == 0 && S_ISREG(st.st_mode);

	pfree(config);
	return found;
}

/*
 * The same for a model about to be used.  A session mostly uses one model, and
 * asking the file system takes longer than all else about its name, so the last
 * answer is kept.  Should the directory go meanwhile, the worker says so.
 */
static bool
is_known_directory(const char *path)
{
	static char last[MAXPGPATH];

	if (strcmp(path, last) == 0)
		return true;
	if (!is_model_directory(path))
		return false;
	strlcpy(last, path, sizeof(last));
	return true;
}

char *
chatglm_model_dir_path(void)
{
	char		share[MAXPGPATH];

	if (chatglm_model_dir != NULL && chatglm_model_dir[0] != '\0')
		return pstrdup(chatglm_model_dir);
	get_share_path(my_exec_path, share);
	return psprintf("%s/extension/chatglm/models", share);
}

List *
chatglm_model_dir_names(void)
{
	char	   *path = chatglm_model_dir_path();
	DIR		   *dir = AllocateDir(path);
	struct dirent *entry;
	List	   *names = NIL;

	/* a directory that is not there holds no models */
	if (dir == NULL && errno == ENOENT)
		return NIL;
	while ((entry = ReadDir(dir, path)) != NULL)
		if (name_is_valid(entry->d_name) &&
			is_model_directory(psprintf("%s/%s", path, entry->d_name)))
			names = lappend(names, pstrdup(entry->d_name));
	FreeDir(dir);
	return names;
}

/* ---- The table --------------------------------------------------------------- */

/* Opens chatglm.model for reading; NULL where the extension is not. */
static Relation
open_model_table(void)
{
	Oid			schema = get_namespace_oid("chatglm", true);
	Oid			table = OidIsValid(schema) ? get_relname_relid("model", schema) : InvalidOid;

	return OidIsValid(table) ? table_open(table, AccessShareLock) : NULL;
}

static ChatglmModelRef
row_to_ref(HeapTuple row, TupleDesc desc)
{
	ChatglmModelRef ref;
	bool		isnull;
	Datum		options;

	ref.name = TextDatumGetCString(heap_getattr(row, Anum_model_name, desc, &isnull));
	ref.path = TextDatumGetCString(heap_getattr(row, Anum_model_path, desc, &isnull));
	options = heap_getattr(row, Anum_model_options, desc, &isnull);
	ref.options = NULL;
	if (!isnull)
	{
		Jsonb	   *json = DatumGetJsonbP(options);

		ref.options = JsonbToCString(NULL, &json->root, VARSIZE(json));
	}
	return ref;
}

/* Finds a name's row.  The column has collation "C", as ScanKeyInit assumes. */
static bool
find_row(const char *name, ChatglmModelRef *ref)
{
	Relation	table = open_model_table();
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	row;
	List	   *indexes;
	bool		found;

	if (table == NULL)
		return false;
	indexes = RelationGetIndexList(table);	/* fills rd_pkindex */
	ScanKeyInit(&key, Anum_model_name, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	scan = systable_beginscan(table, table->rd_pkindex, OidIsValid(table->rd_pkindex),
							  NULL, 1, &key);
	row = systable_getnext(scan);
	found = HeapTupleIsValid(row);
	if (found)
		*ref = row_to_ref(row, RelationGetDescr(table));
	systable_endscan(scan);
	list_free(indexes);
	table_close(table, AccessShareLock);
	return found;
}

List *
chatglm_model_table_rows(void)
{
	Relation	table = open_model_table();
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
		refs = lappend(refs, ref);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return refs;
}

ChatglmModelRef
chatglm_resolve_model(const char *name)
{
	ChatglmModelRef ref;

	if (name == NULL)
		name = chatglm_model;
	check_name(name);
	if (find_row(name, &ref))
		return ref;

	ref.name = pstrdup(name);
	ref.path = psprintf("%s/%s", chatglm_model_dir_path(), name);
	ref.options = NULL;
	if (!is_known_directory(ref.path))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("model \"%s\" does not exist", name),
				 errhint("The view glm_models lists the models there are; glm_model_load registers one.")));
	return ref;
}

/* ---- Loading and unloading ------------------------------------------------------ */

/* glm_model_load(name text, path text, options jsonb) returns void */
Datum
chatglm_model_load(PG_FUNCTION_ARGS)
{
	char	   *name;
	NullableDatum model;
	ChatglmCall call;
	ChatglmAnswer answer;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"name\" must not be NULL")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check_name(name);
	if (!PG_ARGISNULL(1))
	{
		check_path_right();
		if (!PG_ARGISNULL(2))
			check_model_options(PG_GETARG_JSONB_P(2));
		check_path(text_to_cstring(PG_GETARG_TEXT_PP(1)));
		store_model(name, PG_GETARG_DATUM(1), &fcinfo->args[2]);
	}
	else if (!PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
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
 * Only the worker knows for sure whether the model is loaded, and says so by
 * an ERROR; in a subtransaction it can be caught.
 */
Datum
chatglm_model_unload(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ChatglmCall call;
	ChatglmAnswer answer;
	volatile bool unloaded = true;

	check_name(name);
	chatglm_call_defaults(&call, GLM_UNLOAD);
	call.model = chatglm_cstring_to_utf8(name);

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		chatglm_run(&call, &answer);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (error->sqlerrcode != ERRCODE_UNDEFINED_OBJECT)
			ReThrowError(error);
		unloaded = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	PG_RETURN_BOOL(unloaded);
}

/*
 * Inserts or updates the row.  Who may call glm_model_load needs no right on
 * the table itself: it is written as its owner.
 */
static void
store_model(const char *name, Datum path, const NullableDatum *options)
{
	Oid			types[Natts_model] = {TEXTOID, TEXTOID, JSONBOID};
	Datum		values[Natts_model] = {CStringGetTextDatum(name), path, options->value};
	char		nulls[Natts_model + 1] = {' ', ' ', options->isnull ? 'n' : ' ', '\0'};
	Relation	table = open_model_table();
	Oid			user;
	int			context;

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table chatglm.model does not exist"),
				 errhint("Drop and create the extension again.")));
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(table->rd_rel->relowner, context | SECURITY_LOCAL_USERID_CHANGE);
	table_close(table, AccessShareLock);

	SPI_connect();
	if (SPI_execute_with_args("INSERT INTO chatglm.model (name, path, options) VALUES ($1, $2, $3)"
							  " ON CONFLICT (name) DO UPDATE"
							  " SET path = EXCLUDED.path, options = EXCLUDED.options",
							  Natts_model, types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write chatglm.model");
	SPI_finish();
	SetUserIdAndSecContext(user, context);
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
	HeapTuple	row;
	TupleDesc	desc;
	Datum		values[Natts_model];
	bool		nulls[Natts_model];

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatglm.check_model must be a BEFORE INSERT OR UPDATE row trigger")));

	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		trigger->tg_newtuple : trigger->tg_trigtuple;
	desc = RelationGetDescr(trigger->tg_relation);
	for (int i = 0; i < Natts_model; i++)
		values[i] = heap_getattr(row, i + 1, desc, &nulls[i]);

	check_path_right();
	/* NULLs are left to the table's own NOT NULL, which comes after us */
	if (!nulls[Anum_model_name - 1])
		check_name(TextDatumGetCString(values[Anum_model_name - 1]));
	if (!nulls[Anum_model_path - 1])
		check_absolute(TextDatumGetCString(values[Anum_model_path - 1]));
	if (!nulls[Anum_model_options - 1])
		check_model_options(DatumGetJsonbP(values[Anum_model_options - 1]));
	return PointerGetDatum(row);
}

bool
chatglm_may_see_paths(void)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES);
}

static void
check_path_right(void)
{
	if (!chatglm_may_see_paths())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to register a model's path"),
				 errhint("Only members of the role pg_read_server_files may do so.")));
}

/* The engine reports paths in buffers of glm_model_info.path's size. */
static void
check_absolute(const char *path)
{
	if (!is_absolute_path(path) ||
		strlen(path) >= sizeof(((glm_model_info *) NULL)->path))
		ereport(ERROR,
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
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not find model directory \"%s\": %m", path)));
	if (!S_ISDIR(st.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a directory", path)));
	if (!is_model_directory(path))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("directory \"%s\" holds no config.json", path)));
}

static bool
is_string(const JsonbValue *value, const char *text)
{
	return value->type == jbvString && value->val.string.len == (int) strlen(text) &&
		memcmp(value->val.string.val, text, strlen(text)) == 0;
}

static void
bad_model_option(const char *option, const char *values)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("model option \"%s\" must be %s", option, values)));
}

/* An option nobody knows would be believed to work: refuse it. */
static void
check_model_options(Jsonb *options)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"options\" must be a JSON object, not %s",
						chatglm_show_json(options))));
	it = JsonbIteratorInit(&options->root);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		if (is_string(&item, "verify"))
		{
			(void) JsonbIteratorNext(&it, &item, true);
			if (!is_string(&item, "first-map") && !is_string(&item, "full") && !is_string(&item, "off"))
				bad_model_option("verify", "\"first-map\", \"full\" or \"off\"");
		}
		else if (is_string(&item, "rope"))
		{
			(void) JsonbIteratorNext(&it, &item, true);
			if (!is_string(&item, "chatglm2") && !is_string(&item, "chatglm3"))
				bad_model_option("rope", "\"chatglm2\" or \"chatglm3\"");
		}
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown model option \"%.*s\"",
							item.val.string.len, item.val.string.val),
					 errhint("Known options are rope and verify.")));
	}
}
