/*
 * memory.c - how much memory there is for the taking.
 *
 * The machine's, as /proc/meminfo has it, or that of the control group we are in (version 2), if
 * that is less: its limit less what it uses, but for the files' pages, which it gives back.
 */
#include "engine/base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The number behind `name` at the beginning of a line, 0 if there is none. */
static uint64_t
number_in(const char *path, const char *name)
{
	FILE	*f = fopen(path, "re");
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

/* Where our group's files are, without a slash at the end; false: it is none of version 2. */
static bool
find_group(char *path, size_t size)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char  line[256]; /* and what lies before it fits in our callers' `path` */
	bool  found = false;

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
	{
		line[strcspn(line, "\n")] = '\0';
		found = strncmp(line, "0::/", 4) == 0;
		if (found)
			snprintf(path, size, "/sys/fs/cgroup%s", line[4] != '\0' ? line + 3 : "");
	}
	if (f != NULL)
		fclose(f);
	return found;
}

/* The same of our group; 0: it has no limit. */
static uint64_t
group_available(uint64_t *total)
{
	char	 group[300], file[350];
	uint64_t used, files;

	if (!find_group(group, sizeof(group)))
		return 0;
	snprintf(file, sizeof(file), "%s/memory.max", group);
	*total = number_in(file, "");
	snprintf(file, sizeof(file), "%s/memory.current", group);
	used = number_in(file, "");
	snprintf(file, sizeof(file), "%s/memory.stat", group);
	files = number_in(file, "active_file ") + number_in(file, "inactive_file ");
	used -= files < used ? files : used;
	return *total > used ? *total - used : 0;
}

uint64_t
glm_memory_available(uint64_t *total)
{
	uint64_t available = number_in("/proc/meminfo", "MemAvailable:") * 1024;
	uint64_t group_total = 0, group = group_available(&group_total);

	*total = number_in("/proc/meminfo", "MemTotal:") * 1024;
	if (group_total > 0 && group_total < *total && group < available)
	{
		*total = group_total;
		available = group;
	}
	return available;
}
