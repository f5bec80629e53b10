/*
 * chunk.c - weight files in chunks: mapped on first use, verified, counted.
 *
 * A file is seen as extents of GLM_CHUNK_SIZE bytes.  Holding a range maps its
 * chunks over the file's reserved addresses (MAP_PRIVATE, so that models and
 * processes share the page cache), populated ahead; the last drop puts the
 * reservation back.
 *
 * A chunk is checked against the SHA-256 the caller expects before it is mapped
 * for it.  The hash is kept once it was found right, so that a chunk is read
 * for this purpose once, whoever maps it again.  Every hold first looks whether
 * the file is still what was opened: a changed one has its hashes taken anew, or
 * is refused where there is nothing to compare it with.
 *
 * Threads.  Any may hold and drop.  file->lock guards the state of the chunks.  It is held
 * for assignments and single mmap calls, never while bytes are read or pages touched, so a
 * fault cannot leave it locked.  Readers of held bytes take no lock at all.
 */
#include "engine/weights/weight_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/file.h"
#include "engine/weights/manifest.h"

#define POPULATE_SLICE ((uint64_t) 8 << 20) /* bytes brought in between two pauses */
#define READ_AHEAD ((off_t) 32 << 20)		/* bytes behind them that the kernel is told of */

static bool hold_chunk(glm_weight_file *file, const char *path, const glm_hash *expected,
					   int number, glm_error *err);
static void drop_chunk(glm_weight_file *file, int number);

/* ---- Verifying -------------------------------------------------------------------- */

static bool
is_verified(glm_weight_file *file, const glm_hash *expected, int number)
{
	const glm_chunk *c = &file->chunk[number];
	bool			 is;

	pthread_mutex_lock(&file->lock);
	is = c->verified && memcmp(&c->hash, &expected[number], sizeof(c->hash)) == 0;
	pthread_mutex_unlock(&file->lock);
	return is;
}

bool
glm_chunk_verify(glm_weight_file *file, const char *path, const glm_hash *expected, int number,
				 glm_error *err)
{
	glm_chunk *c = &file->chunk[number];
	size_t	   size = glm_chunk_size(file, number);
	glm_hash   found;
	uint64_t   n;

	if (is_verified(file, expected, number))
		return true;
	if (!glm_hash_file(file->fd, path, glm_chunk_begin(number), size, &found, &n, err))
		return false;
	if (n < size || memcmp(&found, &expected[number], sizeof(found)) != 0)
		return glm_manifest_mismatch(path, number, n, size, &found, &expected[number], err);
	pthread_mutex_lock(&file->lock);
	c->hash = found;
	c->verified = true;
	pthread_mutex_unlock(&file->lock);
	return true;
}

/*
 * Is the file still what was opened?  With hashes to compare it need not be:
 * then those taken before are forgotten.
 */
static bool
check_unchanged(glm_weight_file *file, const char *path, const glm_hash *expected, int number,
				glm_error *err)
{
	struct stat now;
	bool		same;

	if (fstat(file->fd, &now) != 0)
		return glm_file_fail(err, "examine", path);
	pthread_mutex_lock(&file->lock);
	same = glm_same_contents(expected != NULL ? &file->seen : &file->id, &now);
	for (int i = 0; !same && expected != NULL && i < file->n_chunks; i++)
		file->chunk[i].verified = false;
	if (expected != NULL)
		file->seen = now;
	pthread_mutex_unlock(&file->lock);
	if (same || expected != NULL)
		return true;
	glm_fail(err, GLM_BAD_FILE,
			 "file \"%s\" has changed since its model was loaded; "
			 "chunk %d cannot be used",
			 path, number);
	glm_hint(err, "Unload the model and load it again.");
	return false;
}

/* ---- Mapping ---------------------------------------------------------------------- */

bool
glm_chunks_hold(glm_weight_file *file, const char *path, const glm_hash *expected, uint64_t begin,
				uint64_t end, glm_error *err)
{
	int first = (int) (begin / GLM_CHUNK_SIZE);

	if (begin == end)
		return true;
	for (int i = first; i <= (int) ((end - 1) / GLM_CHUNK_SIZE); i++)
	{
		if (!hold_chunk(file, path, expected, i, err))
		{
			while (--i >= first)
				drop_chunk(file, i);
			return false;
		}
	}
	return true;
}

