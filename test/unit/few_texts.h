/*
 * few_texts.h - a machine of some texts, to try matchers with.
 *
 * The spec's text has one a line.  What ends with '*' is followed by another.  Behind '!'
 * comes a dead end that only the search for an end knows of; '~' is beyond the machine's
 * limits.  States point to a list of all bytes, so that what becomes of their memory shows.
 */
#ifndef FEW_TEXTS_H
#define FEW_TEXTS_H

#include "engine/constrain/constraint.h"

/* What each step takes of the machine's arena. */
extern size_t fx_growth;
/* Times that a machine was made. */
extern int	  fx_made;

/* Which must be no error. */
extern glm_constraint		 *fx_open(const char *texts, const glm_vocabulary *vocabulary);
extern glm_machine			 *fx_make(glm_arena *arena, const glm_constraint_spec *spec);
extern const glm_machine_kind fx_kind;

#endif /* FEW_TEXTS_H */
