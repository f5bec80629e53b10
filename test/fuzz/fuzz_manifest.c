/*
 * fuzz_manifest.c - any bytes as the manifest of a packed directory: an error,
 * or entries that agree with themselves.  No directory is what they say.
 */
#include "fuzz.h"

#include <string.h>

#include "engine/weights/manifest.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char	 *dir = fuzz_write(GLM_MANIFEST, data, size);
	glm_manifest *m;
	glm_error	  err = {0};

	if (!glm_manifest_read(&m, dir, &err))
	{
		FUZZ_CHECK(err.status != GLM_OK && m == NULL);
		return 0;
	}
	FUZZ_CHECK(m != NULL && m->n_files > 0);
	for (int i = 0; i < m->n_files; i++)
	{
		const glm_manifest_file *file = &m->file[i];

		FUZZ_CHECK(strchr(file->name, '/') == NULL);
		FUZZ_CHECK(glm_manifest_find(m, file->name) == file);
		FUZZ_CHECK((file->size + GLM_CHUNK_SIZE - 1) / GLM_CHUNK_SIZE == (uint64_t) file->n_chunks);
	}
	FUZZ_CHECK(!glm_manifest_check(m, dir, GLM_VERIFY_FULL, &err));
	glm_manifest_free(m);
	return 0;
}
