/*
 * model_name.c - what the name of a model means.
 *
 * A name means a row of chatglm.model (catalog.c), or else a directory of that name
 * under chatglm.model_dir; unless a route has it (route.c).
 */
#include "chatglm.h"

#include <sys/stat.h>
#include <unistd.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/lmgr.h"

#include "catalog.h"
#include "model_name.h"
#include "settings.h"

#define MAX_NAME_LENGTH (NAMEDATALEN - 1)

/* ---- Names ---------------------------------------------------------------- */

/* It becomes part of a path, so no tricks. */
bool
chatglm_is_model_name(const char *name)
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
	if (!chatglm_is_model_name(name))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_NAME), errmsg("invalid model name \"%s\"", name),
			 is_absolute_path(name)
				 ? errhint("This is a path; glm_model_load(name, path) registers a name for it.")
				 : errhint(CHATGLM_NAME_RULE, MAX_NAME_LENGTH)));
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

void
chatglm_check_model_dir(int elevel, const char *path)
{
	struct stat st;

	if (access(path, R_OK | X_OK) != 0 || stat(path, &st) != 0)
		ereport(elevel,
				(errcode_for_file_access(),
				 errmsg("chatglm.model_dir: the server cannot read directory \"%s\": %m", path)));
	else if (!S_ISDIR(st.st_mode))
		ereport(elevel, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						 errmsg("chatglm.model_dir: \"%s\" is not a directory", path)));
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
		if (chatglm_is_model_name(entry->d_name) &&
			pg_verifymbstr(entry->d_name, strlen(entry->d_name), true) &&
			chatglm_is_model_directory(psprintf("%s/%s", path, entry->d_name)))
			names = lappend(names, pstrdup(entry->d_name));
	FreeDir(dir);
	return names;
}

/* ---- What names mean ----------------------------------------------------------- */

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
	List	 *registered = chatglm_registered_models();
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
	Oid	  table = chatglm_table_oid(&chatglm_model_table);
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
	if (chatglm_read_model_row(name, ref))
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

	return chatglm_is_model_name(name) && chatglm_look_up_model(name, &ref);
}

/* A model's name as errors have it, with the route that leads to it, if one does. */
static char *
named(const char *name, const char *route)
{
	return route == NULL ? psprintf("model \"%s\"", name)
						 : psprintf("model \"%s\" of route \"%s\"", name, route);
}

/* There is no such model; perhaps because none of the directory's can be seen. */
static void
no_such_model(const char *name, const char *route)
{
	char *dir = chatglm_model_dir_path();
	bool  readable = access(dir, R_OK | X_OK) == 0;

	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("%s does not exist", named(name, route)),
		 readable
			 ? errhint(
				   "The view glm_models lists the models there are; glm_model_load registers one.")
			 : errhint("The server cannot read the directory that chatglm.model_dir names: %m.")));
}

ChatglmModelRef
chatglm_resolve_routed(const char *name, const char *route)
{
	ChatglmModelRef ref;

	if (!chatglm_look_up_model(name, &ref))
		no_such_model(name, route);
	if (ref.path == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s has no path in chatglm.model", named(name, route)),
						errhint("Register it again by glm_model_load.")));
	return ref;
}

ChatglmModelRef
chatglm_resolve_model(const char *name)
{
	if (name == NULL)
		name = chatglm_model;
	chatglm_check_model_name(name);
	return chatglm_resolve_routed(name, NULL);
}
