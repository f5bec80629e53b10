/*
 * shared.c - the main shared memory of chatglm.
 *
 * One ChatglmShared, then the slots of sessions (one for each process number,
 * so that a backend finds its own without a search), then the requests the
 * worker knows (one for each ticket of the engine, then one for each place in the queue, for
 * those that wait for limits of their role).  The room that is taken
 * in the queue (room.c), the statements with rows in flight (batch_stat.c), the hashes of
 * models (model_hashes.c), what was measured (measures.c), what roles used (usage.c) and use of
 * their limits (limits_use.c) have memory and locks of their own.
 *
 * ChatglmShared.lock guards all but the atomics.  Nobody raises an ERROR, waits
 * or calls the engine while holding it: the worker takes it on its way out,
 * and backends take it while a transaction aborts.
 */
#include "chatglm.h"

#include "storage/shmem.h"

#include "batch_stat.h"
#include "encoding.h"
#include "job_shared.h"
#include "limits_use.h"
#include "measures.h"
#include "model_hashes.h"
#include "room.h"
#include "shared.h"
#include "usage.h"

ChatglmShared *chatglm_shared;

static shmem_startup_hook_type prev_startup_hook;
#if CHATGLM_HAVE_SHMEM_REQUEST_HOOK
static shmem_request_hook_type prev_request_hook;
#endif

static void request_shmem(void);
static void startup_shmem(void);
static Size shmem_size(int n_slots, int n_requests);
static void init_shared(ChatglmShared *shared, LWLock *lock);

void
chatglm_shmem_init(void)
{
#if CHATGLM_HAVE_SHMEM_REQUEST_HOOK
	prev_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
#else
	request_shmem();
#endif
	prev_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

ChatglmSlot *
chatglm_slots(void)
{
	return (ChatglmSlot *) ((char *) chatglm_shared + MAXALIGN(sizeof(ChatglmShared)));
}

ChatglmRequestStat *
chatglm_request_stats(void)
{
	return (ChatglmRequestStat *) ((char *) chatglm_slots() +
								   MAXALIGN(chatglm_shared->n_slots * sizeof(ChatglmSlot)));
}

void
chatglm_require_preload(void)
{
	if (chatglm_shared == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("chatglm was not loaded when the server started"),
						errhint("Put shared_preload_libraries = 'chatglm' into postgresql.conf and "
								"restart the server.")));
}

/*
 * The latch may belong to a worker that is just going; it lies in shared
 * memory all the same, and at worst another process wakes once for nothing.
 */
void
chatglm_wake_worker(void)
{
	LWLockAcquire(chatglm_shared->lock, LW_SHARED);
	if (chatglm_shared->worker_latch != NULL)
		SetLatch(chatglm_shared->worker_latch);
	LWLockRelease(chatglm_shared->lock);
}

bool
chatglm_worker_is_up(void)
{
	bool up = false;

	if (chatglm_shared != NULL)
	{
		LWLockAcquire(chatglm_shared->lock, LW_SHARED);
		up = chatglm_shared->worker_pid != 0;
		LWLockRelease(chatglm_shared->lock);
	}
	return up;
}

bool
chatglm_shared_copy(ChatglmShared *copy)
{
	if (chatglm_shared == NULL)
		return false;
	LWLockAcquire(chatglm_shared->lock, LW_SHARED);
	memcpy(copy, chatglm_shared, offsetof(ChatglmShared, model));
	memcpy(copy->model, chatglm_shared->model, copy->n_models * sizeof(copy->model[0]));
	LWLockRelease(chatglm_shared->lock);
	return true;
}

const glm_model_info *
chatglm_find_loaded(const ChatglmShared *shared, const char *name, const char *path)
{
	for (int i = 0; i < shared->n_models; i++)
		if (strcmp(shared->model[i].path, path) == 0 &&
			strcmp(chatglm_shown(shared->model[i].name), name) == 0)
			return &shared->model[i];
	return NULL;
}

/* ---- hooks ------------------------------------------------------------ */

static void
request_shmem(void)
{
#if CHATGLM_HAVE_SHMEM_REQUEST_HOOK
	if (prev_request_hook != NULL)
		prev_request_hook();
#endif
	RequestAddinShmemSpace(shmem_size(chatglm_max_backends(), chatglm_room_places()));
	RequestAddinShmemSpace(chatglm_room_size());
	RequestAddinShmemSpace(chatglm_batch_stat_size());
	RequestAddinShmemSpace(chatglm_hashes_size());
	RequestAddinShmemSpace(chatglm_jobs_size());
	RequestAddinShmemSpace(chatglm_measures_size());
	RequestAddinShmemSpace(chatglm_usage_size());
	RequestAddinShmemSpace(chatglm_limits_use_size());
	RequestNamedLWLockTranche("chatglm", 8);
}

static void
startup_shmem(void)
{
	LWLockPadded *locks = NULL;
	void		 *room;
	void		 *batches;
	void		 *hashes;
	void		 *jobs;
	void		 *measures;
	void		 *usage;
	void		 *limits_use;
	bool		  found;

	if (prev_startup_hook != NULL)
		prev_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	chatglm_shared = ShmemInitStruct(
		"chatglm", shmem_size(chatglm_max_backends(), chatglm_room_places()), &found);
	room = ShmemInitStruct("chatglm room", chatglm_room_size(), &found);
	batches = ShmemInitStruct("chatglm batches", chatglm_batch_stat_size(), &found);
	hashes = ShmemInitStruct("chatglm hashes", chatglm_hashes_size(), &found);
	jobs = ShmemInitStruct("chatglm jobs", chatglm_jobs_size(), &found);
	measures = ShmemInitStruct("chatglm measures", chatglm_measures_size(), &found);
	usage = ShmemInitStruct("chatglm usage", chatglm_usage_size(), &found);
	limits_use = ShmemInitStruct("chatglm limits", chatglm_limits_use_size(), &found);
	if (!found)
	{
		locks = GetNamedLWLockTranche("chatglm");
		init_shared(chatglm_shared, &locks[0].lock);
	}
	chatglm_room_init(room, found ? NULL : &locks[1].lock);
	chatglm_batch_stat_init(batches, found ? NULL : &locks[2].lock);
	chatglm_hashes_init(hashes, found ? NULL : &locks[3].lock);
	chatglm_jobs_init(jobs, found ? NULL : &locks[4].lock);
	chatglm_measures_init(measures, found ? NULL : &locks[5].lock);
	chatglm_usage_init(usage, found ? NULL : &locks[6].lock);
	chatglm_limits_use_init(limits_use, found ? NULL : &locks[7].lock);
	LWLockRelease(AddinShmemInitLock);
}

static Size
shmem_size(int n_slots, int n_requests)
{
	Size size = MAXALIGN(sizeof(ChatglmShared));

	size = add_size(size, MAXALIGN(mul_size(n_slots, sizeof(ChatglmSlot))));
	return add_size(size, mul_size(2 * n_requests, sizeof(ChatglmRequestStat)));
}

static void
init_shared(ChatglmShared *shared, LWLock *lock)
{
	int n_slots = chatglm_max_backends();
	int n_requests = chatglm_room_places();

	memset(shared, 0, shmem_size(n_slots, n_requests));
	shared->lock = lock;
	shared->n_slots = n_slots;
	shared->n_requests = n_requests;
	shared->n_stats = 2 * n_requests;
	pg_atomic_init_u32(&shared->generation, 0);
	pg_atomic_init_u64(&shared->next_id, 1);
	pg_atomic_init_u32(&shared->news, 0);
}
