/*
 * worker_fault.h - engine threads that fault.
 */
#ifndef CHATGLM_WORKER_FAULT_H
#define CHATGLM_WORKER_FAULT_H

#include "chatglm.h"

/* Installs the handlers; returns a descriptor that a fault makes readable. */
extern int chatglm_fault_init(void);

/* Ends the process (FATAL) when an engine thread has faulted. */
extern void chatglm_fault_check(void);

#endif /* CHATGLM_WORKER_FAULT_H */
