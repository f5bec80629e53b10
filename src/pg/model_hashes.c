/*
 * model_hashes.c - the hashes of models: computed when first asked for, kept for all sessions.
 *
 * A hash is kept in shared memory with the identity of the files that it is of (their
 * devices, inodes, sizes and times), and is good as long as that is the same: a second
 * session, and a second call, examine a handful of files and read none.  It is kept by the
 * directory's path, and an option that changes the arithmetic is put in at the end.
 *
 * The backend computes it, not the worker: it is its caller who waits, a cancel is a cancel
 * like any other, and the engine notices nothing.  Who asks for a hash that another session
 * computes waits for that, by a heavyweight lock on the path, instead of reading the same
 * gigabytes beside it.
 *
 * ChatglmHashes.lock guards all of the memory; nobody does more under it than look through
 * the entries and copy one.
 */
#include "chatglm.h"

#include "common/hashfn.h"
#include "storage/lock.h"

#include "encoding.h"
#include "model_hashes.h"

#define MAX_HASHES 128
#define LOCK_SPACE 0x676c /* of our locks among advisory ones; SQL's functions use 1 and 2 */

typedef struct HashEntry
{
	char   path[sizeof(((glm_model_info *) NULL)->path)]; /* empty: unused */
	char   identity[GLM_MODEL_HASH];
	char   hash[GLM_MODEL_HASH];
	uint64 used; /* when, by ChatglmHashes.clock */
} HashEntry;

typedef struct ChatglmHashes
{
	LWLock	 *lock;
	uint64	  clock;
	HashEntry entry[MAX_HASHES];
} ChatglmHashes;

static ChatglmHashes *hashes;

/* ---- Shared memory ----------------------------------------------------------------- */

Size
chatglm_hashes_size(void)
{
	return MAXALIGN(sizeof(ChatglmHashes));
}

void
chatglm_hashes_init(void *memory, LWLock *lock)
{
	hashes = memory;
	if (lock == NULL)
		return;
	memset(hashes, 0, sizeof(*hashes));
	hashes->lock = lock;
}

/* The entry of a path, NULL: there is none.  Under the lock. */
static HashEntry *
find_entry(const char *path)
{
	for (int i = 0; i < MAX_HASHES; i++)
		if (strcmp(hashes->entry[i].path, path) == 0)
			return &hashes->entry[i];
	return NULL;
}

/* One that is free, or was used longest ago.  Under the lock. */
static HashEntry *
oldest_entry(void)
{
	HashEntry *oldest = &hashes->entry[0];

	for (int i = 1; i < MAX_HASHES; i++)
		if (hashes->entry[i].used < oldest->used)
			oldest = &hashes->entry[i];
	return oldest;
}

/* Finds the hash of the files with found->identity. */
static bool
look_up(const char *path, ChatglmModelHash *found)
{
	HashEntry *entry;
	bool	   known;

	LWLockAcquire(hashes->lock, LW_EXCLUSIVE);
	entry = find_entry(path);
	known = entry != NULL && strcmp(entry->identity, found->identity) == 0;
	if (known)
	{
		entry->used = ++hashes->clock;
		strcpy(found->hash, entry->hash);
	}
	LWLockRelease(hashes->lock);
	return known;
}

static void
remember(const char *path, const ChatglmModelHash *found)
{
	HashEntry *entry;

	if (strlen(path) >= sizeof(entry->path))
		return;
	LWLockAcquire(hashes->lock, LW_EXCLUSIVE);
	entry = find_entry(path);
	if (entry == NULL)
		entry = oldest_entry();
	strcpy(entry->path, path);
	strcpy(entry->identity, found->identity);
	strcpy(entry->hash, found->hash);
	entry->used = ++hashes->clock;
	LWLockRelease(hashes->lock);
}

/* ---- Computing --------------------------------------------------------------------- */

/* The engine's question whether to go on reading. */
static bool
still_wanted(void *arg, glm_error *err)
{
	return !QueryCancelPending && !ProcDiePending;
}

static bool
hash_files(const char *path, char *hash, glm_error *err)
{
	bool ok;

	glm_pause_with(still_wanted, NULL);
	ok = glm_model_hash(path, hash, err);
	glm_pause_with(NULL, NULL);
	if (ok || err->status != GLM_OK)
		return ok;
	CHECK_FOR_INTERRUPTS();
	return glm_model_hash(path, hash, err); /* they are held off, or were no more than that */
}

/* Reads the files; they must be the same before and after. */
static bool
read_files(const char *path, ChatglmModelHash *found, glm_error *err)
{
	char before[GLM_MODEL_HASH];

	do
	{
		CHECK_FOR_INTERRUPTS();
		strcpy(before, found->identity);
		if (!hash_files(path, found->hash, err) ||
			!glm_model_identity(path, found->identity, &found->packed, err))
			return false;
	} while (strcmp(before, found->identity) != 0);
	remember(path, found);
	return true;
}

/* The same while nobody else does it, or when somebody has. */
static bool
read_files_once(const char *path, ChatglmModelHash *found, glm_error *err)
{
	uint64 hash =
		DatumGetUInt64(hash_bytes_extended((const unsigned char *) path, (int) strlen(path), 0));
	LOCKTAG tag;
	bool	ok;

	SET_LOCKTAG_ADVISORY(tag, InvalidOid, (uint32) (hash >> 32), (uint32) hash, LOCK_SPACE);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	ok = glm_model_identity(path, found->identity, &found->packed, err) &&
		 (look_up(path, found) || read_files(path, found, err));
	LockRelease(&tag, ExclusiveLock, false);
	return ok;
}

/* Puts in what of the options matters. */
static bool
apply_options(const ChatglmModelRef *ref, ChatglmModelHash *found, glm_error *err)
{
	return ref->options == NULL ||
		   glm_model_hash_with(chatglm_cstring_to_utf8(ref->options), found->hash, err);
}

bool
chatglm_known_hash(const ChatglmModelRef *ref, ChatglmModelHash *found)
{
	return hashes != NULL && glm_model_identity(ref->path, found->identity, &found->packed, NULL) &&
		   look_up(ref->path, found) && apply_options(ref, found, NULL);
}

bool
chatglm_compute_hash(const ChatglmModelRef *ref, ChatglmModelHash *found, glm_error *err)
{
	return glm_model_identity(ref->path, found->identity, &found->packed, err) &&
		   (look_up(ref->path, found) || read_files_once(ref->path, found, err)) &&
		   apply_options(ref, found, err);
}
