/*
 * json.h - jansson, and JSON that nobody vouches for: read, made and freed.
 *
 * Nothing else includes jansson.h, because of a trap.  Jansson's json_object() has the
 * name of a function of PostgreSQL, which a call inside of chatglm.so would reach: hence
 * glm_json_new(), and the other name is poison.
 */
#ifndef GLM_JSON_H
#define GLM_JSON_H

#include "engine/base/base.h"

#include <jansson.h>

#pragma GCC poison json_object

/* ---- json_file.c ---------------------------------------------------------------------- */

/*
 * Parses n bytes of the file `path` as one JSON object.  No key may come
 * twice, no string may hold a NUL.  NULL and GLM_BAD_FILE naming the file when
 * they are anything else.
 */
extern json_t *glm_json_object(const void *bytes, size_t n, const char *path, glm_error *err);

/* The same for a whole file of at most `limit` bytes. */
extern json_t *glm_json_read(const char *path, size_t limit, glm_error *err);

/* ---- json_text.c: megabytes of it -------------------------------------------------------- */

/*
 * json_loadb with pauses, see glm_pause; NULL also when one of them ended it, which the
 * next glm_pause() says again, and for more than GLM_JSON_VALUES values.
 */
#define GLM_JSON_VALUES (4 << 20)
extern json_t *glm_json_loadb(const char *text, size_t n, size_t flags, json_error_t *why);

/* json_decref with pauses, whose answer does not count; NULL is fine. */
extern void glm_json_free(json_t *value);

/* ---- json.c: JSON as Python reads it ----------------------------------------------------- */

/* A new empty object; NULL when out of memory. */
extern json_t *glm_json_new(void);

/*
 * Any JSON value, with integers of any size; `constants` takes NaN and Infinity
 * too.  Of keys that come twice the last one counts.  NULL with *why when it is no
 * JSON, when a string holds a NUL, or when a pause ended it, which the next glm_pause()
 * says again.
 */
extern json_t *glm_json_parse(const char *text, size_t n, bool constants, json_error_t *why);

/* A string's text; NULL when it is no string but a number, or nothing at all. */
extern const char *glm_json_text(const json_t *value);
/* The digits of an integer (or the name of a constant) that jansson cannot hold, else NULL. */
extern const char *glm_json_big(const json_t *value);
/* Has this integer, decimal digits behind an optional '-', a place in 64 bits? */
extern bool		   glm_json_fits(const char *digits, size_t n);
/* A new integer of any size from digits as JSON has them; NULL when out of memory. */
extern json_t	  *glm_json_integer(const char *digits, size_t n);

#endif /* GLM_JSON_H */
