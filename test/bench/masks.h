/*
 * masks.h - what the parts of build/bench/masks share.
 */
#ifndef GLM_BENCH_MASKS_H
#define GLM_BENCH_MASKS_H

#ifdef __cplusplus
extern "C"
{
#endif

#include "engine/base/base.h"

	/* ---- masks_case.c: schemas with instances, one a line -------------------------------- */

	/* A value that the schema allows or not, as Python's json.dumps(ensure_ascii=False) writes it. */
	typedef struct masks_instance
	{
		bool	valid;
		glm_buf text;
	} masks_instance;

	typedef struct masks_case
	{
		glm_buf			name;
		glm_buf			schema; /* as it stands in the file */
		masks_instance *instance;
		int				n;
	} masks_case;

	extern bool masks_case_read(masks_case *c, const char *line, glm_error *err);
	extern void masks_case_free(masks_case *c);

	/* ---- masks_train.cc ------------------------------------------------------------------ */

	/* Trains a vocabulary and writes it to this file: a minute. */
	extern bool masks_train(const char *path, glm_error *err);

	/* ---- masks_tokens.c: a vocabulary and texts in it ------------------------------------ */

	typedef struct masks_tokens masks_tokens;
	struct glm_vocabulary;

	/* Of the tokenizer in this directory; NULL: of a vocabulary of 65,024 that is made once. */
	extern masks_tokens			 *masks_tokens_open(const char *dir, glm_error *err);
	extern void					  masks_tokens_close(masks_tokens *tokens);
	extern int					  masks_tokens_count(const masks_tokens *tokens);
	extern struct glm_vocabulary *masks_tokens_vocabulary(const masks_tokens *tokens);
	/* The bytes of a token; NULL: it has none. */
	extern const char *masks_tokens_bytes(const masks_tokens *tokens, int32_t id, size_t *n);
	/* The token that is this byte alone; -1: there is none. */
	extern int32_t	   masks_tokens_byte(const masks_tokens *tokens, uint8_t byte);
	/* Appends the tokens of an answer that is this text. */
	extern bool		   masks_tokens_encode(const masks_tokens *tokens, const char *text, size_t n,
										   glm_ids *out);

#ifdef __cplusplus
}
#endif

#endif /* GLM_BENCH_MASKS_H */
