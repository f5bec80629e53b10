/*
 * chat.h - the functions over the messages of a chat.
 */
#ifndef CHATGLM_CHAT_H
#define CHATGLM_CHAT_H

#include "ask.h"

extern const ChatglmFunction chatglm_chat_function;
extern const ChatglmFunction chatglm_chat_tokens_function;

/*
 * Reads (messages jsonb, tools json, tool_choice jsonb, ...G).  false: the messages are
 * NULL, and so is the answer.
 */
extern bool chatglm_read_chat(ChatglmCall *call, const NullableDatum *args);

#endif /* CHATGLM_CHAT_H */
