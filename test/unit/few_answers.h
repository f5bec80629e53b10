/*
 * few_answers.h - answers that are constrained, in a vocabulary of few tokens.
 */
#ifndef FEW_ANSWERS_H
#define FEW_ANSWERS_H

#include "engine/constrain/matcher_parts.h"

#define FA_PIECES 27
#define FA_WORDS 8 /* at least, of a mask */

/* What a test group is set up with, and what it then has. */
extern int			   fa_open(void **state);
extern int			   fa_close(void **state);
extern glm_vocabulary *fa_vocabulary;

/* A schema of objects with name, age and tags. */
extern const char fa_person[];

/* Which must be no error. */
extern glm_constraint *fa_constrain(glm_constraint_kind kind, const char *text);
extern glm_matcher	  *fa_match(glm_constraint *constraint, int max_tokens);

extern unsigned fa_draw(unsigned *random);
/* Fails the test if the mask is not what the bytes of each token say. */
extern void		fa_check_mask(glm_matcher *m, const uint64_t *allowed);
/* A random answer of at most so many tokens, appended to *out; `check`: each mask. */
extern void fa_write_answer(glm_matcher *m, unsigned random, int most, bool check, glm_buf *out);

#endif /* FEW_ANSWERS_H */
