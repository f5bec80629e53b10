/*
 * settle.c - chunks in memory of their own, in huge pages.
 *
 * Reading weights is what a token takes its time for, and pages of a file are mostly of 4 KB,
 * at whose borders the hardware stops to read ahead: from huge pages the same bytes come
 * up to a third faster.  So the chunks of a model that is in use are copied, one by
 * one and beside the passes that read them: the copy takes the place of the file's pages at
 * the same addresses in one step.  A chunk that nobody holds any more is the file's again.
 *
 * What was a page of the file, which the kernel takes back when it needs it, is memory of
 * ours then; so it is done only where RESERVE of all memory is left for the others.
 */
#include "engine/weights/weight_file.h"

#include <sys/mman.h>

#include "engine/base/file.h"
#include "engine/base/memory.h"

#define SLICE ((size_t) 2 << 20) /* bytes copied between two pauses */
#define RESERVE(total) ((total) / 4)

static bool
is_room(size_t bytes)
{
	uint64_t total, available = glm_memory_available(&total);

	return available >= bytes + RESERVE(total);
}

/* Memory for a chunk on a huge page's boundary; NULL: none, or no huge pages. */
static uint8_t *
take_pages(size_t size)
{
	uint8_t *whole = mmap(NULL, size + GLM_HUGE_PAGE, PROT_READ | PROT_WRITE,
						  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t	 before;

	if (whole == MAP_FAILED)
		return NULL;
	before = -(uintptr_t) whole & (GLM_HUGE_PAGE - 1);
	if (before > 0)
		munmap(whole, before);
	munmap(whole + before + size, GLM_HUGE_PAGE - before);
	if (madvise(whole + before, size, MADV_HUGEPAGE) == 0)
		return whole + before;
	munmap(whole + before, size); /* a kernel without them */
	return NULL;
}

/* The chunk's bytes from the file, as they are now. */
static bool
copy_chunk(glm_weight_file *file, const char *path, int number, uint8_t *to, glm_error *err)
{
	size_t size = glm_chunk_size(file, number);

	for (size_t at = 0, n; at < size; at += n)
	{
		n = size - at < SLICE ? size - at : SLICE;
		if (!glm_weight_file_read(file, path, to + at, glm_chunk_begin(number) + at, n, err) ||
			!glm_pause(err))
			return false;
	}
	return true;
}

/* Puts the copy in the place of the file's pages; false: somebody changed the file or let go. */
static bool
move_in(glm_weight_file *file, const glm_hash *expected, int number, uint8_t *pages, size_t size)
{
	glm_chunk  *c = &file->chunk[number];
	uint8_t	   *place = file->data + glm_chunk_begin(number);
	struct stat now;
	bool		moved;

	if (mprotect(pages, size, PROT_READ) != 0)
		return false;
	pthread_mutex_lock(&file->lock);
	moved = c->mapped && !atomic_load(&c->settled) && (expected == NULL || c->verified) &&
			fstat(file->fd, &now) == 0 && glm_same_contents(&file->seen, &now) &&
			mremap(pages, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place) != MAP_FAILED;
	if (moved)
		atomic_store(&c->settled, true);
	pthread_mutex_unlock(&file->lock);
	return moved;
}

bool
glm_chunk_settle(glm_weight_file *file, const char *path, const glm_hash *expected, int number,
				 glm_error *err)
{
	size_t	 size = glm_chunk_room(file, number);
	uint8_t *pages;
	bool	 ok;

	if (atomic_load(&file->chunk[number].refs) == 0 || atomic_load(&file->chunk[number].settled) ||
		!is_room(size) || (pages = take_pages(size)) == NULL)
		return true;
	ok = copy_chunk(file, path, number, pages, err) &&
		 (!GLM_INJECT("settle") || glm_fail(err, GLM_NO_FILE, "the copy was made to fail"));
	if (!ok || !move_in(file, expected, number, pages, size))
		munmap(pages, size);
	return ok;
}
