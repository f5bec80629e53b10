/*
 * limits_table.h - the rows of chatglm.limits, and which of them hold for a role.
 */
#ifndef CHATGLM_LIMITS_TABLE_H
#define CHATGLM_LIMITS_TABLE_H

#include "segment.h"

#include "nodes/pg_list.h"
#include "utils/relcache.h"

/* One row, or the strictest of several; -1: no limit. */
typedef struct ChatglmLimits
{
	ChatglmQuota quota;
	int64		 max_tokens;
	int64		 timeout_ms;
	bool		 batch;
	bool		 role_cache; /* at most the role's own */
	bool		 no_cache;
	List		*models; /* of Lists of names, each of which a model has to be in */
} ChatglmLimits;

/* The table, to be closed; NULL: there is none, and nobody has limits. */
extern Relation chatglm_open_limits(void);

/* The limits of a role by itself. */
extern ChatglmLimits chatglm_limits_of(Relation table, Oid role);

#endif /* CHATGLM_LIMITS_TABLE_H */
