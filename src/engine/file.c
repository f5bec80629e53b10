/*
 * file.c - files as untrusted bytes: mapped, read whole, parsed as JSON.
 *
 * A model directory may be anything a user pointed at, so a name is opened
 * without blocking (a FIFO would hang the thread that loads models) and only
 * regular files are accepted; symbolic links are followed, because the caches
 * of Hugging Face consist of them.  Every error names the file.  Nothing here
 * keeps state: all functions are thread-safe.
 *
 * A mapping stays valid when the file is renamed or unlinked.  When somebody
 * truncates it, touching the lost pages raises SIGBUS; the host contains that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"

static int	open_regular(const char *path, size_t *size, glm_error *err);
static bool io_fail(glm_error *err, const char *verb, const char *path);

bool
glm_map_open(glm_map *map, const char *path, glm_error *err)
{
	size_t		size;
	void	   *data;
	int			fd = open_regular(path, &size, err);

	map->data = NULL;
	map->size = 0;
	if (fd < 0)
		return false;
	if (size == 0)				/* mmap would say EINVAL */
	{
		close(fd);
		return glm_fail(err, GLM_BAD_FILE, "file \"%s\" is empty", path);
	}
	data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
	{
		io_fail(err, "map", path);
		close(fd);
		return false;
	}
	close(fd);
	map->data = data;
	map->size = size;
	return true;
}

void
glm_map_close(glm_map *map)
{
	if (map->data)
		munmap((void *) map->data, map->size);
	map->data = NULL;
	map->size = 0;
}

bool
glm_file_read(glm_buf *buf, const char *path, size_t limit, glm_error *err)
{
	char		chunk[8192];
	size_t		size;
	size_t		total = 0;
	ssize_t		n = 0;
	int			fd = open_regular(path, &size, err);

	if (fd < 0)
		return false;

	/* count what arrives: the size may change while we read */
	while (total <= limit && (n = read(fd, chunk, sizeof(chunk))) != 0)
	{
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
		{
			io_fail(err, "read", path);
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

json_t *
glm_json_object(const void *bytes, size_t n, const char *path, glm_error *err)
{
	json_error_t why;
	json_t	   *root = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &why);

	if (root == NULL)
	{
		if (json_error_code(&why) == json_error_out_of_memory)
			glm_no_memory(err);
		else
			glm_fail(err, GLM_BAD_FILE, "file \"%s\" has invalid JSON at line %d: %s",
					 path, why.line, why.text);
		return NULL;
	}
	if (!json_is_object(root))
	{
		glm_fail(err, GLM_BAD_FILE, "file \"%s\" has JSON that is not an object", path);
		json_decref(root);
		return NULL;
	}
	return root;
}

json_t *
glm_json_read(const char *path, size_t limit, glm_error *err)
{
	glm_buf		text = {0};
	json_t	   *root = NULL;

	if (glm_file_read(&text, path, limit, err))
		root = glm_json_object(text.data ? text.data : "", text.length, path, err);
	glm_buf_free(&text);
	return root;
}

/* Descriptor and size of a regular file, or -1. */
static int
open_regular(const char *path, size_t *size, glm_error *err)
{
	struct stat st;
	int			fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
	{
		io_fail(err, "open", path);
		return -1;
	}
	if (fstat(fd, &st) != 0)
	{
		io_fail(err, "examine", path);
		close(fd);
		return -1;
	}
	if (!S_ISREG(st.st_mode))
	{
		glm_fail(err, GLM_NO_FILE, "\"%s\" is not a regular file", path);
		close(fd);
		return -1;
	}
	*size = (size_t) st.st_size;
	return fd;
}

/* Reports errno; running out of memory is not the fault of the file. */
static bool
io_fail(glm_error *err, const char *verb, const char *path)
{
	int			saved = errno;
	char		text[128];

	if (saved == ENOMEM)
		return glm_no_memory(err);
	return glm_fail(err, GLM_NO_FILE, "cannot %s file \"%s\": %s", verb, path,
					strerror_r(saved, text, sizeof(text)));
}
