/*
 * privileges.c - what the current user may do or see as a member of a predefined role.
 */
#include "chatglm.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "privileges.h"

bool
chatglm_may_see_paths(void)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES);
}

bool
chatglm_may_see_totals(void)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
}

void
chatglm_require_role(Oid role, const char *name, const char *to_do_what)
{
	if (!has_privs_of_role(GetUserId(), role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to %s", to_do_what),
						errhint("Only members of the role %s may do so.", name)));
}

bool
chatglm_may_see_requests_of(Oid role)
{
	return has_privs_of_role(GetUserId(), role) || chatglm_may_see_totals();
}
