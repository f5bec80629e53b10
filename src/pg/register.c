/*
 * register.c - glm_model_load, glm_model_unload and glm_model_unregister, and what
 * chatglm.model may hold.
 *
 * Callers of these functions need no right on the table (catalog_write.c).
 *
 * Only members of pg_read_server_files may bring a path into the table, by
 * glm_model_load() or by plain SQL; the trigger below sees to the latter.
 */
#include "chatglm.h"

#include <sys/stat.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

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
#include "route.h"
#include "shared.h"

PG_FUNCTION_INFO_V1(chatglm_model_load);
PG_FUNCTION_INFO_V1(chatglm_model_unload);
PG_FUNCTION_INFO_V1(chatglm_model_unregister);
PG_FUNCTION_INFO_V1(chatglm_model_check);

static void check_path_right(void);
static void check_absolute(const char *path);
static void check_path(const char *path);
static void check_model_options(Jsonb *options);
static bool unload_model(const char *name, const char *path);

/* ---- Loading and unloading ------------------------------------------------------ */

static void
store_model(const char *name, Datum path, const NullableDatum *options)
{
	Datum values[CHATGLM_MODEL_COLUMNS] = {CStringGetTextDatum(name), path, options->value};
	bool  nulls[CHATGLM_MODEL_COLUMNS] = {false, false, options->isnull};

	chatglm_store_row(&chatglm_model_table, values, nulls);
}

/* A name means one thing. */
static void
check_no_route(const char *name)
{
	if (chatglm_route_exists(name))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("\"%s\" is a route's name already", name),
						errhint("Give the model another name, or drop the route by "
								"glm_route_drop.")));
}

static void
load_model(const ChatglmModelRef *ref)
{
	ChatglmCall	  call;
	ChatglmAnswer answer;

	chatglm_call_defaults(&call, GLM_LOAD);
	chatglm_call_model(&call, ref);
	chatglm_run(&call, &answer);
}

/* Loads a model, or all of a route that get requests. */
static void
load_named(const char *name)
{
	const ChatglmRoute *route = chatglm_find_route(name);
	ChatglmModelRef		ref;

	if (route == NULL)
	{
		ref = chatglm_resolve_model(name);
		load_model(&ref);
		return;
	}
	for (int i = 0; i < route->n_shares; i++)
	{
		if (route->share[i].weight == 0)
			continue;
		ref = chatglm_resolve_routed(route->share[i].model, name);
		load_model(&ref);
	}
}

/* glm_model_load(name text, path text, options jsonb) returns void */
Datum
chatglm_model_load(PG_FUNCTION_ARGS)
{
	char *name;

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
		check_no_route(name);
		store_model(name, PG_GETARG_DATUM(1), &fcinfo->args[2]);
	}
	else if (!PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options\" needs argument \"path\" beside it")));

	/* an ERROR of the engine takes the new row back with it */
	load_named(name);
	PG_RETURN_VOID();
}

/* Unloads the model of this name, if there is one. */
static bool
unload_named(const char *name, bool *known)
{
	ChatglmModelRef ref = {0};

	*known |= chatglm_look_up_model(name, &ref);
	return unload_model(name, ref.path);
}

/*
 * glm_model_unload(name text) returns boolean
 *
 * A name that means nothing here (any more) may have meant something before: then
 * what only this database has used by it goes.  With a route's, all of its models go.
 */
Datum
chatglm_model_unload(PG_FUNCTION_ARGS)
{
	char			   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const ChatglmRoute *route;
	bool				known = false;
	bool				unloaded = false;

	chatglm_check_model_name(name);
	route = chatglm_find_route(name);
	if (route == NULL)
		unloaded = unload_named(name, &known);
	for (int i = 0; route != NULL && i < route->n_shares; i++)
		unloaded |= unload_named(route->share[i].model, &known);
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
	if (!chatglm_delete_row(&chatglm_model_table, name))
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

/* ---- What may be registered ------------------------------------------------------- */

/*
 * chatglm.check_model(): BEFORE INSERT OR UPDATE trigger of chatglm.model.
 * That the files are there is not asked, so that a dump can be restored on
 * another machine before they are.
 */
Datum
chatglm_model_check(PG_FUNCTION_ARGS)
{
	Datum	  values[CHATGLM_MODEL_COLUMNS];
	bool	  nulls[CHATGLM_MODEL_COLUMNS];
	HeapTuple row =
		chatglm_new_row(fcinfo, &chatglm_model_table, "chatglm.check_model", values, nulls);

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
