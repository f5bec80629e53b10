/*
 * fixtures.h - what many tests run on: a directory of their own, a tokenizer.
 */
#ifndef FIXTURES_H
#define FIXTURES_H

#include "checkpoint.h"
#include "engine/text/pieces.h"

/* A new directory for each test. */
extern char fx_dir[CK_PATH];
extern int	fx_open_dir(void **state);
extern int	fx_close_dir(void **state);

/* The embedded model's tokenizer, for a group of tests. */
#define FX_MODEL "models/tiny-chatglm3"
#define FX_VOCAB 1024
extern glm_tokenizer *fx_tok;
extern int32_t		  fx_byte_zero; /* id of <0x00>; the other bytes follow it */
extern int			  fx_open_tokenizer(void **state);
extern int			  fx_close_tokenizer(void **state);

#endif /* FIXTURES_H */
