/*
 * fuzz.c - the input as a file.
 *
 * The readers take directories, not bytes, so that what is fuzzed is what runs.
 * The directory is made once, in memory where the system has /dev/shm, and its
 * file overwritten for every input; it is removed when the run ends.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static char path[128];
static int	fd = -1;

static void
clean_up(void)
{
	unlink(path);
	rmdir(dir);
}

static void
make_file(const char *name)
{
	struct stat st;

	snprintf(dir, sizeof(dir), "%s/glm-fuzz-XXXXXX",
			 stat("/dev/shm", &st) == 0 ? "/dev/shm" : "/tmp");
	FUZZ_CHECK(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	FUZZ_CHECK(fd >= 0);
	atexit(clean_up);
}

const char *
fuzz_write(const char *name, const uint8_t *data, size_t size)
{
	if (fd < 0)
		make_file(name);
	FUZZ_CHECK(ftruncate(fd, 0) == 0);
	FUZZ_CHECK(pwrite(fd, data, size, 0) == (ssize_t) size);
	return dir;
}
