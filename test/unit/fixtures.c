/*
 * fixtures.c - see fixtures.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "fixtures.h"

#include <cmocka.h>

char		   fx_dir[CK_PATH];
glm_tokenizer *fx_tok;
int32_t		   fx_byte_zero;

int
fx_open_dir(void **state)
{
	(void) state;
	ck_open(fx_dir);
	return 0;
}

int
fx_close_dir(void **state)
{
	(void) state;
	ck_close(fx_dir);
	return 0;
}

int
fx_open_tokenizer(void **state)
{
	glm_error err = {0};
	glm_ids	  ids = {0};

	(void) state;
	fx_tok = glm_tokenizer_open(FX_MODEL, FX_VOCAB, &err);
	if (fx_tok == NULL || !glm_tokenizer_encode(fx_tok, "\n", 1, &ids, &err))
		fail_msg("%s", err.message);
	assert_int_equal(ids.length, 2);
	fx_byte_zero = ids.data[1] - '\n';
	glm_ids_free(&ids);
	return 0;
}

int
fx_close_tokenizer(void **state)
{
	(void) state;
	glm_tokenizer_close(fx_tok);
	return 0;
}
