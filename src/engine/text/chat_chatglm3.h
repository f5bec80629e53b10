/*
 * chat_chatglm3.h - ChatGLM3's chat format.
 */
#ifndef GLM_CHAT_CHATGLM3_H
#define GLM_CHAT_CHATGLM3_H

#include "engine/text/chat_format.h"

extern const glm_chat glm_chat_chatglm3;

/* The tool whose argument is code, not a call. */
#define GLM_INTERPRETER "interpreter"

/* ---- answer_chatglm3.c ------------------------------------------------------ */

/* As glm_chat.parse has it. */
extern char *glm_chatglm3_parse(const char *raw, size_t length, bool marked);

#endif /* GLM_CHAT_CHATGLM3_H */
