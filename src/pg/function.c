/*
 * function.c - how the SQL functions of this library are recognised in a query.
 *
 * Schema and name of a function may be anything; the C function behind it says
 * what it is.  Its name alone does not, so where that fits, the address decides.
 * fmgr_info() gives another address for functions with SECURITY DEFINER or
 * settings: those must run as they are, and are not ours here; nor are STRICT
 * ones, which the executor must not call with a NULL.
 *
 * The planner asks for every function of a query, so what was found is kept
 * until pg_proc changes.
 */
#include "chatglm.h"

#include "access/htup_details.h"
#include "catalog/pg_language.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "ask.h"
#include "function.h"

typedef struct KnownFunction
{
	Oid					   oid;		 /* hash key */
	const ChatglmFunction *function; /* NULL: not ours */
} KnownFunction;

static const ChatglmFunction *const *functions; /* all there are */
static int							 n_functions;

static HTAB *known;			 /* of KnownFunction */
static bool	 known_outdated; /* pg_proc has changed since */

static const ChatglmFunction *recognise(Oid function);

void
chatglm_functions_init(const ChatglmFunction *const *all, int n)
{
	functions = all;
	n_functions = n;
}

void
chatglm_usage_begin(FmgrInfo *function, PgStat_FunctionCallUsage *usage)
{
	LOCAL_FCINFO(fcinfo, 0);

	InitFunctionCallInfoData(*fcinfo, function, 0, InvalidOid, NULL, NULL);
	pgstat_init_function_usage(fcinfo, usage);
}

/* ---- Recognising ------------------------------------------------------------- */

static void
pg_proc_changed(Datum arg, int cache, uint32 hash)
{
	known_outdated = true;
}

static void
start_over(void)
{
	static bool registered = false;
	HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(KnownFunction)};

	if (!registered)
		CacheRegisterSyscacheCallback(PROCOID, pg_proc_changed, (Datum) 0);
	registered = true;
	if (known != NULL)
		hash_destroy(known);
	known = NULL;
	known = hash_create("chatglm functions", 32, &control, HASH_ELEM | HASH_BLOBS);
	known_outdated = false;
}

static const ChatglmFunction *
known_function(Oid function)
{
	KnownFunction		  *entry;
	const ChatglmFunction *found;

	if (known == NULL || known_outdated)
		start_over();
	entry = hash_search(known, &function, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->function;

	found = recognise(function);
	entry = hash_search(known, &function, HASH_ENTER, NULL);
	entry->function = found;
	return found;
}

const ChatglmFunction *
chatglm_function_by_oid(Oid function)
{
	const ChatglmFunction *found = known_function(function);

	return found != NULL && !found->streams ? found : NULL;
}

const ChatglmFunction *
chatglm_stream_by_oid(Oid function)
{
	const ChatglmFunction *found = known_function(function);

	return found != NULL && found->streams ? found : NULL;
}

static const ChatglmFunction *
with_symbol(const char *symbol)
{
	for (int i = 0; i < n_functions; i++)
		if (strcmp(symbol, functions[i]->symbol) == 0)
			return functions[i];
	return NULL;
}

char *
chatglm_c_function(Oid function, int column)
{
	HeapTuple proc = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	char	 *value = NULL;

	if (!HeapTupleIsValid(proc))
		return NULL;
	if (((Form_pg_proc) GETSTRUCT(proc))->prolang == ClanguageId)
	{
		bool  isnull;
		Datum datum = SysCacheGetAttr(PROCOID, proc, column, &isnull);

		if (!isnull)
			value = TextDatumGetCString(datum);
	}
	ReleaseSysCache(proc);
	return value;
}

static const ChatglmFunction *
recognise(Oid function)
{
	char				  *symbol = chatglm_c_function(function, Anum_pg_proc_prosrc);
	const ChatglmFunction *candidate = symbol != NULL ? with_symbol(symbol) : NULL;
	FmgrInfo			   info;

	if (candidate == NULL || func_strict(function))
		return NULL;
	fmgr_info(function, &info);
	return info.fn_addr == candidate->address ? candidate : NULL;
}

bool
chatglm_is_own_function(Oid function)
{
	char *library = chatglm_c_function(function, Anum_pg_proc_probin);

	return library != NULL && strcmp(library, "$libdir/chatglm") == 0;
}
