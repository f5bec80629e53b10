/*
 * compat.h - the differences between PostgreSQL 13 and 18, all in one place.
 *
 * Nothing else in src/pg asks for PG_VERSION_NUM.  Shims for what older
 * servers lack take the newer name where the signature allows it.
 */
#ifndef CHATGLM_COMPAT_H
#define CHATGLM_COMPAT_H

#include "postgres.h"

#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgworker.h"
#include "replication/walsender.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#if PG_VERSION_NUM < 130000
#error "chatglm needs PostgreSQL 13 or later"
#endif

#if PG_VERSION_NUM >= 140000
#include "utils/wait_event.h"
#endif

/* Before 15 every custom path was taken to project. */
#if PG_VERSION_NUM < 150000
#define CUSTOMPATH_SUPPORT_PROJECTION 0
#endif

/* 18 has pg_noreturn instead, which stands in front. */
#ifndef pg_attribute_noreturn
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

/* ---- start of the server ---------------------------------------------- */

/*
 * Shared memory is asked for in a hook of its own since 15; before, _PG_init
 * does it.  MaxBackends is not computed yet when _PG_init runs, so the older
 * servers repeat its sum.
 */
#if PG_VERSION_NUM >= 150000
#define CHATGLM_HAVE_SHMEM_REQUEST_HOOK 1
#define chatglm_max_backends() MaxBackends
#else
#define CHATGLM_HAVE_SHMEM_REQUEST_HOOK 0
#define chatglm_max_backends()                                                                     \
	(MaxConnections + autovacuum_max_workers + 1 + max_worker_processes + max_wal_senders)
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* Index of this process in ProcGlobal->allProcs; below MaxBackends. */
#if PG_VERSION_NUM >= 170000
#define chatglm_proc_number() ((int) MyProcNumber)
#else
#define chatglm_proc_number() (MyProc->pgprocno)
#endif

/* ---- queues and waiting ----------------------------------------------- */

/* Sends without waiting and tells the reader at once (15+ batches otherwise). */
static inline shm_mq_result
chatglm_mq_send(shm_mq_handle *queue, Size size, const void *data)
{
#if PG_VERSION_NUM >= 150000
	return shm_mq_send(queue, size, data, true, true);
#else
	return shm_mq_send(queue, size, data, true);
#endif
}

/* A wait event of this name: shown as Extension/Extension before 17. */
static inline uint32
chatglm_wait_event_new(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name); /* returns the old one when it exists */
#else
	(void) name;
	return PG_WAIT_EXTENSION;
#endif
}

/* A wait event set that lives until the process ends. */
static inline WaitEventSet *
chatglm_wait_set(int events)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, events);
#else
	return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

/* Is the client's socket still open?  Needs libpq/libpq.h; 14+ can tell. */
#if PG_VERSION_NUM >= 140000
#define chatglm_client_connected() pq_check_connection()
#else
#define chatglm_client_connected() true
#endif

/* ---- SQL side ----------------------------------------------------------- */

/* The executor's and the planner's headers that moved or are new. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif
#include "commands/explain.h"
#include "catalog/pg_database.h"
#include "catalog/pg_proc.h"
#include "mb/pg_wchar.h"
#include "utils/acl.h"

/* Predefined roles were called default roles. */
#if PG_VERSION_NUM < 140000
#define ROLE_PG_READ_SERVER_FILES DEFAULT_ROLE_READ_SERVER_FILES
#define ROLE_PG_WRITE_SERVER_FILES DEFAULT_ROLE_WRITE_SERVER_FILES
#define ROLE_PG_READ_ALL_STATS DEFAULT_ROLE_READ_ALL_STATS
#endif

/*
 * 14 brought this scan and foreign scans that an Append drives in turns, and put
 * a ModifyTable's child where others have theirs.
 */
#if PG_VERSION_NUM >= 140000
#define chatglm_is_tid_range_scan(plan) IsA(plan, TidRangeScan)
#define chatglm_tid_range_quals(plan) (((TidRangeScan *) (plan))->tidrangequals)
#define chatglm_is_tid_range_state(node) IsA(node, TidRangeScanState)
#define chatglm_is_single_row_memoize(plan) (IsA(plan, Memoize) && ((Memoize *) (plan))->singlerow)
#define chatglm_modify_plans(plan) ((void) (plan), NIL)
#define chatglm_forbid_async(plan) ((plan)->async_capable = false)
#else
#define chatglm_is_tid_range_scan(plan) ((void) (plan), false)
#define chatglm_tid_range_quals(plan) ((void) (plan), NIL)
#define chatglm_is_tid_range_state(node) ((void) (node), false)
#define chatglm_is_single_row_memoize(plan) ((void) (plan), false)
#define chatglm_modify_plans(plan) ((plan)->plans)
#define chatglm_forbid_async(plan) ((void) (plan))
#endif

