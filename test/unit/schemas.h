/*
 * schemas.h - schemas of tests, compiled.
 */
#ifndef SCHEMAS_H
#define SCHEMAS_H

#include "engine/constrain/schema.h"

/* Of the last schema that was refused. */
extern glm_error schema_error;

/* The root of a schema's nodes, good until the next; NULL with schema_error: it is refused. */
extern const glm_node *try_schema(const char *text, size_t n);
/* The test fails when it is refused. */
extern const glm_node *compiled(const char *text);
/* The same with one %s in the text. */
extern const glm_node *compiled_format(const char *format, const char *word);

/* The test fails when it is not refused like this, with `why` in the message. */
extern void assert_refused(const char *text, glm_status status, const char *why);
/* The same with one %s in the text, for which `why` may have one too. */
extern void assert_refused_format(const char *format, const char *word, glm_status status,
								  const char *why);

/* A teardown. */
extern int free_schema(void **state);

#endif /* SCHEMAS_H */
