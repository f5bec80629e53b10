/*
 * constrained.h - sequences whose answers have to be something: values of a schema, texts
 * that a pattern matches, calls of tools (room constrain).
 */
#ifndef GLM_CONSTRAINED_H
#define GLM_CONSTRAINED_H

#include "engine/serve/engine.h"

/*
 * Gives a sequence that has nothing but its prompt what its request asks of the answer; a raw
 * prompt may lose its last token to that.  Nothing to do without a constraint.  Errors are
 * those of glm_constraint_open().
 */
extern bool glm_constrained_open(glm_engine *engine, glm_sequence *seq, glm_error *err);
/*
 * When it has sampler, decoder and limit: the tokens that the answer begins with whatever is
 * drawn.  Errors are those of glm_matcher_open().
 */
extern bool glm_constrained_begin(glm_sequence *seq, glm_error *err);
extern void glm_constrained_close(glm_constrained *c); /* NULL is fine, here and below */

/* Is the answer complete, so that nothing comes any more? */
extern bool	   glm_constrained_over(const glm_constrained *c);
/* The token that comes next whatever is drawn; -1: there is a choice, or it is over. */
extern int32_t glm_constrained_forced(glm_constrained *c);
/* The answer goes on by this token, forced or picked. */
extern void	   glm_constrained_take(glm_constrained *c, int32_t token);

/*
 * Draws the next token by the sequence's logits in a row, where none is forced, and goes on
 * by it.  `index` as in glm_sampler_pick(); draws of it anew have numbers of their own.
 */
extern bool glm_constrained_pick(glm_sequence *seq, float *logits, uint64_t index,
								 glm_picked *picked, glm_error *err);

/*
 * The same where it is drawn elsewhere: which ids are allowed, if that has to be known before, of
 * a pick behind the first i tokens of the sequence's draft, asked of all of them in order (false:
 * there is no room to say it); and whether what was drawn is allowed, which else has to be drawn
 * by glm_constrained_pick().
 */
extern bool glm_constrained_describe(const glm_sequence *seq, int i, glm_pick_room *room,
									 glm_pick *pick);
extern bool glm_constrained_allows(glm_constrained *c, int32_t token);

/* Appends what comes next whatever is drawn to the sequence's tokens. */
extern void glm_constrained_go_on(glm_sequence *seq);

/* Between these two a draft is made, by these limits too, and taken back. */
extern void glm_constrained_begin_draft(glm_constrained *c, glm_draft_limits *limits);
extern void glm_constrained_end_draft(glm_constrained *c);

#endif /* GLM_CONSTRAINED_H */
