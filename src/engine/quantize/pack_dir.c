/*
 * pack_dir.c - a directory that appears whole or not at all.
 *
 * It is made beside its target as `.<name>.tmp-<pid>`, so that a rename within
 * one file system is all that publishing takes, and the dot keeps it from being
 * taken for a model.  While it is being written its maker holds flock(2) on it,
 * which the kernel drops with the process: so a directory of such a name that
 * can be locked is a dead one's, whatever its pid has become since, and goes.
 *
 * Others may be allowed to write in the parent, and may put something else under
 * our name at any moment.  So a name is opened once, without following a link, and
 * from then on all is done through the descriptor: files are made and removed in the
 * directory that was locked, wherever it is by now, and a name is renamed or removed
 * only while it still is that directory's.  Removal is one level deep: what somebody
 * else puts in there beyond files stays, and the directory with it.
 */
#include "engine/quantize/pack.h"
#include "engine/base/file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool split_target(glm_pack_dir *dir, const char *target, glm_error *err);
static bool check_target(glm_pack_dir *dir, glm_error *err);
static void remove_stale(const glm_pack_dir *dir);
static void remove_directory(const glm_pack_dir *dir, const char *name, int fd);

bool
glm_pack_fail(glm_error *err, const char *verb, const char *path)
{
	int		   saved = errno;
	char	   text[128];
	glm_status status = GLM_NOT_WRITABLE;

	if (saved == ENOMEM)
		return glm_no_memory(err);
	if (saved == ENOSPC || saved == EDQUOT)
		status = GLM_DISK_FULL;
	else if (saved == ENOENT || saved == ENOTDIR || saved == EACCES || saved == EPERM ||
			 saved == EROFS)
		status = glm_file_status(saved);
	return glm_fail(err, status, "cannot %s \"%s\": %s", verb, path,
					strerror_r(saved, text, sizeof(text)));
}

/* ---- Names and descriptors ------------------------------------------------- */

static const char *
base_name(const char *path)
{
	return strrchr(path, '/') + 1;
}

/* A directory of this name that belongs to us and is no link; -1: there is none. */
static int
open_ours(int parent_fd, const char *name)
{
	int			fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_uid != geteuid()))
	{
		close(fd);
		errno = EACCES;
		return -1;
	}
	return fd;
}

