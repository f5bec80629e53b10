/*
 * catalog.c - the names of models.
 *
 * A name means a row of chatglm.model, or else a directory of that name under
 * chatglm.model_dir.  The table is configuration, as the system catalogs are:
 * whoever may call a function may use every name in it, so it is read here by
 * an index scan that asks for no privilege, and with a catalog snapshot, so
 * that a model registered a moment ago is known in a long transaction too.
 *
 * So what is in it is not trusted.  Its owner may alter it, and then a column may be
 * gone, of another type, or hold NULLs: a table that is not as the extension made it
 * is taken for missing, and a row without a name or path for none.  How rows get in is
 * told in register.c.
 */
#include "chatglm.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "args.h"

#define MAX_NAME_LENGTH (NAMEDATALEN - 1)

/* ---- Names ---------------------------------------------------------------- */

/* Could this be a model's name?  It becomes part of a path, so no tricks. */
static bool
name_is_valid(const char *name)
{
	Size length = strlen(name);

	if (length == 0 || length > MAX_NAME_LENGTH || name[0] == '.')
		return false;
	for (const char *c = name; *c != '\0'; c++)
		if (*c == '/' || *c == '\\' || (unsigned char) *c < ' ' || *c == '\x7F')
			return false;
	return true;
}

void
chatglm_check_model_name(const char *name)
{
	if (!name_is_valid(name))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_NAME), errmsg("invalid model name \"%s\"", name),
			 is_absolute_path(name)
				 ? errhint("This is a path; glm_model_load(name, path) registers a name for it.")
				 : errhint("A name has 1 to %d bytes, no slash, backslash or control character, "
						   "and no leading dot.",
						   MAX_NAME_LENGTH)));
}

bool
chatglm_is_model_directory(const char *path)
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
	if (!chatglm_is_model_directory(path))
		return false;
	strlcpy(last, path, sizeof(last));
	return true;
}

char *
chatglm_model_dir_path(void)
{
	char share[MAXPGPATH];

	if (chatglm_model_dir != NULL && chatglm_model_dir[0] != '\0')
		return pstrdup(chatglm_model_dir);
	get_share_path(my_exec_path, share);
	return psprintf("%s/extension/chatglm/models", share);
}

List *
chatglm_model_dir_names(void)
{
	char		  *path = chatglm_model_dir_path();
	DIR			  *dir = AllocateDir(path);
	struct dirent *entry;
	List		  *names = NIL;

	/* one that cannot be read holds no models; why is for the server's log alone */
	if (dir == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG_SERVER_ONLY, (errcode_for_file_access(),
									  errmsg("could not open directory \"%s\": %m", path)));
		return NIL;
	}
	while ((entry = ReadDirExtended(dir, path, LOG_SERVER_ONLY)) != NULL)
		if (name_is_valid(entry->d_name) &&
			pg_verifymbstr(entry->d_name, strlen(entry->d_name), true) &&
			chatglm_is_model_directory(psprintf("%s/%s", path, entry->d_name)))
			names = lappend(names, pstrdup(entry->d_name));
	FreeDir(dir);
	return names;
}

/* ---- The table --------------------------------------------------------------- */

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

static Oid
model_table_oid(void)
{
	Oid schema = get_namespace_oid("chatglm", true);

	return OidIsValid(schema) ? get_relname_relid("model", schema) : InvalidOid;
}

Relation
chatglm_open_model_table(LOCKMODE lock)
{
	Oid		 oid = model_table_oid();
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

static bool
find_row(const char *name, ChatglmModelRef *ref)
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

/* ---- What names mean ----------------------------------------------------------- */

static List *
registered_models(void)
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

static bool
is_registered(const List *refs, const char *name)
{
	ListCell *cell;

	foreach(cell, refs)
		if (strcmp(((ChatglmModelRef *) lfirst(cell))->name, name) == 0)
			return true;
	return false;
}

/* The rows that have a path, and the directories that no row hides. */
List *
chatglm_usable_models(void)
{
	List	 *registered = registered_models();
	List	 *usable = NIL;
	ListCell *cell;

	foreach(cell, registered)
		if (((ChatglmModelRef *) lfirst(cell))->path != NULL)
			usable = lappend(usable, lfirst(cell));
	foreach(cell, chatglm_model_dir_names())
		if (!is_registered(registered, lfirst(cell)))
		{
			ChatglmModelRef *ref = palloc0(sizeof(*ref));

			ref->name = lfirst(cell);
			ref->path = psprintf("%s/%s", chatglm_model_dir_path(), ref->name);
			usable = lappend(usable, ref);
		}
	return usable;
}

List *
chatglm_usable_models_at_once(void)
{
	Oid	  table = model_table_oid();
	List *usable;

	if (!OidIsValid(table))
		return chatglm_usable_models();
	if (!ConditionalLockRelationOid(table, AccessShareLock))
		return NIL;
	usable = chatglm_usable_models();
	UnlockRelationOid(table, AccessShareLock);
	return usable;
}

bool
chatglm_look_up_model(const char *name, ChatglmModelRef *ref)
{
	if (find_row(name, ref))
		return true;
	memset(ref, 0, sizeof(*ref));
	ref->name = pstrdup(name);
	ref->path = psprintf("%s/%s", chatglm_model_dir_path(), name);
	if (is_known_directory(ref->path))
		return true;
	ref->path = NULL;
	return false;
}

bool
chatglm_model_exists(const char *name)
{
	ChatglmModelRef ref;

	return name_is_valid(name) && chatglm_look_up_model(name, &ref);
}

/* There is no such model; perhaps because none of the directory's can be seen. */
static void
no_such_model(const char *name)
{
	char *dir = chatglm_model_dir_path();
	bool  readable = access(dir, R_OK | X_OK) == 0;

	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" does not exist", name),
		 readable
			 ? errhint(
				   "The view glm_models lists the models there are; glm_model_load registers one.")
			 : errhint("The server cannot read the directory that chatglm.model_dir names: %m.")));
}

ChatglmModelRef
chatglm_resolve_model(const char *name)
{
	ChatglmModelRef ref;

	if (name == NULL)
		name = chatglm_model;
	chatglm_check_model_name(name);
	if (!chatglm_look_up_model(name, &ref))
		no_such_model(name);
	if (ref.path == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("model \"%s\" has no path in chatglm.model", name),
						errhint("Register it again by glm_model_load.")));
	return ref;
}
