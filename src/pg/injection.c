/*
 * injection.c - faults on demand, armed from SQL, in a library that `make injection` builds
 * for tests (engine/base/inject.h).
 *
 * The extension does not have these functions: a superuser's test creates them by
 * LANGUAGE C.
 */
#include "chatglm.h"

#ifdef GLM_INJECTION

#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(chatglm_inject);
PG_FUNCTION_INFO_V1(chatglm_injected);

/* chatglm_inject(point text, action text): arms a point; NULL: none. */
Datum
chatglm_inject(PG_FUNCTION_ARGS)
{
	char *point = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *action = PG_ARGISNULL(1) ? "nothing" : text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (!glm_inject_arm(point, action))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there is no action \"%s\"", action)));
	PG_RETURN_VOID();
}

/* chatglm_injected() -> has the point that is armed been met? */
Datum
chatglm_injected(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(glm_inject_met());
}

#endif /* GLM_INJECTION */
