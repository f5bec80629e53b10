/*
 * errors.h - what an error of the engine is in PostgreSQL.
 */
#ifndef CHATGLM_ERRORS_H
#define CHATGLM_ERRORS_H

#include "chatglm.h"

/*
 * The time of one request is up: nobody wants the query to end, so PL/pgSQL's
 * OTHERS shall catch it, as it does not catch ERRCODE_QUERY_CANCELED.
 */
#define CHATGLM_ERRCODE_TIMED_OUT MAKE_SQLSTATE('5', '7', 'T', '0', '1')

/* The HINT of an advice; NULL: it has none. */
extern const char *chatglm_advice_hint(glm_advice advice);

/* The SQLSTATE of an engine status, as errcode() takes it. */
extern int chatglm_errcode(glm_status status);

/* Ereport for an engine status: SQLSTATE, message, hint (may be NULL or ""). */
extern void chatglm_ereport(int elevel, glm_status status, const char *message, const char *hint);

/*
 * Throws an ERROR event: its payload is message NUL hint NUL, and two more NULs are always
 * behind it.  The model's path (may be NULL) is told only to those who may see it.
 */
extern void chatglm_throw_event(const glm_event *event, const char *model, const char *path)
	pg_attribute_noreturn();

#endif /* CHATGLM_ERRORS_H */
