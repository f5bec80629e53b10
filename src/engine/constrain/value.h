/*
 * value.h - JSON as it is written: the order of keys, the digits of numbers.
 */
#ifndef GLM_VALUE_H
#define GLM_VALUE_H

#include "engine/constrain/arena.h"

/* Kinds of values, of which a type is a set; true and false are two, so that {"const": true} is a type. */
typedef enum glm_kinds
{
	GLM_KIND_NULL = 1,
	GLM_KIND_FALSE = 2,
	GLM_KIND_TRUE = 4,
	GLM_KIND_NUMBER = 8,
	GLM_KIND_STRING = 16,
	GLM_KIND_ARRAY = 32,
	GLM_KIND_OBJECT = 64,
	GLM_KIND_ANY = 127
} glm_kinds;

#define GLM_VALUE_BYTES ((size_t) 1 << 20) /* of a text */
#define GLM_VALUE_DEPTH 200				   /* how deep arrays and objects are nested */

typedef struct glm_value glm_value;

typedef struct glm_value_member
{
	const char *key;
	glm_value  *value;
} glm_value_member;

struct glm_value
{
	glm_kinds		  kind; /* one */
	int				  n;	/* bytes of text, items, members */
	const char		 *text; /* of a string, decoded; of a number, as written; NUL behind it */
	glm_value		**item; /* [n] of arrays and objects */
	const char		**key;	/* [n] of objects, decoded */
	int				 *key_length;
	glm_value_member *by_name; /* [n] of objects, sorted by key */
	void			 *node;	   /* schema.c: what was made of it */
};

/*
 * Reads a text of n bytes that is one value, with pauses.  GLM_BAD_ARGUMENT where it is no
 * JSON of valid UTF-8, where a key comes twice or holds U+0000 (a string may, as patterns
 * do); GLM_TOO_COMPLEX past GLM_VALUE_BYTES and GLM_VALUE_DEPTH.  Messages say at which byte, from 0.
 */
extern glm_value *glm_value_read(glm_arena *arena, const char *text, size_t n);
/* The member of this name; NULL: there is none, or it is no object. */
extern glm_value *glm_value_get(const glm_value *object, const char *key);
/* Is it a string without U+0000? */
extern bool		  glm_value_is_text(const glm_value *value);

#endif /* GLM_VALUE_H */
