/*
 * jsonb_build.h - jsonb made member by member.
 *
 * A JsonbParseState *json = NULL is where it is under way.  Members of an object have a
 * key; elements of an array have NULL for it, as has the outermost object.
 */
#ifndef CHATGLM_JSONB_BUILD_H
#define CHATGLM_JSONB_BUILD_H

#include "chatglm.h"

extern void chatglm_json_object(JsonbParseState **json, const char *key);
extern void chatglm_json_end_object(JsonbParseState **json);
extern void chatglm_json_array(JsonbParseState **json, const char *key);
extern void chatglm_json_end_array(JsonbParseState **json);

/* Strings are in the database's encoding, and stay as they are until the end; NULL: null. */
extern void chatglm_json_string(JsonbParseState **json, const char *key, const char *value);
extern void chatglm_json_null(JsonbParseState **json, const char *key);
extern void chatglm_json_bool(JsonbParseState **json, const char *key, bool value);
extern void chatglm_json_count(JsonbParseState **json, const char *key, int64 value);
/* A number as it is to be written. */
extern void chatglm_json_number(JsonbParseState **json, const char *key, const char *digits);

/* A number with all its digits, whatever extra_float_digits says. */
extern void chatglm_json_float(JsonbParseState **json, const char *key, double value);

/* Ends the outermost object, or array. */
extern Jsonb *chatglm_json_finish(JsonbParseState **json);
extern Jsonb *chatglm_json_finish_array(JsonbParseState **json);

/* A value alone. */
extern Jsonb *chatglm_json_of_bool(bool value);
extern Jsonb *chatglm_json_of_float(double value);

#endif /* CHATGLM_JSONB_BUILD_H */
