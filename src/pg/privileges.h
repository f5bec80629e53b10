/*
 * privileges.h - what the current user may do or see.
 */
#ifndef CHATGLM_PRIVILEGES_H
#define CHATGLM_PRIVILEGES_H

#include "chatglm.h"

/* ERROR 42501 unless the current user is a member of this predefined role. */
extern void chatglm_require_role(Oid role, const char *name, const char *to_do_what);

/* May the current user see figures that tell of others' prompts and answers? */
extern bool chatglm_may_see_totals(void);

/* May he see what requests of this role are about? */
extern bool chatglm_may_see_requests_of(Oid role);

/* May the current user name or see paths on the server? */
extern bool chatglm_may_see_paths(void);

#endif /* CHATGLM_PRIVILEGES_H */
