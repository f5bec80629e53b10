/*
 * fuzz_options.c - any bytes as options of glm_quantize, and of a model: an error, or values in range.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/model/model_options.h"
#include "engine/quantize/quant_options.h"

static void
check_quant_options(const char *text, bool calibrated)
{
	glm_quant_options options;
	glm_error		  err = {0};

	if (glm_quant_options_read(&options, text, calibrated, &err))
	{
		FUZZ_CHECK(options.method > GLM_COPY && options.method <= GLM_GPTQ);
		FUZZ_CHECK(options.dtype == GLM_Q4 || options.dtype == GLM_Q8);
		FUZZ_CHECK(options.group == 32 || options.group == 64 || options.group == 128);
		FUZZ_CHECK(options.max_tokens >= 16 && options.max_tokens <= 1 << 20);
		FUZZ_CHECK(options.keep == NULL || json_is_array(options.keep));
		FUZZ_CHECK(options.wide == NULL || json_is_array(options.wide));
		FUZZ_CHECK(glm_method_name(options.method) != NULL);
	}
	else
		FUZZ_CHECK(err.status != GLM_OK && err.message[0] != '\0');
	glm_quant_options_free(&options);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char			*text = malloc(size + 1);
	glm_open_options options = {0};
	glm_error		 err = {0};

	memcpy(text, data, size);
	text[size] = '\0';
	check_quant_options(text, false);
	check_quant_options(text, true);
	if (!glm_model_options_read(&options, text, &err))
		FUZZ_CHECK(err.status != GLM_OK && err.message[0] != '\0');
	else
		FUZZ_CHECK((int) options.weights.verify >= 0 && options.weights.verify <= GLM_VERIFY_OFF);
	free(text);
	return 0;
}
