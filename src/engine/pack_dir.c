/*
 * pack_dir.c - a directory that appears whole or not at all.
 *
 * It is made beside its target as `.<name>.tmp-<pid>`, so that a rename within
 * one file system is all that publishing takes, and the dot keeps it from being
 * taken for a model.  While it is being written its maker holds flock(2) on it,
 * which the kernel drops with the process: so a directory of such a name that
 * can be locked is a dead one's, whatever its pid has become since, and goes.
 *
 * Removal is one level deep and follows no links: what somebody else puts in
 * there beyond files stays, and the directory with it.
 */
#include "pack.h"
#include "file.h"

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
static bool check_target(const glm_pack_dir *dir, glm_error *err);
static void remove_stale(const glm_pack_dir *dir);
static void remove_files(const char *path);

bool
glm_pack_fail(glm_error *err, const char *verb, const char *path)
{
	int			saved = errno;
	char		text[128];
	glm_status	status = GLM_NOT_WRITABLE;

	if (saved == ENOMEM)
		return glm_no_memory(err);
	if (saved == ENOSPC || saved == EDQUOT)
		status = GLM_DISK_FULL;
	else if (saved == ENOENT || saved == ENOTDIR || saved == EACCES || saved == EPERM || saved == EROFS)
		status = glm_file_status(saved);
	return glm_fail(err, status, "cannot %s \"%s\": %s", verb, path,
					strerror_r(saved, text, sizeof(text)));
}

/* ---- Making -------------------------------------------------------------- */

bool
glm_pack_dir_make(glm_pack_dir *dir, const char *target, glm_error *err)
{
	*dir = (glm_pack_dir) {.fd = -1};
	if (!split_target(dir, target, err) || !check_target(dir, err))
		return false;
	remove_stale(dir);
	if (mkdir(dir->path, 0777) != 0)
		return glm_pack_fail(err, "create directory", dir->path);
	dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->fd >= 0 && flock(dir->fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	glm_pack_fail(err, "lock directory", dir->path);
	rmdir(dir->path);
	return false;
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
						"target must be the absolute path of a new directory, not \"%.200s\"", target);
	dir->parent = slash == dir->target ? strdup("/") :
		strndup(dir->target, (size_t) (slash - dir->target));
	if (dir->parent == NULL ||
		asprintf(&dir->path, "%s/.%s.tmp-%d", slash == dir->target ? "" : dir->parent,
				 slash + 1, (int) getpid()) < 0)
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
check_target(const glm_pack_dir *dir, glm_error *err)
{
	struct stat st;

	if (stat(dir->parent, &st) != 0)
		return glm_pack_fail(err, "find directory", dir->parent);
	if (!S_ISDIR(st.st_mode))
		return glm_fail(err, GLM_NO_FILE, "\"%s\" is not a directory", dir->parent);
	if (lstat(dir->target, &st) == 0)
		return target_exists(dir, err);
	return true;
}

/* ---- What others left ------------------------------------------------------ */

/* Is this `.<name>.tmp-<digits>` of our target? */
static bool
is_temporary(const glm_pack_dir *dir, const char *name)
{
	const char *ours = strrchr(dir->path, '/') + 1;
	size_t		prefix = (size_t) (strrchr(ours, '-') + 1 - ours);

	if (strncmp(name, ours, prefix) != 0 || name[prefix] == '\0')
		return false;
	for (name += prefix; *name != '\0'; name++)
		if (!isdigit((unsigned char) *name))
			return false;
	return true;
}

static void
remove_if_dead(const char *path)
{
	int			fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		remove_files(path);
	close(fd);
}

static void
remove_stale(const glm_pack_dir *dir)
{
	DIR		   *list = opendir(dir->parent);
	struct dirent *item;
	char	   *path;

	if (list == NULL)
		return;
	while ((item = readdir(list)) != NULL)
	{
		if (!is_temporary(dir, item->d_name) ||
			asprintf(&path, "%s/%s", dir->parent, item->d_name) < 0)
			continue;
		remove_if_dead(path);
		free(path);
	}
	closedir(list);
}

void
glm_quantize_sweep(const char *target)
{
	glm_pack_dir dir = {.fd = -1};
	glm_error	err;

	if (split_target(&dir, target, &err))
		remove_stale(&dir);
	glm_pack_dir_free(&dir);
}

/* Removes a directory with the files in it. */
static void
remove_files(const char *path)
{
	DIR		   *list = opendir(path);
	struct dirent *item;

	if (list == NULL)
		return;
	while ((item = readdir(list)) != NULL)
		if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
			unlinkat(dirfd(list), item->d_name, 0);
	closedir(list);
	rmdir(path);
}

/* ---- The end ---------------------------------------------------------------- */

bool
glm_pack_dir_sync(const glm_pack_dir *dir, glm_error *err)
{
	return fsync(dir->fd) == 0 || glm_pack_fail(err, "flush directory", dir->path);
}

/* Not every file system can rename without replacing; then a look must do. */
static int
rename_new(const char *from, const char *to)
{
	struct stat st;

	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (lstat(to, &st) == 0)
	{
		errno = EEXIST;
		return -1;
	}
	return rename(from, to);
}

static bool
sync_parent(const glm_pack_dir *dir, glm_error *err)
{
	int			fd = open(dir->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool		ok = fd >= 0 && fsync(fd) == 0;

	if (!ok)
		glm_pack_fail(err, "flush directory", dir->parent);
	if (fd >= 0)
		close(fd);
	return ok;
}

bool
glm_pack_dir_publish(glm_pack_dir *dir, glm_error *err)
{
	if (rename_new(dir->path, dir->target) != 0)
		return errno == EEXIST ? target_exists(dir, err) :
			glm_pack_fail(err, "rename directory to", dir->target);
	close(dir->fd);
	dir->fd = -1;
	return sync_parent(dir, err);
}

void
glm_pack_dir_free(glm_pack_dir *dir)
{
	if (dir->fd >= 0)
	{
		remove_files(dir->path);
		close(dir->fd);
	}
	free(dir->target);
	free(dir->parent);
	free(dir->path);
	*dir = (glm_pack_dir) {.fd = -1};
}
