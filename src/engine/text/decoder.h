/*
 * decoder.h - the text of an answer, token by token.
 */
#ifndef GLM_DECODER_H
#define GLM_DECODER_H

#include "engine/text/chat_format.h"

/*
 * The streaming half of decode: text of one answer, token by token.  Holds
 * back incomplete UTF-8, what may become a stop string and, in a chat answer,
 * the empty metadata line with the blanks around the content.  Special ids give
 * no text, but one of them may begin another turn of a chat answer.  All text of all
 * pushes plus the finish is what is shown of the answer.
 */
typedef struct glm_decoder glm_decoder;

/* chat: the format of the answer; NULL: it continues a raw prompt. */
extern glm_decoder *glm_decoder_open(const glm_tokenizer *tok, const glm_chat *chat,
									 const char *stop, size_t stop_length);
extern void			glm_decoder_close(glm_decoder *dec);
/*
 * From now on a NUL stands between the turns of the answer, and a newline before content:
 * see glm_answer_parse_turns().
 */
extern void			glm_decoder_mark_turns(glm_decoder *dec);
/*
 * From the first token on all bytes are shown as they are, but for the first `hidden`.  Are
 * they content, which is marked as such?
 */
extern void			glm_decoder_exact(glm_decoder *dec, size_t hidden, bool content);
/*
 * The answer begins with these ids, which its reader has: nothing of them is shown, and no
 * stop string begins in them.  Before anything is pushed.
 */
extern void			glm_decoder_skip(glm_decoder *dec, const int32_t *ids, size_t n);
/* Appends the text that is certain now; *stopped when a stop string came. */
extern bool			glm_decoder_push(glm_decoder *dec, int32_t id, glm_buf *out, bool *stopped);
extern bool			glm_decoder_finish(glm_decoder *dec, glm_buf *out);

#endif /* GLM_DECODER_H */
