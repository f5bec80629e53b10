/*
 * file.h - files that somebody else wrote: opened, read, and what went wrong with them.
 */
#ifndef GLM_FILE_H
#define GLM_FILE_H

#include <sys/stat.h>

#include "engine/base/base.h"

/* Reads a small text file (at most `limit` bytes) into *buf. */
extern bool glm_file_read(glm_buf *buf, const char *path, size_t limit, glm_error *err);

/* A file name that stays inside its directory and is no hidden file's. */
extern bool glm_plain_name(const char *name);

/* Descriptor of a regular file, opened for reading, and what it is; -1 and *err. */
extern int glm_file_open(const char *path, struct stat *st, glm_error *err);

/* Reads n bytes at offset, fewer only at the end of the file: *got. */
extern bool glm_file_pread(int fd, const char *path, void *to, size_t n, uint64_t offset,
						   size_t *got, glm_error *err);

/* Is a file of this errno not there, or are we not allowed? */
extern glm_status glm_file_status(int saved_errno);

/* Reports errno, what could not be done (a verb) and to which file. */
extern bool glm_file_fail(glm_error *err, const char *verb, const char *path);

#endif /* GLM_FILE_H */
