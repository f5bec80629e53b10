/*
 * memory.c - how much memory there is for the taking.
 *
 * The machine's, as /proc/meminfo has it, or that of a control group we are in, of version 1 or 2,
 * if that is less: its limit less what it uses, but for the files' pages, which it gives back.  We
 * are in the group of /proc/self/cgroup and in all above it, as far up as they are mounted.
 */
#include "engine/base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 4096

static const struct version
{
	const char *filesystem;
	const char *controller; /* that it is mounted with; "": all are in one */
	const char *limit, *used;
	const char *active, *inactive; /* files' pages, of it and those below it */
} versions[] = {
	{"cgroup2", "", "memory.max", "memory.current", "active_file ", "inactive_file "},
	{"cgroup", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file ",
	 "total_inactive_file "},
};

typedef struct memory
{
	uint64_t available, total;
} memory;

/* ---- Files ---------------------------------------------------------------------------------- */

/* NULL: there is none. */
static FILE *
open_file(const char *directory, const char *name)
{
	char path[PATH_BYTES + 64];

	if ((size_t) snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path))
		return NULL;
	return fopen(path, "re");
}

/* The number behind `name` at the beginning of a line, 0 if there is none. */
static uint64_t
number_in(const char *directory, const char *file, const char *name)
{
	FILE	*f = open_file(directory, file);
	char	 line[256];
	uint64_t found = 0;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
	{
		if (strncmp(line, name, strlen(name)) == 0 &&
			sscanf(line + strlen(name), "%" SCNu64, &found) == 1)
			break;
	}
	if (f != NULL)
		fclose(f);
	return found;
}

/* Is a word one of a list "cpu,memory"?  An empty one is of an empty list. */
static bool
is_in_list(const char *list, size_t n, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; at <= list + n;)
	{
		size_t one = strcspn(at, ",");

		if (at + one > list + n)
			one = (size_t) (list + n - at);
		if (one == length && memcmp(at, word, length) == 0)
			return true;
		at += one + 1;
	}
	return false;
}

/* ---- Control groups ------------------------------------------------------------------------- */

typedef struct location
{
	char group[PATH_BYTES]; /* ours */
	char top[PATH_BYTES];	/* the one that is mounted */
	char mount[PATH_BYTES]; /* there */
} location;

/* Of a line of /proc/self/mountinfo; false: it is another file system. */
static bool
read_mount(location *at, const struct version *v, const char *line)
{
	const char *behind = strstr(line, " - ");
	char		filesystem[16];
	int			options = 0;

	if (behind == NULL || sscanf(line, "%*s %*s %*s %4095s %4095s", at->top, at->mount) != 2 ||
		sscanf(behind, " - %15s %*s %n", filesystem, &options) != 1 || options == 0)
		return false;
	behind += options;
	return strcmp(filesystem, v->filesystem) == 0 &&
		   (v->controller[0] == '\0' || is_in_list(behind, strcspn(behind, " \n"), v->controller));
}

/* Of a line of /proc/self/cgroup, "4:cpu,memory:/our/group"; false: it is of other controllers. */
static bool
read_group(location *at, const struct version *v, const char *line)
{
	const char *list = strchr(line, ':');
	const char *path = list != NULL ? strchr(list + 1, ':') : NULL;

	return path != NULL && is_in_list(list + 1, (size_t) (path - list - 1), v->controller) &&
		   sscanf(path, ":%4095[^\n]", at->group) == 1;
}

/* Has the lines of a file read until one of them says it; false: none does. */
static bool
find(location *at, const struct version *v, const char *root, const char *name,
	 bool (*read)(location *, const struct version *, const char *))
{
	FILE  *f = open_file(root, name);
	char  *line = NULL;
	size_t size = 0;
	bool   found = false;

	while (f != NULL && !found && getline(&line, &size, f) > 0)
		found = read(at, v, line);
	free(line);
	if (f != NULL)
		fclose(f);
	return found;
}

/* What our group has of its mount's path: a container's own may be mounted, and we be told its path on the machine. */
static const char *
below_top(const location *at)
{
	size_t n = strcmp(at->top, "/") == 0 ? 0 : strlen(at->top);

	if (strncmp(at->group, at->top, n) == 0 && (at->group[n] == '/' || at->group[n] == '\0'))
		return at->group + n;
	return "";
}

/* Takes over what a group leaves us, if that is less than what there is without it. */
static void
narrow(memory *m, uint64_t machine, const struct version *v, const char *directory)
{
	uint64_t limit = number_in(directory, v->limit, "");
	uint64_t used = number_in(directory, v->used, "");
	uint64_t files = number_in(directory, "memory.stat", v->active) +
					 number_in(directory, "memory.stat", v->inactive);
	uint64_t left;

	if (limit == 0 || limit >= machine) /* none */
		return;
	used -= files < used ? files : used;
	left = limit > used ? limit - used : 0;
	if (left < m->available)
		*m = (memory){left, limit};
}

/* Our group of this version, and those above it. */
static void
narrow_by_groups(memory *m, const struct version *v, const char *root)
{
	char	 directory[PATH_BYTES];
	uint64_t machine = m->total;
	location at;
	char	*top;

	if (!find(&at, v, root, "proc/self/cgroup", read_group) ||
		!find(&at, v, root, "proc/self/mountinfo", read_mount) ||
		(size_t) snprintf(directory, sizeof(directory), "%s%s%s", root, at.mount, below_top(&at)) >=
			sizeof(directory))
		return;
	top = directory + strlen(root) + strlen(at.mount);
	for (char *end = directory + strlen(directory); end != NULL && end >= top;
		 end = strrchr(directory, '/'))
	{
		*end = '\0';
		narrow(m, machine, v, directory);
	}
}

/* ---- Entry points --------------------------------------------------------------------------- */

uint64_t
glm_memory_available_below(const char *root, uint64_t *total)
{
	memory m = {.available = number_in(root, "proc/meminfo", "MemAvailable:") * 1024,
				.total = number_in(root, "proc/meminfo", "MemTotal:") * 1024};

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		narrow_by_groups(&m, &versions[i], root);
	*total = m.total;
	return m.available;
}

uint64_t
glm_memory_available(uint64_t *total)
{
	return glm_memory_available_below("", total);
}
