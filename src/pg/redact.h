/*
 * redact.h - glm_redact.
 */
#ifndef CHATGLM_REDACT_H
#define CHATGLM_REDACT_H

#include "ask.h"

extern const ChatglmFunction chatglm_redact_function;
extern const ChatglmFunction chatglm_try_redact_function;

#endif /* CHATGLM_REDACT_H */
