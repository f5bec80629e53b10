/*
 * base.h - errors, pauses, growable buffers and UTF-8: what every room may use.
 */
#ifndef GLM_BASE_H
#define GLM_BASE_H

#include <stdatomic.h>

#include "engine/glm.h"

/* ---- error.c ------------------------------------------------------------------------ */

/* Fills *err and returns false, so that callers write `return glm_fail(...)`. */
extern bool glm_fail(glm_error *err, glm_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
extern void glm_hint(glm_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with what only the host has words for. */
extern void glm_advise(glm_error *err, glm_advice advice);
extern bool glm_no_memory(glm_error *err);

/* ---- pause.c: long work that can be ended --------------------------------------------- */

/* To be called every few milliseconds of long work; false: end it.  err may be NULL. */
extern bool glm_pause(glm_error *err);
/* In between a pause of this thread asks nobody: others wait for a lock that it has.  Nests. */
extern void glm_pause_hold(void);
extern void glm_pause_release(void);

/* ---- buffer.c: growable byte buffer, growable list of token ids ------------------------ */

typedef struct glm_buf
{
	char  *data; /* NUL-terminated once anything was added */
	size_t length;
	size_t capacity;
	bool   failed; /* out of memory; sticky, later adds do nothing */
} glm_buf;

extern void glm_buf_add(glm_buf *buf, const void *bytes, size_t n);
extern void glm_buf_puts(glm_buf *buf, const char *s);
extern void glm_buf_free(glm_buf *buf);

/* Growable list of token ids. */
typedef struct glm_ids
{
	int32_t *data;
	size_t	 length;
	size_t	 capacity;
	bool	 counted; /* only that: there is no data */
} glm_ids;

extern bool glm_ids_add(glm_ids *ids, int32_t id, glm_error *err);
extern void glm_ids_free(glm_ids *ids);

/* ---- request.c ---------------------------------------------------------------------- */

/* The token ids of a request that was checked, and how many. */
extern const int32_t  *glm_request_tokens(const glm_request *req, size_t *n);
extern const glm_bias *glm_request_bias(const glm_request *req, size_t *n);

/* ---- utf8.c ----------------------------------------------------------------------------- */

/* Offset of the first byte that is not valid UTF-8, or -1 when all is. */
extern ptrdiff_t glm_utf8_check(const char *s, size_t n);
/* The same with pauses; false when one of them ended it. */
extern bool		 glm_utf8_check_long(const char *s, size_t n, ptrdiff_t *bad, glm_error *err);
/*
 * Bytes of the character that s begins with; 0 when the n bytes are only the
 * beginning of one, -1 when no bytes after them can make them one.
 */
extern int		 glm_utf8_length(const char *s, size_t n);

#endif /* GLM_BASE_H */