/*
 * Converts what it can of a string and returns how many bytes of it that was; `to` is
 * NUL-terminated.  Before 14 there is no conversion that does not throw: nothing.
 */
static inline int
chatglm_convert(Oid conversion, int from_encoding, int to_encoding, const unsigned char *from,
				int length, unsigned char *to, int size)
{
#if PG_VERSION_NUM >= 140000
	return pg_do_encoding_conversion_buf(conversion, from_encoding, to_encoding,
										 unconstify(unsigned char *, from), length, to, size, true);
#else
	(void) conversion, (void) from_encoding, (void) to_encoding;
	(void) from, (void) length, (void) to, (void) size;
	return 0;
#endif
}

/* 15 brought MERGE, and windows that end with the rows they are asked for. */
#if PG_VERSION_NUM >= 150000
#define chatglm_run_condition(window) ((window)->runCondition)
#define chatglm_merge_actions(modify) ((modify)->mergeActionLists)
#else
#define chatglm_run_condition(window) ((void) (window), NIL)
#define chatglm_merge_actions(modify) ((void) (modify), NIL)
#endif

/* 18 knows of itself which runs are the only ones. */
#if PG_VERSION_NUM >= 180000
#define CHATGLM_RUN_PARAMETERS QueryDesc *query, ScanDirection direction, uint64 count
#define CHATGLM_RUN_ARGUMENTS query, direction, count
#define chatglm_executor_run(query) ExecutorRun(query, ForwardScanDirection, 0)
#else
#define CHATGLM_RUN_PARAMETERS QueryDesc *query, ScanDirection direction, uint64 count, bool once
#define CHATGLM_RUN_ARGUMENTS query, direction, count, once
#define chatglm_executor_run(query) ExecutorRun(query, ForwardScanDirection, 0, true)
#endif

/* 15 brought MERGE, and 17 a third kind of its actions. */
#if PG_VERSION_NUM >= 150000
#define CHATGLM_HAVE_MERGE 1
#else
#define CHATGLM_HAVE_MERGE 0
#endif
#if PG_VERSION_NUM >= 170000
#define chatglm_merge_matched(action) ((action)->matchKind == MERGE_WHEN_MATCHED)
static inline bool
chatglm_merge_by_source(const List *actions)
{
	ListCell *cell;

	foreach(cell, actions)
		if (lfirst_node(MergeAction, cell)->matchKind == MERGE_WHEN_NOT_MATCHED_BY_SOURCE)
			return true;
	return false;
}
#else
#define chatglm_merge_matched(action) ((action)->matched)
#define chatglm_merge_by_source(actions) false
#endif

/* What 14 renamed or gave an argument: the parser, the analysis of a statement. */
#include "parser/parser.h"
#include "tcop/tcopprot.h"
#if PG_VERSION_NUM >= 140000
#define chatglm_raw_parser(text) raw_parser(text, RAW_PARSE_DEFAULT)
#else
#define chatglm_raw_parser(text) raw_parser(text)
#endif
#if PG_VERSION_NUM >= 150000
#define chatglm_analyze(statement, text, types, n)                                                 \
	pg_analyze_and_rewrite_fixedparams(statement, text, types, n, NULL)
#else
#define chatglm_analyze(statement, text, types, n)                                                 \
	pg_analyze_and_rewrite(statement, text, types, n, NULL)
#endif

/* 14 lets hooks of utility statements know whether they may scribble. */
#if PG_VERSION_NUM >= 140000
#define CHATGLM_UTILITY_PARAMETERS                                                                 \
	PlannedStmt *pstmt, const char *text, bool read_only, ProcessUtilityContext context,           \
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,                   \
		QueryCompletion *completion
#define CHATGLM_UTILITY_ARGUMENTS                                                                  \
	pstmt, text, read_only, context, params, environment, dest, completion
#else
#define CHATGLM_UTILITY_PARAMETERS                                                                 \
	PlannedStmt *pstmt, const char *text, ProcessUtilityContext context, ParamListInfo params,     \
		QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion
#define CHATGLM_UTILITY_ARGUMENTS pstmt, text, context, params, environment, dest, completion
#endif

/* Is it the current user's database? */
static inline bool
chatglm_owns_database(Oid database)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, GetUserId());
#else
	return pg_database_ownercheck(database, GetUserId());
#endif
}

/* May this role execute this function? */
static inline AclResult
chatglm_function_aclcheck(Oid function, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE);
#else
	return pg_proc_aclcheck(function, role, ACL_EXECUTE);
#endif
}

#endif /* CHATGLM_COMPAT_H */
