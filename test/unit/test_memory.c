/*
 * test_memory.c - memory for the taking, as files of a made-up machine tell it.
 */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fixtures.h"
#include "engine/base/memory.h"

#include <cmocka.h>

#define KB UINT64_C(1024)
#define NO_LIMIT "9223372036854771712" /* as version 1 has it */

/* mountinfo as Debian 12, Docker on it, and systems of both versions have it */
#define MOUNT_2 "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNT_1                                                                                    \
	"31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"                                   \
	"32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"                         \
	"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"                   \
	"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
#define MOUNT_CONTAINER                                                                            \
	"36 31 0:33 /docker/f00 /sys/fs/cgroup/memory ro shared:7 master:2 - cgroup cgroup "           \
	"rw,cpu,memory\n"

static void
file(const char *path, const char *text)
{
	char  whole[CK_PATH * 2], *slash;
	FILE *f;

	snprintf(whole, sizeof(whole), "%s/%s", fx_dir, path);
	for (slash = strchr(whole + strlen(fx_dir) + 1, '/'); slash != NULL;
		 slash = strchr(slash + 1, '/'))
	{
		*slash = '\0';
		mkdir(whole, 0700);
		*slash = '/';
	}
	f = fopen(whole, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* A group of one version, by its directory; files: pages of files of each list. */
static void
group_2(const char *directory, const char *limit, const char *used, const char *pages)
{
	char path[CK_PATH], stat[200];

	snprintf(path, sizeof(path), "%s/memory.max", directory);
	file(path, limit);
	snprintf(path, sizeof(path), "%s/memory.current", directory);
	file(path, used);
	snprintf(path, sizeof(path), "%s/memory.stat", directory);
	snprintf(stat, sizeof(stat), "anon 1\ninactive_file %s\nactive_file %s\n", pages, pages);
	file(path, stat);
}

static void
group_1(const char *directory, const char *limit, const char *used, const char *pages)
{
	char path[CK_PATH], stat[200];

	snprintf(path, sizeof(path), "%s/memory.limit_in_bytes", directory);
	file(path, limit);
	snprintf(path, sizeof(path), "%s/memory.usage_in_bytes", directory);
	file(path, used);
	snprintf(path, sizeof(path), "%s/memory.stat", directory);
	snprintf(
		stat, sizeof(stat),
		"cache 7\ninactive_file 77\nactive_file 77\ntotal_inactive_file %s\ntotal_active_file %s\n",
		pages, pages);
	file(path, stat);
}

static void
assert_memory(uint64_t available, uint64_t total)
{
	uint64_t found_total;

	assert_int_equal(glm_memory_available_below(fx_dir, &found_total), available);
	assert_int_equal(found_total, total);
}

static int
open_machine(void **state)
{
	if (fx_open_dir(state) != 0)
		return -1;
	file("proc/meminfo",
		 "MemTotal:       8000 kB\nMemFree:         100 kB\nMemAvailable:   6000 kB\n");
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void) st, (void) type, (void) ftw;
	return remove(path);
}

static int
close_machine(void **state)
{
	(void) state;
	return nftw(fx_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- No group ------------------------------------------------------------------------------- */

static void
the_machine_s_where_no_group_says_otherwise(void **state)
{
	(void) state;
	assert_memory(6000 * KB, 8000 * KB);
	file("proc/self/cgroup", "0::/\n");
	assert_memory(6000 * KB, 8000 * KB);
	file("proc/self/mountinfo", MOUNT_2);
	assert_memory(6000 * KB, 8000 * KB);
	file("proc/self/cgroup", "garbage\n0\n::\n");
	file("proc/self/mountinfo", " - \n - cgroup2\n1 2 3 - cgroup2 x y\n");
	assert_memory(6000 * KB, 8000 * KB);
}

static void
nothing_where_nothing_is_known(void **state)
{
	(void) state;
	file("proc/meminfo", "");
	assert_memory(0, 0);
}

/* ---- Version 2 ------------------------------------------------------------------------------ */

static void
a_group_of_version_2(void **state)
{
	(void) state;
	file("proc/self/cgroup", "0::/system.slice/postgresql.service\n");
	file("proc/self/mountinfo", MOUNT_2);
	group_2("sys/fs/cgroup/system.slice/postgresql.service", "max\n", "1000\n", "0");
	assert_memory(6000 * KB, 8000 * KB);
	group_2("sys/fs/cgroup/system.slice/postgresql.service", "1000000\n", "700000\n", "150000");
	assert_memory(600000, 1000000);
	/* files' pages may be more than what is used says at the moment */
	group_2("sys/fs/cgroup/system.slice/postgresql.service", "1000000\n", "700000\n", "400000");
	assert_memory(1000000, 1000000);
	group_2("sys/fs/cgroup/system.slice/postgresql.service", "1000000\n", "1000001\n", "0");
	assert_memory(0, 1000000);
	/* more than the machine has left */
	group_2("sys/fs/cgroup/system.slice/postgresql.service", "8000000\n", "1\n", "0");
	assert_memory(6000 * KB, 8000 * KB);
}

static void
what_a_group_above_it_leaves(void **state)
{
	(void) state;
	file("proc/self/cgroup", "0::/a/b/c\n");
	file("proc/self/mountinfo", MOUNT_2);
	group_2("sys/fs/cgroup/a/b/c", "1000000\n", "100000\n", "0");
	group_2("sys/fs/cgroup/a/b", "max\n", "100000\n", "0");
	group_2("sys/fs/cgroup/a", "3000000\n", "2500000\n", "0");
	assert_memory(500000, 3000000);
	group_2("sys/fs/cgroup/a", "3000000\n", "2500000\n", "1000000");
	assert_memory(900000, 1000000);
	/* in a container, whose own group has the files at the top */
	group_2("sys/fs/cgroup", "200000\n", "50000\n", "10000");
	assert_memory(170000, 200000);
	file("proc/self/cgroup", "0::/\n");
	assert_memory(170000, 200000);
}

/* ---- Version 1 ------------------------------------------------------------------------------ */

static void
a_group_of_version_1(void **state)
{
	(void) state;
	file("proc/self/cgroup", "9:name=systemd:/x\n4:memory:/our/group\n1:cpu:/y\n0::/\n");
	file("proc/self/mountinfo", MOUNT_1);
	group_1("sys/fs/cgroup/memory/our/group", NO_LIMIT "\n", "5000\n", "0");
	group_1("sys/fs/cgroup/memory/our", NO_LIMIT "\n", "5000\n", "0");
	group_1("sys/fs/cgroup/memory", NO_LIMIT "\n", "5000\n", "0");
	/* none of these is ours */
	group_1("sys/fs/cgroup/cpu/our/group", "7\n", "0\n", "0");
	group_1("sys/fs/cgroup/memory/y", "7\n", "0\n", "0");
	group_2("sys/fs/cgroup/memory/our/group", "7\n", "0\n", "0");
	group_1("sys/fs/cgroup/memory/our/group", NO_LIMIT "\n", "5000\n", "0");
	assert_memory(6000 * KB, 8000 * KB);
	group_1("sys/fs/cgroup/memory/our/group", "1000000\n", "700000\n", "150000");
	assert_memory(600000, 1000000);
	group_1("sys/fs/cgroup/memory/our", "500000\n", "100000\n", "0");
	assert_memory(400000, 500000);
	/* both versions at once: what leaves less */
	group_2("sys/fs/cgroup/unified", "300000\n", "0\n", "0");
	assert_memory(300000, 300000);
}

static void
a_container_s_group_of_version_1(void **state)
{
	(void) state;
	file("proc/self/mountinfo", MOUNT_CONTAINER);
	group_1("sys/fs/cgroup/memory", "1000000\n", "0\n", "0");
	group_1("sys/fs/cgroup/memory/docker/f00", "7\n", "0\n", "0");
	file("proc/self/cgroup", "4:cpu,memory:/docker/f00\n");
	assert_memory(1000000, 1000000);
	group_1("sys/fs/cgroup/memory/inner", "800000\n", "0\n", "0");
	file("proc/self/cgroup", "4:cpu,memory:/docker/f00/inner\n");
	assert_memory(800000, 800000);
	/* moved elsewhere since it was mounted */
	file("proc/self/cgroup", "4:cpu,memory:/docker/f000/inner\n");
	assert_memory(1000000, 1000000);
	file("proc/self/cgroup", "4:cpu,memoryless:/docker/f00\n3:memor:/docker/f00\n");
	assert_memory(6000 * KB, 8000 * KB);
}

/* ---- This machine --------------------------------------------------------------------------- */

static void
this_machine_has_some(void **state)
{
	uint64_t total, available = glm_memory_available(&total);

	(void) state;
	assert_in_range(available, 1, total);
}

int
main(void)
{
#define IN_MACHINE(test) cmocka_unit_test_setup_teardown(test, open_machine, close_machine)
	const struct CMUnitTest tests[] = {
		IN_MACHINE(the_machine_s_where_no_group_says_otherwise),
		IN_MACHINE(nothing_where_nothing_is_known),
		IN_MACHINE(a_group_of_version_2),
		IN_MACHINE(what_a_group_above_it_leaves),
		IN_MACHINE(a_group_of_version_1),
		IN_MACHINE(a_container_s_group_of_version_1),
		cmocka_unit_test(this_machine_has_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
