/*
 * blas.c - loading OpenBLAS; see blas.h.
 *
 * OpenBLAS comes with a thread pool of its own.  It is told to use none of it:
 * we spread work ourselves, over pieces that do not depend on the number of
 * threads, so that results do not either, and callers can be cancelled.
 *
 * The handles are kept open (RTLD_NODELETE), opening again finds the library
 * loaded.  dlopen and openblas_set_num_threads do their own locking.
 */
#include "engine/quantize/blas.h"
#include "engine/base/base.h"

#include <dlfcn.h>
#include <string.h>

#define BLAS "libopenblas.so.0"
#define LAPACK "liblapack.so.3"
#define HINT "Install OpenBLAS (Debian: libopenblas0-pthread), or quantize with method \"hqq\"."

/* POSIX lets dlsym's pointer be a function's; ISO C has no cast for it. */
static bool
find_symbol(void *function, void *library, const char *name)
{
	void *symbol = dlsym(library, name);

	memcpy(function, &symbol, sizeof(symbol));
	return symbol != NULL;
}

static bool
symbol_missing(const char *library, const char *name, glm_error *err)
{
	glm_fail(err, GLM_UNSUPPORTED, "%s has no function %s", library, name);
	glm_hint(err, HINT);
	return false;
}

static void *
load_library(const char *library, glm_error *err)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (handle == NULL)
	{
		glm_fail(err, GLM_UNSUPPORTED, "calibration needs the library %s: %s", library, dlerror());
		glm_hint(err, HINT);
	}
	return handle;
}

bool
glm_blas_open(glm_blas *blas, glm_error *err)
{
	void *library = load_library(BLAS, err);
	void (*set_threads)(int count);
	const struct
	{
		void	   *function;
		const char *name;
	} functions[] = {
		{&blas->sgemm, "cblas_sgemm"},
		{&blas->ssymm, "cblas_ssymm"},
		{&blas->ssyrk, "cblas_ssyrk"},
		{&blas->strsm, "cblas_strsm"},
		{&set_threads, "openblas_set_num_threads"},
	};

	if (library == NULL)
		return false;
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (!find_symbol(functions[i].function, library, functions[i].name))
			return symbol_missing(BLAS, functions[i].name, err);
	set_threads(1);
	if (find_symbol(&blas->spotrf, library, "spotrf_"))
		return true;
	/* an OpenBLAS built without it */
	library = load_library(LAPACK, err);
	if (library == NULL)
		return false;
	return find_symbol(&blas->spotrf, library, "spotrf_") || symbol_missing(LAPACK, "spotrf_", err);
}
