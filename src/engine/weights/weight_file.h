/*
 * weight_file.h - the inside of an open weight file: weight_file.c opens and
 * closes it, chunk.c maps and verifies its chunks.
 */
#ifndef GLM_WEIGHT_FILE_H
#define GLM_WEIGHT_FILE_H

#include <pthread.h>
#include <sys/stat.h>

#include "engine/weights/chunk.h"
#include "engine/weights/packed.h"

#define GLM_HUGE_PAGE ((size_t) 2 << 20)

typedef struct glm_chunk
{
	atomic_int	refs; /* written under the lock */
	bool		mapped;
	atomic_bool settled;  /* in huge pages, not in the file's; written under the lock */
	bool		verified; /* hash is that of the file's bytes */
	glm_hash	hash;
	/* of the thread that asks for the usage */
	uint64_t	resident;	 /* bytes in memory ... */
	int64_t		resident_at; /* ... then; 0: not mapped when it was last looked at */
} glm_chunk;

struct glm_weight_file
{
	glm_weight_file	 *next;
	glm_weight_files *files; /* or NULL */
	int				  users; /* under files->lock */
	int				  fd;
	struct stat		  id; /* when it was opened */
	uint8_t			 *reserved;
	size_t			  reserved_size;
	uint8_t			 *data; /* in the reservation, on a huge page's boundary */
	int				  n_chunks;

	pthread_mutex_t lock;
	struct stat		seen;  /* when the hashes were taken */
	glm_chunk	   *chunk; /* [n_chunks] */

	int next_look; /* chunk to be looked at first; of the thread that asks for the usage */
};

static inline uint64_t
glm_chunk_begin(int number)
{
	return (uint64_t) number * GLM_CHUNK_SIZE;
}

static inline size_t
glm_chunk_size(const glm_weight_file *file, int number)
{
	uint64_t left = glm_weight_file_size(file) - glm_chunk_begin(number);

	return left < GLM_CHUNK_SIZE ? (size_t) left : (size_t) GLM_CHUNK_SIZE;
}

/* Bytes of the reservation for it: whole huge pages. */
static inline size_t
glm_chunk_room(const glm_weight_file *file, int number)
{
	return (glm_chunk_size(file, number) + GLM_HUGE_PAGE - 1) / GLM_HUGE_PAGE * GLM_HUGE_PAGE;
}

/* Size and time of modification tell whether it is the same file still. */
static inline bool
glm_same_contents(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
		   a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

#endif /* GLM_WEIGHT_FILE_H */
