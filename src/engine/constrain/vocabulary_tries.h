/*
 * vocabulary_tries.h - a vocabulary from inside: what masks and forced runs are made with.
 *
 * Two tries hold all tokens of up to GLM_TOKEN_BYTES: `plain` those that can stand inside
 * of a string of JSON as they are (whole characters, no quote, backslash or control
 * character), `rest` the others.  A trie is flat, in depth-first order: the children of a
 * node come right behind it, and what is below it is skipped by its size.  Of tokens with
 * the same bytes the tries hold one; the others are its twins.
 */
#ifndef GLM_VOCABULARY_TRIES_H
#define GLM_VOCABULARY_TRIES_H

#include "engine/constrain/vocabulary.h"

#define GLM_PLAIN_LENGTHS 64 /* code points of which each has its mask */
#define GLM_ANY_LENGTH INT32_MAX

/* Bytes in classes, so that a set of them is a word; all bytes of 0x80 and above are one. */
#define GLM_BYTE_CLASSES 13
#define GLM_CLASS_HIGH (GLM_BYTE_CLASSES - 1)

typedef struct glm_trie_node
{
	uint8_t	 byte;
	uint8_t	 depth;		 /* bytes before this one */
	uint16_t classes;	 /* of the bytes below it, a set of glm_byte_class() */
	int32_t	 size;		 /* nodes from this one on that belong to it, itself included */
	int32_t	 token;		 /* that ends here; -1: none */
	int32_t	 first, end; /* the tokens of it and below it: glm_trie.token[first .. end) */
} glm_trie_node;

typedef struct glm_trie
{
	glm_trie_node *node; /* [n] */
	int			   n;
	int32_t		  *token; /* [n_tokens] in the order of their bytes */
	int			   n_tokens;
	int32_t		   child[256]; /* nodes of first bytes; -1: none */
} glm_trie;

/* What `token` may, `twin` may too. */
typedef struct glm_twin
{
	int32_t token, twin;
} glm_twin;

struct glm_vocabulary
{
	glm_vocabulary_source source;
	int					  words;  /* of a mask */
	char				 *bytes;  /* of all tokens */
	uint32_t			 *offset; /* [n_ids + 1] into them */
	glm_trie			  plain, rest;
	int					  deepest;		 /* bytes of the longest token of the tries */
	int					  deepest_rest;	 /* of those of `rest` that have no control characters */
	bool				  ends_two_keys; /* one token may, of an object of JSON */
	glm_twin			 *twin;			 /* [n_twins] */
	int					  n_twins;
	int32_t				 *ends; /* [n_ends] that end an answer, in their order */
	int					  n_ends;
	uint64_t			 *lengths; /* [GLM_PLAIN_LENGTHS + 2][words]: see glm_vocabulary_plain() */
	int					  longest; /* code points of the longest plain token */
};

/* The bytes of a token; n is 0 where it may not be written. */
extern const char *glm_vocabulary_bytes(const glm_vocabulary *v, int32_t token, size_t *n);
/* The plain tokens of at most so many code points, as a mask. */
extern void		   glm_vocabulary_plain(const glm_vocabulary *v, int most, uint64_t *allowed);
/* Allows the twins of what is allowed. */
extern void		   glm_vocabulary_add_twins(const glm_vocabulary *v, uint64_t *allowed);
/*
 * Appends the tokens of these bytes: as a model would write them where the source can tell,
 * else the longest first.  false: there are none, or no memory; *out is as it was.
 */
extern bool		   glm_vocabulary_encode(const glm_vocabulary *v, const char *bytes, size_t n,
										 glm_ids *out);

/* The node behind a byte; node -1 is the root, and what is returned where there is none. */
extern int glm_trie_child(const glm_trie *trie, int node, uint8_t byte);
extern int glm_byte_class(uint8_t byte);

static inline void
glm_mask_set(uint64_t *mask, int32_t token)
{
	mask[token >> 6] |= UINT64_C(1) << (token & 63);
}

static inline bool
glm_mask_has(const uint64_t *mask, int32_t token)
{
	return mask[token >> 6] >> (token & 63) & 1;
}

#endif /* GLM_VOCABULARY_TRIES_H */
