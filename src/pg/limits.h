/*
 * limits.h - what chatglm.limits allows a session, as its backend knows and sends it.
 */
#ifndef CHATGLM_LIMITS_H
#define CHATGLM_LIMITS_H

#include "call.h"
#include "segment.h"

/* What the limits have made of a call. */
typedef struct ChatglmLimited
{
	ChatglmQuota quota[CHATGLM_QUOTAS];
	Oid			 timed_by; /* role whose longest time this is; InvalidOid: the call's own */
} ChatglmLimited;

/*
 * Reads the limits of the session's roles and holds the call to those that need no other
 * sessions' requests to be known.  The model is chosen by then.  ERROR 53400 for more tokens
 * than are allowed, 42501 for a model that is not.
 */
extern void chatglm_limit_call(ChatglmCall *call, ChatglmLimited *limited);

/* The ERROR of a request that the worker refused for its limits. */
extern void chatglm_limit_reached(const glm_event *event) pg_attribute_noreturn();

/* The ERROR of a request that took longer than its role's limit lets it. */
extern void chatglm_limit_timed_out(const glm_event *event, Oid role) pg_attribute_noreturn();

#endif /* CHATGLM_LIMITS_H */
