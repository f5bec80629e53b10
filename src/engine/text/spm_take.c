/*
 * spm_take.c - callbacks for spm.h: what a call yields goes into a glm_buf or a glm_ids.
 */
#include "engine/text/pieces.h"

bool
glm_take_text(void *buf, const char *text, size_t n)
{
	glm_buf_add(buf, text, n);
	return !((glm_buf *) buf)->failed;
}

bool
glm_take_id(void *ids, int32_t id)
{
	return glm_ids_add(ids, id, NULL);
}
