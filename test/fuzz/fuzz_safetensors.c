/*
 * fuzz_safetensors.c - any bytes as a weight file: an error, or tensors that
 * lie inside it.  Each is held and read to its last byte.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/weights/packed.h"
#include "engine/weights/safetensors.h"

/* Keeps the reads from being optimised away. */
static volatile unsigned sum;

static void
read_entry(const glm_shard *shard, const glm_shard_entry *e)
{
	const uint8_t *base = glm_weight_file_data(shard->file);
	uint64_t	   begin = (uint64_t) (e->data - base);
	uint64_t	   end = begin + (e->end - e->begin);
	glm_error	   err;

	FUZZ_CHECK(end <= glm_weight_file_size(shard->file));
	FUZZ_CHECK(!shard->packed || begin % 64 == 0);
	if (e->computable && glm_is_packed(e->dtype))
		FUZZ_CHECK(glm_packed_bytes(e->dtype, (size_t) e->shape[0], (size_t) e->shape[1],
									(size_t) e->group) == e->end - e->begin);
	FUZZ_CHECK(glm_chunks_hold(shard->file, shard->path, NULL, begin, end, &err));
	for (uint64_t i = begin; i < end; i++)
		sum += base[i];
	glm_chunks_drop(shard->file, begin, end);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *dir = fuzz_write("model.safetensors", data, size);
	glm_shard	shard;
	glm_error	err = {0};
	char	   *path = malloc(strlen(dir) + sizeof("/model.safetensors"));

	strcpy(path, dir);
	strcat(path, "/model.safetensors");
	if (glm_shard_open(&shard, NULL, path, &err))
	{
		for (size_t i = 0; i < shard.n_entries; i++)
			read_entry(&shard, &shard.entry[i]);
	}
	else
		FUZZ_CHECK(err.status != GLM_OK && err.message[0] != '\0');
	glm_shard_close(&shard);
	return 0;
}
