/*
 * options.h - arguments of type jsonb that hold options by name.
 */
#ifndef CHATGLM_OPTIONS_H
#define CHATGLM_OPTIONS_H

#include "chatglm.h"

/* The value as a message shows it: its text, cut off when it is long. */
extern char *chatglm_show_json(Jsonb *value);

/* Appends the text of a value that an iterator gave without going into it. */
extern void chatglm_append_json(StringInfo out, JsonbValue *value);

/* ERROR 22023 when the object has a key that is none of these, which end with NULL. */
extern void chatglm_require_keys(JsonbContainer *object, const char *argument,
								 const char *const *keys);

/* ERROR 22023 unless argument "options" is an object. */
extern void chatglm_require_object(Jsonb *options);

/* Calls read() for each of the options, after chatglm_require_object(). */
typedef void (*ChatglmOptionReader)(const char *key, JsonbValue *value, void *arg);
extern void chatglm_read_options(Jsonb *options, ChatglmOptionReader read, void *arg);

/* The number of a value that is a string among these names, which end with NULL; -1: none. */
extern int chatglm_option_choice(const JsonbValue *value, const char *const *names);

#endif /* CHATGLM_OPTIONS_H */
