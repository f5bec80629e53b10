/*
 * truncate.h - a prompt that does not fit, made to fit.
 *
 * In two steps, around the encoding of those pieces of the prompt which may be cut
 * (the user's text; of a chat, the users' and tools' contents).  It is the longest
 * that is cut; where none of it could stay it goes, and it is the next one's turn:
 *
 *     glm_truncate_text(...)     before: leaves out bytes that cannot matter
 *     encode, and all the rest of the prompt
 *     glm_truncate_ids(...)      once: cuts the piece's ids
 */
#ifndef GLM_TRUNCATE_H
#define GLM_TRUNCATE_H

#include "engine/text/tokenizer.h"

/*
 * Most ids that a prompt may have: the context less the room kept for the answer,
 * which is max_tokens, but at most a quarter of the context.
 */
extern size_t glm_truncate_limit(int context, int max_tokens);

/*
 * Shortens a text to bytes that can stand for ids which are kept: *text and *n are
 * changed, into `joined` (the caller's, freed by him) where both ends are kept.
 * The work on a text is thereby bounded by the context, whatever its length.
 */
extern bool glm_truncate_text(const glm_tokenizer *tok, glm_truncate how, size_t limit,
							  const char **text, size_t *n, glm_buf *joined, glm_error *err);

/*
 * Takes ids of the piece ids[from, to) away until all of the list has at most
 * `limit`: its first ones, its last ones or those in the middle.  The text of what
 * stays is whole characters.  Does nothing where there are few enough;
 * GLM_TOO_LONG where nothing of the piece would be left.
 */
extern bool glm_truncate_ids(const glm_tokenizer *tok, glm_truncate how, size_t limit, glm_ids *ids,
							 size_t from, size_t to, glm_error *err);

#endif /* GLM_TRUNCATE_H */