void
glm_chunks_drop(glm_weight_file *file, uint64_t begin, uint64_t end)
{
	if (begin == end)
		return;
	for (int i = (int) (begin / GLM_CHUNK_SIZE); i <= (int) ((end - 1) / GLM_CHUNK_SIZE); i++)
		drop_chunk(file, i);
}

/* Maps a chunk that is not; counts the user.  *fresh when there was none before. */
static bool
map_chunk(glm_weight_file *file, const char *path, int number, bool *fresh, glm_error *err)
{
	glm_chunk *c = &file->chunk[number];
	bool	   ok = true;

	pthread_mutex_lock(&file->lock);
	*fresh = !c->mapped;
	if (GLM_INJECT("chunk-map"))
	{
		ok = false;
		errno = ENOMEM;
	}
	else if (!c->mapped)
		ok = mmap(file->data + glm_chunk_begin(number), glm_chunk_size(file, number), PROT_READ,
				  MAP_PRIVATE | MAP_FIXED, file->fd, (off_t) glm_chunk_begin(number)) != MAP_FAILED;
	if (ok)
	{
		c->mapped = true;
		atomic_fetch_add(&c->refs, 1);
	}
	pthread_mutex_unlock(&file->lock);
	return ok || glm_file_fail(err, "map", path);
}

/* The file has become shorter than this, or cannot be read. */
static bool
pages_missing(const glm_weight_file *file, const char *path, uint64_t end, glm_error *err)
{
	struct stat now;

	if (fstat(file->fd, &now) == 0 && (uint64_t) now.st_size < end)
		return glm_fail(err, GLM_BAD_FILE,
						"chunk %d of file \"%s\" cannot be read: the file has become shorter",
						(int) ((end - 1) / GLM_CHUNK_SIZE), path);
	errno = EIO;
	return glm_file_fail(err, "read", path);
}

/*
 * Brings the pages in, some at a time, and has the kernel read on in what comes
 * next.  A file that has become shorter or cannot be read makes it fail, or a pause that ends it.
 */
bool
glm_chunks_populate(glm_weight_file *file, const char *path, uint64_t begin, uint64_t end,
					glm_error *err)
{
	begin -= begin % POPULATE_SLICE; /* on a page's boundary */
	for (uint64_t at = begin, n; at < end; at += n)
	{
		n = end - at < POPULATE_SLICE ? end - at : POPULATE_SLICE;
		if (atomic_load(&file->chunk[at / GLM_CHUNK_SIZE].settled))
			continue; /* no file's pages */
		/* it ends at the end of the file by itself */
		posix_fadvise(file->fd, (off_t) (at + n), READ_AHEAD, POSIX_FADV_WILLNEED);
		if (GLM_INJECT("chunk-read") || madvise(file->data + at, n, MADV_POPULATE_READ) != 0)
		{
			if (errno == EFAULT)
				return pages_missing(file, path, at + n, err);
			(void) madvise(file->data + at, n, MADV_WILLNEED); /* a kernel before 5.14 */
		}
		if (!glm_pause(err))
			return false;
	}
	return true;
}

static bool
hold_chunk(glm_weight_file *file, const char *path, const glm_hash *expected, int number,
		   glm_error *err)
{
	uint64_t begin;
	size_t	 size;
	bool	 fresh;

	if (!check_unchanged(file, path, expected, number, err) ||
		(expected != NULL && !glm_chunk_verify(file, path, expected, number, err)) ||
		!map_chunk(file, path, number, &fresh, err))
		return false;
	if (!fresh)
		return true;
	begin = glm_chunk_begin(number);
	size = glm_chunk_size(file, number);
	(void) madvise(file->data + begin, size, MADV_HUGEPAGE); /* few file systems have them */
	if (glm_chunks_populate(file, path, begin, begin + size, err))
		return true;
	drop_chunk(file, number);
	return false;
}

/*
 * What is mapped must not be left to chance: if the kernel will not put the
 * reservation back, the chunk stays mapped and is found so by the next hold.
 */
static void
drop_chunk(glm_weight_file *file, int number)
{
	glm_chunk *c = &file->chunk[number];

	pthread_mutex_lock(&file->lock);
	if (atomic_fetch_sub(&c->refs, 1) == 1)
	{
		c->mapped =
			mmap(file->data + glm_chunk_begin(number), glm_chunk_room(file, number), PROT_NONE,
				 MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED;
		if (!c->mapped)
			atomic_store(&c->settled, false);
	}
	pthread_mutex_unlock(&file->lock);
}
