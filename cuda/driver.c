/*
 * driver.c - NVIDIA's driver API, found at run time.
 *
 * A process that was forked from one which had started the driver cannot use it, so this is
 * called in the process that computes and in no other.  Threads that the driver starts
 * inherit the caller's signal mask.  One thread at a time calls cuda_driver_find().
 */
#include "cuda/driver.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libcuda.so.1"

static cuda_driver driver;
static bool		   started;

/* The names that failures are told by. */
static const struct
{
	const char *ours, *name;
} names[] = {
#define NAME(name, ours, parameters) {#ours, #name},
	GLM_CUDA_DRIVER(NAME) GLM_CUDA_DRIVER_NEWER(NAME)
#undef NAME
};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

static const char *
name_of(const char *ours)
{
	for (size_t i = 0; i < N_NAMES; i++)
		if (strcmp(names[i].ours, ours) == 0)
			return names[i].name;
	return ours;
}

bool
cuda_fine(const cuda_driver *d, int result, const char *call, glm_error *err)
{
	const char *name = NULL, *text = NULL;

	if (result == CUDA_FINE)
		return true;
	d->error_name(result, &name);
	d->error_text(result, &text);
	return glm_fail(err, result == CUDA_OUT_OF_MEMORY ? GLM_NO_ROOM : GLM_INTERNAL,
					"%s: %s (%d, %s)", name_of(call), name != NULL ? name : "unknown result",
					result, text != NULL ? text : "no text");
}

/* A function pointer is not a data pointer to C, but it is to dlsym(). */
static bool
find_function(void *library, const char *name, void *function, glm_error *err)
{
	void *found = dlsym(library, name);

	memcpy(function, &found, sizeof(found));
	return found != NULL ||
		   glm_fail(err, GLM_UNSUPPORTED, LIBRARY " is too old: it has no %s", name);
}

static bool
find_functions(void *library, glm_error *err)
{
	glm_error none;

#define FIND(name, ours, parameters)                                                               \
	if (!find_function(library, #name, &driver.ours, err))                                         \
		return false;
	GLM_CUDA_DRIVER(FIND)
#undef FIND
#define FIND(name, ours, parameters) find_function(library, #name, &driver.ours, &none);
	GLM_CUDA_DRIVER_NEWER(FIND)
#undef FIND
	return true;
}

const cuda_driver *
cuda_driver_find(glm_error *err)
{
	void *library;

	if (started)
		return &driver;
	/* kernels are ready when they are loaded, and nothing is written into anybody's home */
	setenv("CUDA_MODULE_LOADING", "EAGER", 0);
	setenv("CUDA_CACHE_DISABLE", "1", 0);
	/* it has threads and a device: it stays */
	library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (library == NULL)
	{
		glm_fail(err, GLM_UNSUPPORTED, "%s", dlerror());
		return NULL;
	}
	if (!find_functions(library, err) || !CUDA(&driver, err, init, 0))
		return NULL;
	started = true;
	return &driver;
}
