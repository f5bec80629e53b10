/*
 * file.c - files as untrusted bytes: opened and read.
 *
 * A model directory may be anything a user pointed at, so a name is opened
 * without blocking (a FIFO would hang the thread that loads models) and only
 * regular files are accepted; symbolic links are followed, because the caches
 * of Hugging Face consist of them.  Every error names the file.  Nothing here
 * keeps state: all functions are thread-safe.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/file.h"

bool
glm_plain_name(const char *name)
{
	return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

int
glm_file_open(const char *path, struct stat *st, glm_error *err)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (GLM_INJECT("file-open"))
	{
		close(fd);
		fd = -1;
		errno = EIO;
	}
	if (fd < 0)
	{
		glm_file_fail(err, "open", path);
		return -1;
	}
	if (fstat(fd, st) != 0)
	{
		glm_file_fail(err, "examine", path);
		close(fd);
		return -1;
	}
	if (!S_ISREG(st->st_mode))
	{
		glm_fail(err, GLM_NO_FILE, "\"%s\" is not a regular file", path);
		close(fd);
		return -1;
	}
	return fd;
}

bool
glm_file_pread(int fd, const char *path, void *to, size_t n, uint64_t offset, size_t *got,
			   glm_error *err)
{
	*got = 0;
	while (*got < n)
	{
		ssize_t m = pread(fd, (char *) to + *got, n - *got, (off_t) (offset + *got));

		if (GLM_INJECT("file-read"))
		{
			m = -1;
			errno = EIO;
		}

		if (m < 0 && errno == EINTR)
			continue;
		if (m < 0)
			return glm_file_fail(err, "read", path);
		if (m == 0)
			break;
		*got += (size_t) m;
	}
	return true;
}

glm_status
glm_file_status(int saved_errno)
{
	return saved_errno == EACCES || saved_errno == EPERM || saved_errno == EROFS ? GLM_NOT_ALLOWED
																				 : GLM_NO_FILE;
}

/* Running out of memory is not the fault of the file. */
bool
glm_file_fail(glm_error *err, const char *verb, const char *path)
{
	int	 saved = errno;
	char text[128];

	if (saved == ENOMEM)
		return glm_no_memory(err);
	return glm_fail(err, glm_file_status(saved), "cannot %s file \"%s\": %s", verb, path,
					strerror_r(saved, text, sizeof(text)));
}

bool
glm_file_read(glm_buf *buf, const char *path, size_t limit, glm_error *err)
{
	char		chunk[8192];
	struct stat st;
	size_t		total = 0;
	ssize_t		n = 0;
	int			fd = glm_file_open(path, &st, err);

	if (fd < 0)
		return false;

	/* count what arrives: the size may change while we read */
	while (total <= limit && (n = read(fd, chunk, sizeof(chunk))) != 0)
	{
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
		{
			glm_file_fail(err, "read", path);
			close(fd);
			return false;
		}
		glm_buf_add(buf, chunk, (size_t) n);
		total += (size_t) n;
	}
	close(fd);

	if (total > limit)
		return glm_fail(err, GLM_BAD_FILE, "file \"%s\" is larger than %zu bytes", path, limit);
	if (buf->failed)
		return glm_no_memory(err);
	return true;
}
