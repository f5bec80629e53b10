/*
 * literal.h - values as Python writes them.
 *
 * ChatGLM3 was trained on what Python's json.dumps() and repr() gave, so its
 * prompts must have their very separators, indents and digits.
 */
#ifndef GLM_LITERAL_H
#define GLM_LITERAL_H

#include "engine/base/json.h"
#include "engine/base/base.h"

typedef enum glm_style
{
	GLM_STYLE_JSON,	  /* json.dumps(v, ensure_ascii=False) */
	GLM_STYLE_INDENT, /* the same with indent=4 */
	GLM_STYLE_PYTHON  /* repr(v), strings always in double quotes */
} glm_style;

#define GLM_LITERAL_MAX (16u << 20) /* most bytes a value may become */

/*
 * Appends the value.  False when memory ran out (out->failed) or it would take
 * more than GLM_LITERAL_MAX bytes: indents can make a deep value large.  False too
 * when a pause ended it, which the next glm_pause() says again.
 */
extern bool glm_literal_write(glm_buf *out, json_t *value, glm_style style);

/*
 * Reads `tool_call(key=literal, ...)`, in literal_read.c.  A new JSON object of
 * the arguments; NULL when the text (valid UTF-8) is anything else, or when a
 * pause ended it, which the next glm_pause() says again.
 */
extern json_t *glm_literal_read_call(const char *code, size_t n);

/* The same where more may follow: *used bytes are the call and the blanks behind it. */
extern json_t *glm_literal_read_call_in(const char *text, size_t n, size_t *used);

static inline bool
glm_is_digit(uint32_t c)
{
	return c >= '0' && c <= '9';
}

/* ---- identifier.c ------------------------------------------------------ */

#define GLM_NAME_MAX 256 /* bytes of a function's name in a call */

/*
 * Could this be the name of a function that a model calls?  Letters, digits and
 * marks of any language, `_` and `-`; between them `.`, `:` and `/`.
 */
extern bool glm_literal_is_name(const char *s, size_t n);

/* Could this be a keyword of a Python call?  An identifier, no reserved word. */
extern bool glm_literal_is_keyword(const char *s, size_t n);

/* Bytes of the identifier that the text (UTF-8) begins with, 0 when it does with none. */
extern size_t glm_identifier_length(const char *s, size_t n);

#endif /* GLM_LITERAL_H */
