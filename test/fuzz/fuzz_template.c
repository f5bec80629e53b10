/*
 * fuzz_template.c - any bytes as the text of a task: an error, or pieces that lie
 * behind each other in it.
 */
#include "fuzz.h"
#include "pg.h"

#include "pg/task_template.c"

jmp_buf fuzz_escape;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char		*text = malloc(size + 1);
	const char	*at = text;
	ChatglmPiece piece;

	memcpy(text, data, size);
	text[size] = '\0';
	if (setjmp(fuzz_escape) == 0)
	{
		for (const char *before = at; chatglm_next_piece("task", &at, text + size, &piece);
			 before = at)
		{
			FUZZ_CHECK(at > before && at <= text + size && piece.length > 0);
			FUZZ_CHECK(piece.text >= before && piece.text + piece.length <= at);
			FUZZ_CHECK(!piece.is_name || memchr(piece.text, '{', piece.length) == NULL);
		}
		FUZZ_CHECK(at == text + size);
	}
	free(text);
	return 0;
}