/* Does this name stand for the directory that is open? */
static bool
is_name_of(int parent_fd, const char *name, int fd)
{
	struct stat named;
	struct stat opened;

	return fstatat(parent_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &opened) == 0 &&
		   named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

/* A list of what is in an open directory, from its beginning; NULL: cannot be read. */
static DIR *
list_of(int fd)
{
	int	 list_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = list_fd >= 0 ? fdopendir(list_fd) : NULL;

	if (list == NULL && list_fd >= 0)
		close(list_fd);
	return list;
}

static bool
is_entry(const char *name)
{
	return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool
directory_is_empty(int fd)
{
	DIR			  *list = list_of(fd);
	struct dirent *item;
	bool		   empty = list != NULL;

	while (empty && (item = readdir(list)) != NULL)
		empty = !is_entry(item->d_name);
	if (list != NULL)
		closedir(list);
	return empty;
}

static bool
was_replaced(const glm_pack_dir *dir, glm_error *err)
{
	glm_fail(err, GLM_NOT_WRITABLE, "directory \"%s\" was replaced while it was written",
			 dir->path);
	glm_hint(err, "Somebody else may write in \"%.150s\".", dir->parent);
	return false;
}

/* ---- Making -------------------------------------------------------------- */

bool
glm_pack_dir_make(glm_pack_dir *dir, const char *target, glm_error *err)
{
	*dir = (glm_pack_dir){.fd = -1, .parent_fd = -1};
	if (!split_target(dir, target, err) || !check_target(dir, err))
		return false;
	remove_stale(dir);
	if (mkdirat(dir->parent_fd, base_name(dir->path), 0777) != 0)
		return glm_pack_fail(err, "create directory", dir->path);
	dir->fd = open_ours(dir->parent_fd, base_name(dir->path));
	if (dir->fd < 0 || flock(dir->fd, LOCK_EX | LOCK_NB) != 0)
		return glm_pack_fail(err, "lock directory", dir->path);
	if (directory_is_empty(dir->fd))
		return true;
	close(dir->fd); /* not the one that was made: nothing in it is ours */
	dir->fd = -1;
	return was_replaced(dir, err);
}

/* Fills target, parent and path. */
static bool
split_target(glm_pack_dir *dir, const char *target, glm_error *err)
{
	size_t		length = strlen(target);
	const char *slash;

	while (length > 1 && target[length - 1] == '/')
		length--;
	dir->target = strndup(target, length);
	if (dir->target == NULL)
		return glm_no_memory(err);
	slash = strrchr(dir->target, '/');
	if (target[0] != '/' || slash[1] == '\0' || strcmp(slash, "/.") == 0 ||
		strcmp(slash, "/..") == 0 || length >= PATH_MAX)
		return glm_fail(err, GLM_BAD_ARGUMENT,
						"target must be the absolute path of a new directory, not \"%.200s\"",
						target);
	dir->parent =
		slash == dir->target ? strdup("/") : strndup(dir->target, (size_t) (slash - dir->target));
	if (dir->parent == NULL ||
		asprintf(&dir->path, "%s/.%s.tmp-%d", slash == dir->target ? "" : dir->parent, slash + 1,
				 (int) getpid()) < 0)
		return glm_no_memory(err);
	return true;
}

static bool
target_exists(const glm_pack_dir *dir, glm_error *err)
{
	glm_fail(err, GLM_EXISTS, "target \"%s\" exists already", dir->target);
	glm_hint(err, "Name a directory that does not exist, or remove this one.");
	return false;
}

static bool
check_target(glm_pack_dir *dir, glm_error *err)
{
	struct stat st;

	if (stat(dir->parent, &st) != 0)
		return glm_pack_fail(err, "find directory", dir->parent);
	if (!S_ISDIR(st.st_mode))
		return glm_fail(err, GLM_NO_FILE, "\"%s\" is not a directory", dir->parent);
	dir->parent_fd = open(dir->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->parent_fd < 0)
		return glm_pack_fail(err, "open directory", dir->parent);
	if (fstatat(dir->parent_fd, base_name(dir->target), &st, AT_SYMLINK_NOFOLLOW) == 0)
		return target_exists(dir, err);
	return true;
}

/* ---- What others left ------------------------------------------------------ */

/* Is this `.<name>.tmp-<digits>` of our target? */
static bool
is_temporary(const glm_pack_dir *dir, const char *name)
{
	const char *ours = base_name(dir->path);
	size_t		prefix = (size_t) (strrchr(ours, '-') + 1 - ours);

	if (strncmp(name, ours, prefix) != 0 || name[prefix] == '\0')
		return false;
	for (name += prefix; *name != '\0'; name++)
		if (!isdigit((unsigned char) *name))
			return false;
	return true;
}

static void
remove_if_dead(const glm_pack_dir *dir, const char *name)
{
	int fd = open_ours(dir->parent_fd, name);

	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		remove_directory(dir, name, fd);
	close(fd);
}

static void
remove_stale(const glm_pack_dir *dir)
{
	DIR			  *list = list_of(dir->parent_fd);
	struct dirent *item;

	if (list == NULL)
		return;
	while ((item = readdir(list)) != NULL)
		if (is_temporary(dir, item->d_name))
			remove_if_dead(dir, item->d_name);
	closedir(list);
}

void
glm_quantize_sweep(const char *target)
{
	glm_pack_dir dir = {.fd = -1, .parent_fd = -1};
	glm_error	 err;

	if (split_target(&dir, target, &err))
	{
		dir.parent_fd = open(dir.parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir.parent_fd >= 0)
			remove_stale(&dir);
	}
	glm_pack_dir_free(&dir);
}

/* Removes the files in an open directory, and it itself if it still has this name. */
static void
remove_directory(const glm_pack_dir *dir, const char *name, int fd)
{
	DIR			  *list = list_of(fd);
	struct dirent *item;

	if (list == NULL)
		return;
	while ((item = readdir(list)) != NULL)
		if (is_entry(item->d_name))
			unlinkat(fd, item->d_name, 0);
	closedir(list);
	if (is_name_of(dir->parent_fd, name, fd))
		unlinkat(dir->parent_fd, name, AT_REMOVEDIR);
}

/* ---- The end ---------------------------------------------------------------- */

bool
glm_pack_dir_sync(const glm_pack_dir *dir, glm_error *err)
{
	return fsync(dir->fd) == 0 || glm_pack_fail(err, "flush directory", dir->path);
}

/* Not every file system can rename without replacing; then a look must do. */
static int
rename_new(int parent_fd, const char *from, const char *to)
{
	struct stat st;

	if (GLM_INJECT("pack-publish"))
	{
		errno = ENOSPC;
		return -1;
	}
	if (renameat2(parent_fd, from, parent_fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (fstatat(parent_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
	{
		errno = EEXIST;
		return -1;
	}
	return renameat(parent_fd, from, parent_fd, to);
}

/* What is renamed is seen before, lest it be another's, and after, lest it have become one. */
bool
glm_pack_dir_publish(glm_pack_dir *dir, glm_error *err)
{
	const char *name = base_name(dir->target);

	if (!is_name_of(dir->parent_fd, base_name(dir->path), dir->fd))
		return was_replaced(dir, err);
	if (rename_new(dir->parent_fd, base_name(dir->path), name) != 0)
		return errno == EEXIST ? target_exists(dir, err)
							   : glm_pack_fail(err, "rename directory to", dir->target);
	if (!is_name_of(dir->parent_fd, name, dir->fd))
		return was_replaced(dir, err);
	close(dir->fd);
	dir->fd = -1;
	return fsync(dir->parent_fd) == 0 || glm_pack_fail(err, "flush directory", dir->parent);
}

void
glm_pack_dir_free(glm_pack_dir *dir)
{
	if (dir->fd >= 0)
	{
		remove_directory(dir, base_name(dir->path), dir->fd);
		close(dir->fd);
	}
	if (dir->parent_fd >= 0)
		close(dir->parent_fd);
	free(dir->target);
	free(dir->parent);
	free(dir->path);
	*dir = (glm_pack_dir){.fd = -1, .parent_fd = -1};
}
