/*
 * json_walk.h - the parts of a JSON text as they are written.
 */
#ifndef CHATGLM_JSON_WALK_H
#define CHATGLM_JSON_WALK_H

#include "chatglm.h"

/* Some of the text: [at, end). */
typedef struct ChatglmJsonSlice
{
	const char *at;
	const char *end;
} ChatglmJsonSlice;

/* Where one is in an array or an object. */
typedef struct ChatglmJsonWalk
{
	const char *at;	 /* before the next member; NULL: there is none */
	const char *end; /* of the text */
	bool		keys;
} ChatglmJsonWalk;

/* The whole of a text that is valid JSON, in the database's encoding, without blanks around it. */
extern ChatglmJsonSlice chatglm_json_slice(const char *text);

/* Begins before the first member of an array ('[') or object ('{'); false: it is none. */
extern bool chatglm_json_walk(ChatglmJsonWalk *walk, ChatglmJsonSlice value, char bracket);

/* The next member, *key with its quotes if it is an object's; false: there is none. */
extern bool chatglm_json_next(ChatglmJsonWalk *walk, ChatglmJsonSlice *key,
							  ChatglmJsonSlice *value);

/* Is this string written as this text, which needs no escapes? */
extern bool chatglm_json_is(ChatglmJsonSlice string, const char *text);

/* What the string says; NULL: it is no string. */
extern char *chatglm_json_decode(ChatglmJsonSlice string);

#endif /* CHATGLM_JSON_WALK_H */
