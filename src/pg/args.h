/*
 * args.h - SQL arguments in, SQL values out: what sqlfuncs.c, chat.c and
 * stream.c share.  Text inside the engine is UTF-8, whatever the database's
 * encoding; these functions are the border.
 */
#ifndef CHATGLM_ARGS_H
#define CHATGLM_ARGS_H

#include "chatglm.h"

/* ---- args.c ----------------------------------------------------------- */

/* A text as NUL-terminated UTF-8; *length (may be NULL) counts its bytes. */
extern char *chatglm_text_to_utf8(const text *value, Size *length);
/* The same for a C string in the database's encoding. */
extern char *chatglm_cstring_to_utf8(const char *value);
/*
 * A model with byte fallback may well utter a NUL, which no text can hold and
 * which is no reason to fail an answer: it becomes U+FFFD.
 */
extern char *chatglm_without_nuls(const char *bytes, Size length);
/* From UTF-8 to the database's encoding, without NULs. */
extern text *chatglm_text_from_utf8(const char *bytes, Size length);
extern char *chatglm_cstring_from_utf8(const char *bytes, Size length);

/* The value as a message shows it: its text, cut off when it is long. */
extern char *chatglm_show_json(Jsonb *value);

/* Resolves the model argument (NULL: chatglm.model) into *call. */
extern void chatglm_read_model(ChatglmCall *call, const NullableDatum *model);

/*
 * The call of a function that starts (prompt text, ...G).  false: the prompt
 * is NULL, and so is the answer.
 */
extern bool chatglm_read_prompt(ChatglmCall *call, glm_form form,
								const NullableDatum *args);

/* ---- chat.c ----------------------------------------------------------- */

/*
 * The call of glm_chat_stream(messages jsonb, tools json, ...G).  false: the
 * messages are NULL, and so is the answer.
 */
extern bool chatglm_read_chat_stream(ChatglmCall *call, const NullableDatum *args);

/* ---- sqlfuncs.c -------------------------------------------------------- */

/* All that came back from a request that does not stream. */
typedef struct ChatglmAnswer
{
	uint64		id;				/* of the request */
	StringInfoData bytes;		/* the RESULT events' payloads, joined */
	glm_finish	finish;
	int			prompt_tokens;
	int			completion_tokens;
} ChatglmAnswer;

/* Submits a request and waits for all of it. */
extern void chatglm_run(const ChatglmCall *call, ChatglmAnswer *answer);

/* A one-dimensional int[] or real[] from the bytes of an answer. */
extern ArrayType *chatglm_array_of_words(Oid element, const StringInfoData *bytes);

/* "stop", "length", or NULL. */
extern const char *chatglm_finish_name(glm_finish finish);

/* ---- catalog.c --------------------------------------------------------- */

/* Rows of chatglm.model, whatever the caller's rights: a List of ChatglmModelRef *. */
extern List *chatglm_model_table_rows(void);

/* May the current user name or see paths on the server? */
extern bool chatglm_may_see_paths(void);

#endif							/* CHATGLM_ARGS_H */
