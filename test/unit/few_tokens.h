/*
 * few_tokens.h - vocabularies of some tokens, for what is constrained.
 */
#ifndef FEW_TOKENS_H
#define FEW_TOKENS_H

#include "engine/constrain/vocabulary_tries.h"

/*
 * Token 0 is no text, 1 and 2 end an answer, 3 .. 258 are the bytes, and behind them come n
 * pieces.  The source lives until the next call of ft_source().
 */
extern glm_vocabulary_source ft_source(const char *const *piece, int n);
/* The same, open. */
extern glm_vocabulary		*ft_open(const char *const *piece, int n);

#define FT_END 1 /* the first that ends an answer */
#define FT_BYTE(byte) (3 + (uint8_t) (byte))
#define FT_PIECE(i) (259 + (i))

#endif /* FEW_TOKENS_H */
