/*
 * constrain.h - answers that have to be something: a JSON value of a schema, one of some
 * texts, what a pattern matches, a call of a tool.
 *
 * A constraint is compiled once and shared by all sequences that have the same; a matcher
 * is the place of one answer in it.  What a matcher has taken always has a known way to an
 * end that fits the tokens it may still have, so an answer that ends is valid, and every
 * answer ends.
 */
#ifndef GLM_CONSTRAIN_H
#define GLM_CONSTRAIN_H

#include "engine/constrain/vocabulary.h"

/* glm_constraint_kind, glm_property_order and glm_json_space are in glm.h: requests have them. */
typedef struct glm_constraint_spec
{
	glm_constraint_kind kind;
	glm_property_order	order;
	glm_json_space		space;
	const char		   *text; /* see glm_constraint_kind */
	size_t				length;
} glm_constraint_spec;

/* What is shared; thread-safe: it locks itself. */
typedef struct glm_constraint glm_constraint;

/*
 * Compiles, with pauses.  NULL and GLM_UNSUPPORTED (a keyword or construct that is not),
 * GLM_BAD_ARGUMENT (malformed; nothing fits it), GLM_TOO_COMPLEX (limits), each with keyword
 * and JSON pointer.  The vocabulary has to outlive it.
 */
extern glm_constraint *glm_constraint_open(const glm_constraint_spec *spec,
										   const glm_vocabulary *vocabulary, glm_error *err);
extern void			   glm_constraint_keep(glm_constraint *constraint);
extern void			   glm_constraint_release(glm_constraint *constraint); /* NULL is fine */

/* Constraints that were compiled lately, up to so many bytes, by kind, text and vocabulary. */
typedef struct glm_constraints glm_constraints;

extern glm_constraints *glm_constraints_open(size_t bytes); /* NULL: out of memory */
extern void				glm_constraints_close(glm_constraints *cache);
/* One reference to the constraint of this spec, compiled if it has to be.  Any thread. */
extern glm_constraint  *glm_constraints_get(glm_constraints *cache, const glm_constraint_spec *spec,
											const glm_vocabulary *vocabulary, glm_error *err);
/* Forgets those of a vocabulary that goes away. */
extern void glm_constraints_forget(glm_constraints *cache, const glm_vocabulary *vocabulary);

/* ---- One answer ------------------------------------------------------------------------------ */

/* Of one thread at a time. */
typedef struct glm_matcher glm_matcher;

/*
 * An answer of at most max_tokens, the one that ends it included; `prefix` (n bytes, before
 * anything else) is written first: a metadata line.  NULL and GLM_BAD_ARGUMENT when no
 * answer fits ("the shortest answer needs N tokens, max_tokens is M").
 */
extern glm_matcher *glm_matcher_open(glm_constraint *constraint, const char *prefix, size_t n,
									 int max_tokens, glm_error *err);
extern void			glm_matcher_close(glm_matcher *matcher); /* NULL is fine */

/* The tokens that may come next, ids that end the answer included where it may end. */
extern void	   glm_matcher_mask(glm_matcher *matcher, uint64_t *allowed);
/*
 * May this token come next, and is there then still a way to the end within the tokens
 * left?  The same as its bit of the mask, or stricter: what the mask allows may still be
 * refused here, and has to be drawn again without it.
 */
extern bool	   glm_matcher_allows(glm_matcher *matcher, int32_t token);
/* Takes a token that allows() said yes to, or one that ends the answer. */
extern void	   glm_matcher_take(glm_matcher *matcher, int32_t token);
/* May the answer end here?  Must it, as nothing else is allowed? */
extern bool	   glm_matcher_may_end(glm_matcher *matcher);
extern bool	   glm_matcher_must_end(glm_matcher *matcher);
/* The token of the known way to an end: what to write when everything drawn was refused. */
extern int32_t glm_matcher_way_out(glm_matcher *matcher);
/*
 * Tokens that come next whatever is drawn, at most `most`; none when there is a choice.
 * They are as the model would have written them.
 */
extern int	   glm_matcher_forced(glm_matcher *matcher, int32_t *tokens, int most);
/* Steps ahead on drafts: tokens taken after mark() are taken back by back(); marks do not nest. */
extern void	   glm_matcher_mark(glm_matcher *matcher);
extern void	   glm_matcher_back(glm_matcher *matcher);

#endif /* GLM_CONSTRAIN_H */
