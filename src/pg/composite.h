/*
 * composite.h - one answer for the fields of a composite that no GlmBatch asks for.
 */
#ifndef CHATGLM_COMPOSITE_H
#define CHATGLM_COMPOSITE_H

#include "ask.h"

/* The mark of the expression that makes this call; 0: it has none. */
extern int chatglm_composite_mark(FunctionCallInfo fcinfo);

/* Is there an answer to the same call for another field of this row?  Gives a copy. */
extern bool chatglm_composite_kept(FunctionCallInfo fcinfo, int mark, Oid type,
								   NullableDatum *value);

/* Keeps the answer for the other fields. */
extern void chatglm_composite_keep(FunctionCallInfo fcinfo, int mark, Oid type,
								   NullableDatum value);

#endif /* CHATGLM_COMPOSITE_H */
