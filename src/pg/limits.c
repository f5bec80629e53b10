/*
 * limits.c - what chatglm.limits allows a session, read for every request.
 *
 * Whose limits.  A request counts for the role that logged in and, where that is another,
 * for the current user as well, and has to be within the limits of both.  So SET ROLE and
 * functions with SECURITY DEFINER add limits and never lift any, and a pool that logs in
 * once and sets a role for each customer can have limits by customer.
 *
 * Rows are looked up as those of routes are (route.c), with a snapshot of their own: a
 * change counts from the next request on, in all sessions, and in the middle of a
 * statement.  As nothing is kept, no setting and no DISCARD can keep an old limit.
 *
 * What one request can break alone (tokens of an answer, time, models, class, sharing)
 * is held to here.  Numbers of requests and tokens go to the worker with the request, which
 * knows those of all sessions (worker_limits.c).
 */
#include "chatglm.h"

#include "access/table.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "encoding.h"
#include "errors.h"
#include "limits.h"
#include "limits_table.h"

/* ---- A call ---------------------------------------------------------------------- */

static char *
role_name(Oid role)
{
	char *name = GetUserNameFromId(role, true);

	return name != NULL ? name : psprintf("%u", role);
}

static void
limit_tokens(ChatglmCall *call, const ChatglmLimits *limits)
{
	if (call->kind != GLM_GENERATE || limits->max_tokens < 0 ||
		call->max_tokens <= limits->max_tokens)
		return;
	if (!call->max_tokens_unsaid || limits->max_tokens == 0)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("%d tokens are more than the limit max_tokens of role \"%s\" "
							   "(" INT64_FORMAT ")",
							   call->max_tokens, role_name(limits->quota.role), limits->max_tokens),
						errhint("Ask for fewer max_tokens. Limits are rows of chatglm.limits.")));
	call->max_tokens = (int) limits->max_tokens;
}

static void
limit_models(const ChatglmCall *call, const ChatglmLimits *limits)
{
	const char *model = chatglm_shown(call->model);
	ListCell   *cell;

	foreach(cell, limits->models)
	{
		ListCell *name;
		bool	  found = false;

		foreach(name, (List *) lfirst(cell))
			found |= strcmp(lfirst(name), model) == 0;
		if (!found)
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("permission denied for model \"%s\"", model),
							errdetail("It is not among the models of role \"%s\" in "
									  "chatglm.limits.",
									  role_name(limits->quota.role))));
	}
}

static void
limit_one(ChatglmCall *call, const ChatglmLimits *limits, ChatglmLimited *limited)
{
	limit_tokens(call, limits);
	limit_models(call, limits);
	if (limits->timeout_ms >= 0 && (call->timeout_ms == 0 || call->timeout_ms > limits->timeout_ms))
	{
		call->timeout_ms = (int) Max(limits->timeout_ms, 1);
		limited->timed_by = limits->quota.role;
	}
	if (limits->batch)
		call->priority = CHATGLM_PRIORITY_BATCH;
	call->no_cache |= limits->no_cache;
	call->role_cache |= limits->role_cache;
}

/* What only those do who may: nothing is computed for them. */
static bool
is_administration(glm_kind kind)
{
	return kind == GLM_LOAD || kind == GLM_UNLOAD || kind == GLM_QUANTIZE;
}

void
chatglm_limit_call(ChatglmCall *call, ChatglmLimited *limited)
{
	Relation table = chatglm_open_limits();
	Oid		 roles[CHATGLM_QUOTAS] = {MyProc->roleId, GetUserId()};

	memset(limited, 0, sizeof(*limited));
	if (roles[1] == roles[0])
		roles[1] = InvalidOid;
	for (int i = 0; i < CHATGLM_QUOTAS; i++)
	{
		ChatglmLimits limits = chatglm_limits_of(table, roles[i]);

		limited->quota[i] = limits.quota;
		if (!is_administration(call->kind))
			limit_one(call, &limits, limited);
	}
	if (table != NULL)
		table_close(table, AccessShareLock);
}

/* ---- Errors ---------------------------------------------------------------------- */

static void
too_many_requests(const ChatglmLimitHit *hit)
{
	ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					hit->limit == CHATGLM_LIMIT_QUEUED
						? errmsg("role \"%s\" has reached its limit queued (" INT64_FORMAT
								 " requests wait)",
								 role_name(hit->role), hit->figure)
						: errmsg("role \"%s\" has reached its limit concurrent (" INT64_FORMAT
								 " requests at a time)",
								 role_name(hit->role), hit->figure),
					hit->figure > 0 || hit->limit == CHATGLM_LIMIT_QUEUED
						? errhint("Try again when one of them has ended. Limits are rows of "
								  "chatglm.limits.")
						: errhint("It may not ask before the row of chatglm.limits is another.")));
}

static void
too_many_tokens(const ChatglmLimitHit *hit)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("role \"%s\" has used up its limit %s (" INT64_FORMAT " of " INT64_FORMAT
					" tokens)",
					role_name(hit->role),
					hit->limit == CHATGLM_LIMIT_MINUTE ? "tokens_per_minute" : "tokens_per_day",
					hit->used, hit->figure),
			 hit->until != 0
				 ? errhint("Try again after %s. Limits are rows of chatglm.limits.",
						   timestamptz_to_str(hit->until))
				 : errhint("It may not ask before the row of chatglm.limits is another.")));
}

void
chatglm_limit_reached(const glm_event *event)
{
	ChatglmLimitHit hit;

	if (event->length != sizeof(hit))
		elog(ERROR, "malformed event of %u bytes from the chatglm worker", event->length);
	memcpy(&hit, event->payload, sizeof(hit));
	if (hit.limit == CHATGLM_LIMIT_CONCURRENT || hit.limit == CHATGLM_LIMIT_QUEUED)
		too_many_requests(&hit);
	too_many_tokens(&hit);
	pg_unreachable();
}

void
chatglm_limit_timed_out(const glm_event *event, Oid role)
{
	ereport(ERROR, (errcode(CHATGLM_ERRCODE_TIMED_OUT), errmsg("%s", chatglm_shown(event->payload)),
					errhint("That is the limit timeout_ms of role \"%s\" in chatglm.limits.",
							role_name(role))));
	pg_unreachable();
}
