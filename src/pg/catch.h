/*
 * catch.h - errors as values.
 */
#ifndef CHATGLM_CATCH_H
#define CHATGLM_CATCH_H

#include "chatglm.h"

/*
 * Calls work(arg) and returns the error it threw, allocated in this context, or
 * NULL.  Errors that must be thrown are.
 *
 * chatglm_catch() leaves alone what belongs to a subtransaction: work must write
 * nothing, and not be in want of it.  chatglm_catch_all() takes a subtransaction
 * where that is allowed.
 */
extern ErrorData *chatglm_catch(void (*work)(void *arg), void *arg, MemoryContext context);
extern ErrorData *chatglm_catch_all(void (*work)(void *arg), void *arg, MemoryContext context);

/* In a subtransaction, where one is allowed; nothing is thrown. */
extern ErrorData *chatglm_try(void (*work)(void *arg), void *arg, MemoryContext context);

/* In PG_CATCH(): the error, allocated in this context; it is over with that. */
extern ErrorData *chatglm_take_error(MemoryContext context);

#endif /* CHATGLM_CATCH_H */
