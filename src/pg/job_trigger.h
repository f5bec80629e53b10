/*
 * job_trigger.h - the trigger by which a job hears of changes.
 */
#ifndef CHATGLM_JOB_TRIGGER_H
#define CHATGLM_JOB_TRIGGER_H

#include "jobs.h"

/* Its name with its schema, quoted. */
extern char *chatglm_job_table_name(Relation source);

/* Makes the job's trigger on its table, which watches these columns. */
extern void chatglm_job_make_trigger(const ChatglmJob *job, const char *table, List *watched);

/* Drops it, if it is there, and closes the table. */
extern void chatglm_job_drop_trigger(const ChatglmJob *job, Relation source);

/* Takes keys that triggers have appended into the queue, each once; perhaps not all. */
extern void chatglm_job_take_changes(void);

/* Some job's definition or state is another: sessions that know of it look again. */
extern void chatglm_job_changed(void);

#endif /* CHATGLM_JOB_TRIGGER_H */
