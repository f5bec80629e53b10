/*
 * worker_shown.h - what others see of a request in glm_stat_requests.
 */
#ifndef CHATGLM_WORKER_SHOWN_H
#define CHATGLM_WORKER_SHOWN_H

#include "shared.h"
#include "worker_session.h"

/* A text of a request, UTF-8, cut between characters; `to` is all zero. */
extern void chatglm_copy_text(char *to, size_t size, const glm_request *request, glm_span span);

/* What others will see of the request of an entry; `stat` is all zero. */
extern void chatglm_describe_request(const WorkerSession *session, int entry,
									 ChatglmRequestStat *stat);

/* Shows one that the engine has, by its ticket; or not any more. */
extern void chatglm_show_request(int number, const ChatglmRequestStat *stat);
extern void chatglm_hide_request(int number);

/* The same of one that waits for limits. */
extern void chatglm_show_held(const WorkerSession *session, int entry);
extern void chatglm_hide_held(const WorkerEntry *entry);

/* Where a quantize job is going to write, before the engine has it. */
extern void chatglm_show_target(const glm_request *request);

/* Does somebody want that cancelled? */
extern bool chatglm_held_marked(const WorkerEntry *entry);

#endif /* CHATGLM_WORKER_SHOWN_H */
