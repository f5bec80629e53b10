/*
 * fuzz_event.c - any bytes as what the worker sends to a backend: no event, or one whose payload
 * can be read as its kind says.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/base.h"

static volatile unsigned sum;

static void
read_told(const char *at, const char *end)
{
	const char *before = at;
	const char *text;
	glm_told	told;

	while (glm_told_next(&at, end, &told, &text))
	{
		FUZZ_CHECK(text == before + sizeof(told) && at == text + told.length && at <= end);
		for (int i = 0; i < told.length; i++)
			sum += (unsigned char) text[i];
		before = at;
	}
	FUZZ_CHECK(at == before);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	glm_event *event = malloc(size > 0 ? size : 1);

	memcpy(event, data, size);
	if (glm_event_check(event, size))
	{
		const char *end = event->payload + event->length;

		FUZZ_CHECK(end == (const char *) event + size);
		if (event->kind == GLM_EVENT_TOKEN)
			read_told(end - event->told, end);
		else
			read_told(event->payload, end);
	}
	free(event);
	return 0;
}
