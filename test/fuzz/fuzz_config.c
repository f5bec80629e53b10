/*
 * fuzz_config.c - any bytes as config.json: an error, or numbers in range.
 */
#include "fuzz.h"

#include "engine/model/model.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char		*dir = fuzz_write("config.json", data, size);
	glm_model_config c;
	glm_error		 err = {0};

	if (!glm_config_read(&c, dir, &err))
	{
		FUZZ_CHECK(err.status != GLM_OK && err.message[0] != '\0');
		return 0;
	}
	FUZZ_CHECK(c.layers > 0 && c.hidden > 0 && c.ffn > 0 && c.vocab > 0 && c.context > 0);
	FUZZ_CHECK(c.groups > 0 && c.heads % c.groups == 0);
	FUZZ_CHECK(c.head_dim % 4 == 0 && c.head_dim <= 1024);
	FUZZ_CHECK(c.heads * c.head_dim <= 65536);
	FUZZ_CHECK(c.rotary > 0 && c.rotary % 2 == 0 && c.rotary <= c.head_dim);
	FUZZ_CHECK(c.norm_eps >= 0 && c.rope_base > 0 && c.rope_scale > 0);
	FUZZ_CHECK(c.n_eos >= 1 && c.n_eos <= 8);
	for (int i = 0; i < c.n_eos; i++)
		FUZZ_CHECK(c.eos[i] >= 0 && (c.eos[i] < c.vocab || c.eos[i] == 2));
	return 0;
}
