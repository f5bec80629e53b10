/*
 * chunk.h - weight files as chunks, mapped where somebody needs them.
 *
 * A weight file is opened once however many models share it (glm_weight_files).
 * Its bytes have addresses from then on, but can be read only where a chunk is
 * held; each hold is given back by a drop of the same range.
 */
#ifndef GLM_CHUNK_H
#define GLM_CHUNK_H

#include "engine/base/hash.h"
#include "engine/weights/weights.h"

typedef struct glm_weight_file glm_weight_file;

/* Opens a file or shares it with who has it open; files NULL: shares nothing. */
extern glm_weight_file *glm_weight_file_open(glm_weight_files *files, const char *path,
											 glm_error *err);
extern void				glm_weight_file_close(glm_weight_file *file); /* NULL is fine */

extern uint64_t		  glm_weight_file_size(const glm_weight_file *file);
/* Where byte 0 would be; what is not held must not be touched. */
extern const uint8_t *glm_weight_file_data(const glm_weight_file *file);
extern int			  glm_weight_file_chunks(const glm_weight_file *file);

/*
 * The functions below name the file `path` in their errors, since a shared file
 * may have several names.  `expected` are the hashes of all its chunks by the
 * manifest of the caller's model, or NULL: then nothing is verified.
 */

/* Copies bytes that lie inside the file, mapping nothing. */
extern bool glm_weight_file_read(glm_weight_file *file, const char *path, void *to, uint64_t offset,
								 size_t n, glm_error *err);

/* Makes [begin, end) readable: maps, verifies and populates its chunks. */
extern bool glm_chunks_hold(glm_weight_file *file, const char *path, const glm_hash *expected,
							uint64_t begin, uint64_t end, glm_error *err);
/* Brings the pages of a range that is held into memory, with pauses. */
extern bool glm_chunks_populate(glm_weight_file *file, const char *path, uint64_t begin,
								uint64_t end, glm_error *err);
extern void glm_chunks_drop(glm_weight_file *file, uint64_t begin, uint64_t end);

/*
 * Copies a chunk that is held to huge pages, where its bytes are read from then on, with pauses.
 * True as well if there are none to be had, or too little memory.  False: ended, or unreadable.
 */
extern bool glm_chunk_settle(glm_weight_file *file, const char *path, const glm_hash *expected,
							 int number, glm_error *err);

/* Checks one chunk, by reading it unless that was done before. */
extern bool glm_chunk_verify(glm_weight_file *file, const char *path, const glm_hash *expected,
							 int number, glm_error *err);

typedef struct glm_chunk_usage
{
	int		 mapped; /* chunks */
	int		 total;
	uint64_t bytes_mapped;
	uint64_t bytes_resident;
} glm_chunk_usage;

/* Adds what is mapped now; one thread at a time asks. */
extern void glm_weight_file_usage(glm_weight_file *file, glm_chunk_usage *sum);
/* The same for all files of a model; in shards_data.c. */
extern void glm_shards_usage(const glm_shards *shards, glm_chunk_usage *sum);

#endif /* GLM_CHUNK_H */
