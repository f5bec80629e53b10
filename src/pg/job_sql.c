/*
 * job_sql.c - the statements on a job's own table.
 *
 * Names of columns are quoted, operators qualified, conditions and calls as the server
 * wrote them down (job_expression.c): there is no text of a caller in them.
 */
#include "chatglm.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "jobs.h"

static char *
from_source(Relation source)
{
	return psprintf("%s AS " CHATGLM_JOB_ALIAS,
					quote_qualified_identifier(get_namespace_name(RelationGetNamespace(source)),
											   RelationGetRelationName(source)));
}

/* "t.a, t.b" */
static char *
key_columns(const ChatglmJobKeys *keys)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < keys->n; i++)
		appendStringInfo(&sql, "%s" CHATGLM_JOB_ALIAS ".%s", i > 0 ? ", " : "", keys->key[i].name);
	return sql.data;
}

/* "before1, before2" */
static char *
numbered(const char *before, int from, int n)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < n; i++)
		appendStringInfo(&sql, "%s%s%d", i > 0 ? ", " : "", before, from + i);
	return sql.data;
}

/* "t.a = before1 AND t.b = before2" */
static char *
key_equals(const ChatglmJobKeys *keys, const char *before, int from)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < keys->n; i++)
		appendStringInfo(&sql, "%s" CHATGLM_JOB_ALIAS ".%s %s %s%d", i > 0 ? " AND " : "",
						 keys->key[i].name, keys->key[i].equal, before, from + i);
	return sql.data;
}

static const char *
condition_of(const ChatglmJob *job)
{
	return job->condition != NULL ? job->condition : "true";
}

char *
chatglm_job_walk_sql(const ChatglmJob *job, Relation source, const ChatglmJobKeys *keys, int limit)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM %s WHERE (%s)", key_columns(keys), from_source(source),
					 condition_of(job));
	if (job->cursor != NULL && keys->n == 1)
		appendStringInfo(&sql, " AND %s %s $1", key_columns(keys), keys->key[0].greater);
	else if (job->cursor != NULL)
		appendStringInfo(&sql, " AND ROW(%s) %s ROW(%s)", key_columns(keys), keys->key[0].greater,
						 numbered("$", 1, keys->n));
	appendStringInfo(&sql, " ORDER BY %s LIMIT %d", key_columns(keys), limit);
	return sql.data;
}

char *
chatglm_job_read_sql(const ChatglmJob *job, Relation source, const ChatglmJobKeys *keys,
					 const List *columns, const char *lock)
{
	StringInfoData sql;
	ListCell	  *cell;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT k.n");
	foreach(cell, columns)
		appendStringInfo(
			&sql, ", " CHATGLM_JOB_ALIAS ".%s",
			quote_identifier(get_attname(RelationGetRelid(source), lfirst_int(cell), false)));
	appendStringInfo(&sql,
					 " FROM unnest(%s) WITH ORDINALITY AS k(%s, n) JOIN %s "
					 "ON %s WHERE (%s) ORDER BY %s%s",
					 numbered("$", 1, keys->n), numbered("k", 1, keys->n), from_source(source),
					 key_equals(keys, "k.k", 1), condition_of(job), key_columns(keys), lock);
	return sql.data;
}

char *
chatglm_job_store_sql(const ChatglmJob *job, Relation source, const ChatglmJobKeys *keys)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s SET ", from_source(source));
	for (int i = 0; i < job->n_targets; i++)
		appendStringInfo(&sql, "%s%s = $%d", i > 0 ? ", " : "", quote_identifier(job->targets[i]),
						 i + 1);
	appendStringInfo(&sql, " WHERE %s", key_equals(keys, "$", job->n_targets + 1));
	return sql.data;
}

char *
chatglm_job_compute_sql(const ChatglmJob *job)
{
	return psprintf("SELECT (%s) FROM pg_catalog.unnest($1) AS " CHATGLM_JOB_ALIAS, job->call);
}

char *
chatglm_job_count_sql(const ChatglmJob *job, Relation source)
{
	return psprintf("SELECT 1 FROM %s WHERE (%s)", from_source(source), condition_of(job));
}

char *
chatglm_job_sample_sql(const ChatglmJob *job, Relation source, int limit)
{
	return psprintf("SELECT (%s) FROM %s WHERE (%s) LIMIT %d", job->call, from_source(source),
					condition_of(job), limit);
}

Oid *
chatglm_job_key_types(const ChatglmJobKeys *keys, bool arrays)
{
	Oid *types = palloc(keys->n * sizeof(Oid));

	for (int i = 0; i < keys->n; i++)
		types[i] = arrays ? get_array_type(keys->key[i].type) : keys->key[i].type;
	return types;
}
