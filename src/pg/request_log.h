/*
 * request_log.h - requests that took long, in the server's log.
 */
#ifndef CHATGLM_REQUEST_LOG_H
#define CHATGLM_REQUEST_LOG_H

#include "client_request.h"

/* Notes what a line of the log would say, before the request is sent. */
extern void chatglm_log_begin(ChatglmRequest *request, const ChatglmCall *call);

/* Its last event has come: logs it when it took as long as chatglm.log_min_duration says. */
extern void chatglm_log_end(const ChatglmRequest *request, const glm_event *event);

#endif /* CHATGLM_REQUEST_LOG_H */
