/*
 * tokenizer.h - text to token ids and back.
 */
#ifndef GLM_TOKENIZER_H
#define GLM_TOKENIZER_H

#include "engine/base/base.h"

typedef struct glm_tokenizer glm_tokenizer;

/* Special ids, in the order in which they follow the SentencePiece vocabulary. */
typedef enum glm_special
{
	GLM_SP_MASK = 0,
	GLM_SP_GMASK,
	GLM_SP_SMASK,
	GLM_SP_SOP,
	GLM_SP_EOP,
	GLM_SP_SYSTEM,
	GLM_SP_USER,
	GLM_SP_ASSISTANT,
	GLM_SP_OBSERVATION,
	GLM_N_SPECIAL
} glm_special;

/* Opens dir/tokenizer.model.  Ids must all be below `vocab` (the padded one). */
extern glm_tokenizer *glm_tokenizer_open(const char *dir, int vocab, glm_error *err);
extern void			  glm_tokenizer_close(glm_tokenizer *tok);

/* The functions below are thread-safe: a tokenizer is immutable. */
/* How many ids mean something: pieces and special tokens, no padding. */
extern int	   glm_tokenizer_size(const glm_tokenizer *tok);
/* Most bytes of text that one id can stand for. */
extern size_t  glm_tokenizer_longest(const glm_tokenizer *tok);
extern int32_t glm_tokenizer_special(const glm_tokenizer *tok, glm_special which);
extern bool glm_tokenizer_encode(const glm_tokenizer *tok, const char *text, size_t n, glm_ids *out,
								 glm_error *err); /* appends, with pauses */
/* The same, but stops where *out has more than `most` ids, and says if it did. */
extern bool glm_tokenizer_encode_most(const glm_tokenizer *tok, const char *text, size_t n,
									  size_t most, bool *stopped, glm_ids *out, glm_error *err);
/* Text of ids; special ids by name, ids past the vocabulary are an error. */
extern bool glm_tokenizer_decode(const glm_tokenizer *tok, const int32_t *ids, size_t n,
								 glm_buf *out, glm_error *err);

#endif /* GLM_TOKENIZER_H */
