/*
 * backend_host.h - what the engine lends a backend that is a library of its own, and the one
 * function of such a library.
 */
#ifndef GLM_BACKEND_HOST_H
#define GLM_BACKEND_HOST_H

#include "engine/compute/backend.h"
#include "engine/model/residency.h"

/* The engine's functions that know its files and threads; see residency.h. */
typedef struct glm_host
{
	bool (*residency_open)(glm_residency *r, const glm_model *model, glm_error *err);
	void (*residency_close)(glm_residency *r);
	bool (*residency_touch)(glm_residency *r, int segment, glm_error *err);
	void (*residency_release)(glm_residency *r, int segment);
	/* see threads.h */
	glm_threads *(*threads_open)(int count, glm_error *err);
	void (*threads_close)(glm_threads *pool);
	void (*threads_run)(glm_threads *pool, void (*share)(void *arg, int index, int count),
						void		*arg);
} glm_host;

/*
 * Such a library exports this, by the name GLM_BACKEND_ENTRY.  `host` lives as long as the
 * process.  Nothing is done before the backend's find().
 */
typedef const glm_backend *glm_backend_entry(const glm_host *host);

#define GLM_BACKEND_ENTRY "glm_backend_of_library"

/*
 * The backend of the library at this path, loaded once in a process, for good; NULL and *err
 * if there is none.
 */
extern const glm_backend *glm_backend_load(const char *path, glm_error *err);

#endif /* GLM_BACKEND_HOST_H */
