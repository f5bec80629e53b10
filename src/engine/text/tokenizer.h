/*
 * tokenizer.h - text to token ids and back.
 */
#ifndef GLM_TOKENIZER_H
#define GLM_TOKENIZER_H

#include "engine/base/base.h"

typedef struct glm_tokenizer glm_tokenizer;

/* Opens dir/tokenizer.model.  Ids must all be below `vocab` (the padded one). */
extern glm_tokenizer *glm_tokenizer_open(const char *dir, int vocab, glm_error *err);
extern void			  glm_tokenizer_close(glm_tokenizer *tok);

/* The functions below are thread-safe: a tokenizer is immutable. */
/* How many ids mean something: pieces and special tokens, no padding. */
extern int		   glm_tokenizer_size(const glm_tokenizer *tok);
/* Most bytes of text that one id can stand for. */
extern size_t	   glm_tokenizer_longest(const glm_tokenizer *tok);
/* The id of the special token of this name, -1: there is none; and the name of an id, or NULL. */
extern int32_t	   glm_tokenizer_special(const glm_tokenizer *tok, const char *name);
extern const char *glm_tokenizer_name(const glm_tokenizer *tok, int32_t id);
/*
 * The n bytes that a piece adds to an answer; NULL where it adds none, or none that text can
 * have: special tokens, control and unknown pieces, a NUL.
 */
extern const char *glm_tokenizer_bytes(const glm_tokenizer *tok, int32_t id, size_t *n);
/* The blank that encoding puts in front of a text and decoding drops; "" if there is none. */
extern const char *glm_tokenizer_lead(const glm_tokenizer *tok);
extern bool glm_tokenizer_encode(const glm_tokenizer *tok, const char *text, size_t n, glm_ids *out,
								 glm_error *err); /* appends, with pauses */
/* The same, but stops where *out has more than `most` ids, and says if it did. */
extern bool glm_tokenizer_encode_most(const glm_tokenizer *tok, const char *text, size_t n,
									  size_t most, bool *stopped, glm_ids *out, glm_error *err);
/*
 * Text that stands behind other text, where nothing is put in front of it.  Of a tokenizer
 * whose pieces may span both it is GLM_UNSUPPORTED.
 */
extern bool glm_tokenizer_encode_inner(const glm_tokenizer *tok, const char *text, size_t n,
									   glm_ids *out, glm_error *err);
/* Text of ids; special ids by name, ids past the vocabulary are an error. */
extern bool glm_tokenizer_decode(const glm_tokenizer *tok, const int32_t *ids, size_t n,
								 glm_buf *out, glm_error *err);

#endif /* GLM_TOKENIZER_H */
