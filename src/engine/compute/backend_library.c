/*
 * backend_library.c - a backend in a library of its own: loaded, and lent what it needs.
 *
 * The library stays for good, as what it starts (a driver with threads) could not be undone.
 */
#include "engine/compute/backend_host.h"

#include <dlfcn.h>
#include <string.h>

#include "engine/base/threads.h"

static const glm_host host = {
	.residency_open = glm_residency_open,
	.residency_close = glm_residency_close,
	.residency_touch = glm_residency_touch,
	.residency_release = glm_residency_release,
	.threads_open = glm_threads_open,
	.threads_close = glm_threads_close,
	.threads_run = glm_threads_run,
};

const glm_backend *
glm_backend_load(const char *path, glm_error *err)
{
	void			  *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE), *found;
	glm_backend_entry *entry;

	if (library == NULL)
	{
		glm_fail(err, GLM_UNSUPPORTED, "%s", dlerror());
		return NULL;
	}
	found = dlsym(library, GLM_BACKEND_ENTRY);
	if (found == NULL)
	{
		glm_fail(err, GLM_UNSUPPORTED, "\"%s\" is no library with a backend", path);
		return NULL;
	}
	/* a function pointer is not a data pointer to C, but it is to dlsym() */
	memcpy(&entry, &found, sizeof(entry));
	return entry(&host);
}
