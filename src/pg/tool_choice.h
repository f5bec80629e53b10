/*
 * tool_choice.h - whether the model may, must or must not call a tool.
 */
#ifndef CHATGLM_TOOL_CHOICE_H
#define CHATGLM_TOOL_CHOICE_H

#include "call.h"

typedef struct ChatglmToolChoice
{
	bool hides;				 /* no tool is shown to the model */
	bool requires;			 /* the answer is a call */
	char		  *name;	 /* of this tool; NULL: of any */
	StringInfoData callable; /* the tools that may be called, as a constraint has them */
} ChatglmToolChoice;

/* Reads glm_chat's argument; NULL is "auto". */
extern void chatglm_read_tool_choice(ChatglmToolChoice *choice, const NullableDatum *argument);

/* Notes tools that are offered: JSON text, in the database's encoding, an array if it is sound. */
extern void chatglm_tools_offered(ChatglmToolChoice *choice, const char *tools);

/* With all tools noted: if a call is required, nothing else may be answered. */
extern void chatglm_require_call(ChatglmCall *call, const ChatglmToolChoice *choice);

#endif /* CHATGLM_TOOL_CHOICE_H */
