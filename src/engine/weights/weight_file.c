/*
 * weight_file.c - weight files that are open, shared by the models that use them.
 *
 * A file is opened once for all models of an engine: device, inode, size and
 * time of modification say that two names mean the same bytes.  Opening it
 * reserves addresses for all of it (PROT_NONE, no memory) and reads nothing, so
 * that it costs the same for 1 MB and for 12 GB, and a tensor's address is known
 * before its bytes are there.  The reservation begins on a huge page's boundary
 * for chunks that settle there (settle.c).
 *
 * Threads.  files->lock guards the list and the counts of users, for a few
 * pointer moves.  What else is here never changes, or belongs to the one thread
 * that asks for the usage.
 */
#include "engine/weights/weight_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/file.h"

#define RESIDENT_AGE 1000000000 /* ns for which a count of resident pages is good */
#define LOOKS 16				/* chunks whose pages are counted in one call: some milliseconds */

struct glm_weight_files
{
	pthread_mutex_t	 lock;
	glm_weight_file *first;
};

static glm_weight_file *open_file(int fd, const struct stat *st, glm_error *err);
static void				free_file(glm_weight_file *file);

/* ---- Files that are open -------------------------------------------------- */

glm_weight_files *
glm_weight_files_open(void)
{
	glm_weight_files *files = calloc(1, sizeof(*files));

	if (files != NULL)
		pthread_mutex_init(&files->lock, NULL);
	return files;
}

void
glm_weight_files_close(glm_weight_files *files)
{
	if (files == NULL)
		return;
	pthread_mutex_destroy(&files->lock);
	free(files);
}

/* The open file with the contents of *st, with one more user; NULL if none is.  Under the lock. */
static glm_weight_file *
find_shared(glm_weight_files *files, const struct stat *st)
{
	for (glm_weight_file *file = files->first; file != NULL; file = file->next)
	{
		if (file->id.st_dev == st->st_dev && file->id.st_ino == st->st_ino &&
			glm_same_contents(&file->id, st))
		{
			file->users++;
			return file;
		}
	}
	return NULL;
}

static glm_weight_file *
share(glm_weight_files *files, const struct stat *st)
{
	glm_weight_file *file;

	pthread_mutex_lock(&files->lock);
	file = find_shared(files, st);
	pthread_mutex_unlock(&files->lock);
	return file;
}

glm_weight_file *
glm_weight_file_open(glm_weight_files *files, const char *path, glm_error *err)
{
	struct stat		 st;
	glm_weight_file *file = NULL;
	int				 fd = glm_file_open(path, &st, err);

	if (fd < 0)
		return NULL;
	if (st.st_size == 0)
		glm_fail(err, GLM_BAD_FILE, "file \"%s\" is empty", path);
	else if (files != NULL && (file = share(files, &st)) != NULL)
	{
		close(fd);
		return file;
	}
	else
		file = open_file(fd, &st, err);
	if (file == NULL)
	{
		close(fd);
		return NULL;
	}
	if (files != NULL)
	{
		glm_weight_file *other;

		file->files = files;
		pthread_mutex_lock(&files->lock);
		other = find_shared(files, &st);
		if (other == NULL)
		{
			file->next = files->first;
			files->first = file;
		}
		pthread_mutex_unlock(&files->lock);
		if (other != NULL) /* somebody opened it just now */
		{
			free_file(file);
			file = other;
		}
	}
	return file;
}

void
glm_weight_file_close(glm_weight_file *file)
{
	glm_weight_files *files = file ? file->files : NULL;
	bool			  last = true;

	if (file == NULL)
		return;
	if (files != NULL)
	{
		pthread_mutex_lock(&files->lock);
		last = --file->users == 0;
		for (glm_weight_file **at = &files->first; last && *at != NULL; at = &(*at)->next)
		{
			if (*at == file)
			{
				*at = file->next;
				break;
			}
		}
		pthread_mutex_unlock(&files->lock);
	}
	if (last)
		free_file(file);
}

uint64_t
glm_weight_file_size(const glm_weight_file *file)
{
	return (uint64_t) file->id.st_size;
}

const uint8_t *
glm_weight_file_data(const glm_weight_file *file)
{
	return file->data;
}

