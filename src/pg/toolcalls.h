/*
 * toolcalls.h - what a chat model called.
 */
#ifndef CHATGLM_TOOLCALLS_H
#define CHATGLM_TOOLCALLS_H

#include "call.h"

/* Goes on with a hash. */
extern uint64 chatglm_hash(uint64 hash, const char *bytes, Size length);
/* Of what the answer to a call depends on, but for how it is sampled. */
extern uint64 chatglm_call_hash(const ChatglmCall *call);
/* glm_answer_parse() or glm_answer_parse_turns(), with interrupts. */
typedef char *(*ChatglmParse)(glm_chat_format format, const char *raw, size_t length);
extern char *chatglm_parse_answer(ChatglmParse parse, glm_chat_format format, const char *bytes,
								  Size length);
/*
 * Adds "content" and "tool_calls", as members of an object, of what
 * glm_answer_parse() gave, and frees that.  Returns how many calls there are.
 */
extern int	 chatglm_add_parsed(JsonbParseState **json, char *parsed, uint64 hash);
/* Does the text of a stream, in UTF-8, end in calls? */
extern bool	 chatglm_text_calls(glm_chat_format format, const char *bytes, Size length);

#endif /* CHATGLM_TOOLCALLS_H */
