/*
 * chatglm.c - the door through which PostgreSQL loads the extension.
 *
 * The supported way is shared_preload_libraries: then _PG_init runs in the
 * postmaster, asks for shared memory and registers the worker.  No thread may
 * be started here, nor anything that starts one: the postmaster forks, and a
 * fork keeps only the thread that called it.
 *
 * Loaded any other way (the first call of a function in a session, LOAD), only
 * the settings and the planner's hooks come to be; chatglm_shared stays NULL
 * and chatglm_require_preload() turns every call that needs the worker into an
 * ERROR that says how to configure the server.
 */
#include "chatglm.h"

#include "fmgr.h"

#include "batch.h"
#include "settings.h"
#include "shared.h"
#include "stream.h"
#include "worker.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	chatglm_define_gucs();
	chatglm_stream_init();
	chatglm_batch_init();
	chatglm_run_init();

	if (process_shared_preload_libraries_in_progress)
	{
		chatglm_shmem_init();
		chatglm_worker_register();
	}
}