int
glm_weight_file_chunks(const glm_weight_file *file)
{
	return file->n_chunks;
}

bool
glm_weight_file_read(glm_weight_file *file, const char *path, void *to, uint64_t offset, size_t n,
					 glm_error *err)
{
	size_t got;

	if (!glm_file_pread(file->fd, path, to, n, offset, &got, err))
		return false;
	return got == n || glm_fail(err, GLM_BAD_FILE,
								"file \"%s\" has become shorter: "
								"%zu of %zu bytes at %" PRIu64,
								path, got, n, offset);
}

/* ---- One file ---------------------------------------------------------------- */

static size_t
round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* Takes fd over, unless it fails. */
static glm_weight_file *
open_file(int fd, const struct stat *st, glm_error *err)
{
	glm_weight_file *file = calloc(1, sizeof(*file));
	size_t			 size = (size_t) st->st_size;

	if (file == NULL)
		goto fail;
	file->users = 1;
	file->fd = fd;
	file->id = file->seen = *st;
	file->n_chunks = (int) ((size + GLM_CHUNK_SIZE - 1) / GLM_CHUNK_SIZE);
	file->chunk = calloc((size_t) file->n_chunks, sizeof(*file->chunk));
	if (file->chunk == NULL)
		goto fail;
	file->reserved_size = round_up(size, GLM_HUGE_PAGE) + GLM_HUGE_PAGE;
	file->reserved = mmap(NULL, file->reserved_size, PROT_NONE,
						  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (file->reserved == MAP_FAILED)
		goto fail;
	file->data = (uint8_t *) round_up((uintptr_t) file->reserved, GLM_HUGE_PAGE);
	pthread_mutex_init(&file->lock, NULL);
	return file;

fail:
	if (file != NULL)
		free(file->chunk);
	free(file);
	glm_no_memory(err);
	return NULL;
}

static void
free_file(glm_weight_file *file)
{
	munmap(file->reserved, file->reserved_size);
	close(file->fd);
	pthread_mutex_destroy(&file->lock);
	free(file->chunk);
	free(file);
}

/* ---- What is mapped ------------------------------------------------------------------ */

static uint64_t
count_resident(const glm_weight_file *file, int number)
{
	size_t		   page = (size_t) sysconf(_SC_PAGESIZE);
	size_t		   n_pages = (glm_chunk_size(file, number) + page - 1) / page;
	unsigned char *there = malloc(n_pages);
	uint64_t	   bytes = 0;

	if (there != NULL &&
		mincore(file->data + glm_chunk_begin(number), glm_chunk_size(file, number), there) == 0)
	{
		for (size_t i = 0; i < n_pages; i++)
			bytes += (there[i] & 1) * page;
	}
	free(there);
	return bytes < glm_chunk_size(file, number) ? bytes : glm_chunk_size(file, number);
}

/*
 * Walking the pages takes time, so only some chunks are looked at in one call: those
 * that were not mapped before, and those not looked at for a second, in turns.
 */
void
glm_weight_file_usage(glm_weight_file *file, glm_chunk_usage *sum)
{
	int64_t now = glm_now_ns();
	int		looks = 0;

	for (int i = 0; i < file->n_chunks && looks < LOOKS; i++)
	{
		int		   number = (file->next_look + i) % file->n_chunks;
		glm_chunk *c = &file->chunk[number];

		if (atomic_load(&c->refs) == 0 ||
			(c->resident_at != 0 && now - c->resident_at <= RESIDENT_AGE))
			continue;
		c->resident = count_resident(file, number);
		c->resident_at = now;
		if (++looks == LOOKS)
			file->next_look = (number + 1) % file->n_chunks;
	}
	for (int i = 0; i < file->n_chunks; i++)
	{
		glm_chunk *c = &file->chunk[i];

		if (atomic_load(&c->refs) == 0)
			c->resident_at = 0;
		else
		{
			sum->mapped++;
			sum->bytes_mapped += glm_chunk_size(file, i);
			sum->bytes_resident += c->resident_at != 0 ? c->resident : 0;
		}
	}
	sum->total += file->n_chunks;
}
