/*
 * test_chunk.c - weight files in chunks: mapping, sharing, verifying.
 *
 * The file is three chunks long but sparse: of each chunk only a byte near its
 * begin and one near its end are written.  Whether an address can be read is
 * asked of the kernel, by writing from it into a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint.h"
#include "engine/weights/chunk.h"
#include "engine/weights/packed.h"

#include <cmocka.h>

#define NAME "weights"
#define LAST_BYTES 100000 /* in the third chunk */
#define FILE_BYTES (2 * GLM_CHUNK_SIZE + LAST_BYTES)

static char dir[CK_PATH];
static char path[CK_PATH];
static int	pipe_fd[2];

static void
put_byte(uint64_t offset, char byte)
{
	int fd = open(path, O_WRONLY);

	assert_int_equal(pwrite(fd, &byte, 1, (off_t) offset), 1);
	close(fd);
}

static int
setup(void **state)
{
	(void) state;
	ck_open(dir);
	ck_path(path, dir, NAME);
	ck_write(dir, NAME, "0", 1);
	assert_int_equal(truncate(path, (off_t) FILE_BYTES), 0);
	for (int i = 0; i < 3; i++)
		put_byte((uint64_t) i * GLM_CHUNK_SIZE + 10, (char) ('a' + i));
	for (int i = 0; i < 2; i++)
		put_byte((uint64_t) (i + 1) * GLM_CHUNK_SIZE - 1, (char) ('x' + i));
	assert_int_equal(pipe2(pipe_fd, O_NONBLOCK), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	ck_close(dir);
	return 0;
}

static glm_weight_file *
open_good(glm_weight_files *files, const char *name)
{
	glm_error		 err = {0};
	glm_weight_file *file = glm_weight_file_open(files, name, &err);

	if (file == NULL)
		fail_msg("%s", err.message);
	return file;
}

static void
hold(glm_weight_file *file, const glm_hash *expected, uint64_t begin, uint64_t end)
{
	glm_error err = {0};

	if (!glm_chunks_hold(file, path, expected, begin, end, &err))
		fail_msg("%s", err.message);
}

static bool
readable(const glm_weight_file *file, uint64_t offset)
{
	char byte;

	if (write(pipe_fd[1], glm_weight_file_data(file) + offset, 1) != 1)
	{
		assert_int_equal(errno, EFAULT);
		return false;
	}
	assert_int_equal(read(pipe_fd[0], &byte, 1), 1);
	return true;
}

static void
assert_mapped(glm_weight_file *file, int chunks, uint64_t bytes)
{
	glm_chunk_usage usage = {0};

	glm_weight_file_usage(file, &usage);
	assert_int_equal(usage.total, 3);
	assert_int_equal(usage.mapped, chunks);
	assert_int_equal(usage.bytes_mapped, bytes);
	assert_true(usage.bytes_resident <= bytes);
}

/* The right hashes of the file as it is. */
static void
hash_chunks(glm_hash hash[3])
{
	int		  fd = open(path, O_RDONLY);
	glm_error err = {0};
	uint64_t  n;

	for (int i = 0; i < 3; i++)
		assert_true(glm_hash_file(fd, path, (uint64_t) i * GLM_CHUNK_SIZE, GLM_CHUNK_SIZE, &hash[i],
								  &n, &err));
	close(fd);
}

/* ---- Mapping ------------------------------------------------------------------ */

static void
test_maps_what_is_held(void **state)
{
	glm_weight_file *file = open_good(NULL, path);
	const uint8_t	*data = glm_weight_file_data(file);

	(void) state;
	assert_int_equal(glm_weight_file_size(file), FILE_BYTES);
	assert_int_equal(glm_weight_file_chunks(file), 3);
	assert_mapped(file, 0, 0);
	assert_false(readable(file, 10));

	hold(file, NULL, GLM_CHUNK_SIZE + 10, GLM_CHUNK_SIZE + 11);
	assert_int_equal(data[GLM_CHUNK_SIZE + 10], 'b');
	assert_int_equal(data[2 * GLM_CHUNK_SIZE - 1], 'y');
	assert_false(readable(file, 10));
	assert_false(readable(file, GLM_CHUNK_SIZE - 1));
	assert_false(readable(file, 2 * GLM_CHUNK_SIZE));
	assert_mapped(file, 1, GLM_CHUNK_SIZE);

	/* the two bytes on both sides of a border */
	hold(file, NULL, GLM_CHUNK_SIZE - 1, GLM_CHUNK_SIZE + 1);
	assert_int_equal(data[GLM_CHUNK_SIZE - 1], 'x');
	assert_mapped(file, 2, 2 * GLM_CHUNK_SIZE);
	hold(file, NULL, FILE_BYTES - 1, FILE_BYTES);
	assert_int_equal(data[2 * GLM_CHUNK_SIZE + 10], 'c');
	assert_mapped(file, 3, FILE_BYTES);

	/* each hold counts, so the middle chunk goes with its second drop */
	glm_chunks_drop(file, GLM_CHUNK_SIZE - 1, GLM_CHUNK_SIZE + 1);
	assert_false(readable(file, 10));
	assert_true(readable(file, GLM_CHUNK_SIZE + 10));
	glm_chunks_drop(file, GLM_CHUNK_SIZE + 10, GLM_CHUNK_SIZE + 11);
	assert_false(readable(file, GLM_CHUNK_SIZE + 10));
	assert_mapped(file, 1, LAST_BYTES);
	glm_chunks_drop(file, FILE_BYTES - 1, FILE_BYTES);
	assert_mapped(file, 0, 0);

	hold(file, NULL, 5, 5);
	assert_mapped(file, 0, 0);
	glm_chunks_drop(file, 5, 5);
	glm_weight_file_close(file);
}

static void
test_populates(void **state)
{
	glm_weight_file *file = open_good(NULL, path);
	glm_chunk_usage	 usage = {0};

	(void) state;
	hold(file, NULL, FILE_BYTES - 1, FILE_BYTES);
	glm_weight_file_usage(file, &usage);
	assert_int_equal(usage.bytes_resident, LAST_BYTES);
	glm_chunks_drop(file, FILE_BYTES - 1, FILE_BYTES);
	glm_weight_file_close(file);
}

static void
test_reads_without_mapping(void **state)
{
	glm_weight_file *file = open_good(NULL, path);
	glm_error		 err = {0};
	char			 bytes[2];

	(void) state;
	assert_true(glm_weight_file_read(file, path, bytes, GLM_CHUNK_SIZE - 1, 2, &err));
	assert_memory_equal(bytes, "x", 2);
	assert_mapped(file, 0, 0);
	assert_int_equal(truncate(path, 1000), 0);
	assert_false(glm_weight_file_read(file, path, bytes, GLM_CHUNK_SIZE - 1, 2, &err));
	ck_assert_error(&err, GLM_BAD_FILE, path);
	glm_weight_file_close(file);
}

/* ---- Sharing -------------------------------------------------------------------- */

static void
test_shared(void **state)
{
	glm_weight_files *files = glm_weight_files_open();
	char			  other[CK_PATH];
	glm_weight_file	 *first = open_good(files, path);
	glm_weight_file	 *second;
	glm_weight_file	 *changed;
	glm_weight_file	 *alone = open_good(NULL, path);

	(void) state;
	ck_path(other, dir, "other name");
	assert_int_equal(link(path, other), 0);
	second = open_good(files, other);
	assert_ptr_equal(first, second);
	assert_ptr_not_equal(first, alone);

	/* one closes, the other's chunks stay */
	hold(second, NULL, 0, 20);
	glm_weight_file_close(first);
	assert_true(readable(second, 10));

	put_byte(20, '!');
	changed = open_good(files, path);
	assert_ptr_not_equal(changed, second);
	glm_weight_file_close(second);
	glm_weight_file_close(changed);
	glm_weight_file_close(alone);
	glm_weight_files_close(files);
}

/* ---- Verifying -------------------------------------------------------------------- */

static void
assert_refused(glm_weight_file *file, const glm_hash *expected, int chunk, const char *fragment)
{
	uint64_t  begin = (uint64_t) chunk * GLM_CHUNK_SIZE;
	char	  number[32];
	glm_error err = {0};

	snprintf(number, sizeof(number), "chunk %d ", chunk);
	assert_false(glm_chunks_hold(file, path, expected, begin, begin + 1, &err));
	ck_assert_error(&err, GLM_BAD_FILE, path);
	ck_assert_error(&err, GLM_BAD_FILE, number);
	ck_assert_error(&err, GLM_BAD_FILE, fragment);
	assert_false(readable(file, begin));
}

static void
test_flipped_bit(void **state)
{
	glm_hash		 good[3];
	glm_hash		 bad[3];
	char			 good_text[GLM_HASH_TEXT];
	char			 bad_text[GLM_HASH_TEXT];
	glm_weight_file *file;

	(void) state;
	hash_chunks(good);
	put_byte(GLM_CHUNK_SIZE + 77777, 1);
	hash_chunks(bad);
	glm_hash_text(&good[1], good_text);
	glm_hash_text(&bad[1], bad_text);

	file = open_good(NULL, path);
	assert_refused(file, good, 1, good_text);
	assert_refused(file, good, 1, bad_text);
	hold(file, good, 0, 1);
	hold(file, good, FILE_BYTES - 1, FILE_BYTES);
	assert_mapped(file, 2, GLM_CHUNK_SIZE + LAST_BYTES);

	/* a range of which one chunk is bad holds none */
	glm_chunks_drop(file, 0, 1);
	{
		glm_error err = {0};

		assert_false(glm_chunks_hold(file, path, good, 0, FILE_BYTES, &err));
		ck_assert_error(&err, GLM_BAD_FILE, "chunk 1 ");
	}
	assert_mapped(file, 1, LAST_BYTES);
	/* for somebody with another manifest it is right */
	hold(file, bad, 0, FILE_BYTES);
	glm_weight_file_close(file);
}

static void
keep_time(const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* A chunk is hashed once while its file stays as it is. */
static void
test_hashed_once(void **state)
{
	glm_hash		 good[3];
	struct stat		 st;
	glm_error		 err = {0};
	glm_weight_file *file;

	(void) state;
	hash_chunks(good);
	assert_int_equal(stat(path, &st), 0);
	file = open_good(NULL, path);
	hold(file, good, 2 * GLM_CHUNK_SIZE, FILE_BYTES);
	glm_chunks_drop(file, 2 * GLM_CHUNK_SIZE, FILE_BYTES);

	/* a change that nothing tells of is not seen: nobody has read the chunk again */
	put_byte(2 * GLM_CHUNK_SIZE + 50, 1);
	keep_time(&st);
	assert_true(glm_chunk_verify(file, path, good, 2, &err));
	hold(file, good, 2 * GLM_CHUNK_SIZE, FILE_BYTES);
	glm_chunks_drop(file, 2 * GLM_CHUNK_SIZE, FILE_BYTES);

	/* one that the file's time tells of is */
	put_byte(2 * GLM_CHUNK_SIZE + 50, 2);
	assert_refused(file, good, 2, "SHA-256");
	put_byte(2 * GLM_CHUNK_SIZE + 50, 0);
	hold(file, good, 2 * GLM_CHUNK_SIZE, FILE_BYTES);
	glm_weight_file_close(file);
}

static void
test_changed_without_hashes(void **state)
{
	glm_weight_file *file = open_good(NULL, path);

	(void) state;
	hold(file, NULL, 0, 1);
	put_byte(GLM_CHUNK_SIZE, 'q');
	assert_refused(file, NULL, 1, "has changed");
	assert_refused(file, NULL, 2, "has changed");
	assert_true(readable(file, 0));
	glm_weight_file_close(file);
}

/* A file that gets shorter is an error, not a SIGBUS. */
static void
test_truncated(void **state)
{
	glm_hash		 good[3];
	char			 text[GLM_HASH_TEXT];
	glm_weight_file *file;

	(void) state;
	hash_chunks(good);
	glm_hash_text(&good[1], text);
	file = open_good(NULL, path);
	assert_int_equal(truncate(path, (off_t) (GLM_CHUNK_SIZE + 1000)), 0);
	assert_refused(file, good, 1, "is cut to 1000 of 134217728 bytes");
	assert_refused(file, good, 1, text);
	assert_refused(file, good, 2, "is cut to 0 of 100000 bytes");
	assert_refused(file, NULL, 1, "has changed");
	hold(file, good, 0, 1);
	assert_true(readable(file, 10));
	glm_weight_file_close(file);
}

static void
test_hash_text(void **state)
{
	static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	char			  text[GLM_HASH_TEXT];
	char			  bad[GLM_HASH_TEXT];
	char			  name[CK_PATH];
	glm_hash		  hash;
	glm_error		  err = {0};
	uint64_t		  n;
	int				  fd;

	(void) state;
	ck_puts(dir, "abc", "abc");
	ck_path(name, dir, "abc");
	fd = open(name, O_RDONLY);
	assert_true(glm_hash_file(fd, name, 0, 1000, &hash, &n, &err));
	close(fd);
	assert_int_equal(n, 3);
	glm_hash_text(&hash, text);
	assert_string_equal(text, abc);
	memset(&hash, 0, sizeof(hash));
	assert_true(glm_hash_parse(&hash, abc));
	glm_hash_text(&hash, text);
	assert_string_equal(text, abc);
	for (size_t i = 0; i < GLM_HASH_TEXT - 1; i++)
	{
		strcpy(bad, abc);
		bad[i] = "GA:/ "[i % 5];
		assert_false(glm_hash_parse(&hash, bad));
		bad[i] = '\0';
		assert_false(glm_hash_parse(&hash, bad));
	}
	assert_false(
		glm_hash_parse(&hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0"));
}

/* ---- Huge pages ----------------------------------------------------------------------- */

/* Of these addresses, as /proc/self/smaps has it. */
static uint64_t
anonymous_bytes(const uint8_t *at)
{
	FILE	*f = fopen("/proc/self/smaps", "r");
	char	 line[256];
	uint64_t begin, end, kb, found = 0;
	bool	 inside = false;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
	{
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &begin, &end) == 2)
			inside = begin <= (uintptr_t) at && (uintptr_t) at < end;
		else if (inside && sscanf(line, "Anonymous: %" SCNu64 " kB", &kb) == 1)
			found = kb * 1024;
	}
	fclose(f);
	return found;
}

static void
settle(glm_weight_file *file, const glm_hash *expected, int chunk)
{
	glm_error err = {0};

	if (!glm_chunk_settle(file, path, expected, chunk, &err))
		fail_msg("%s", err.message);
}

/* A chunk that settles keeps its bytes and its addresses, whatever becomes of the file. */
static void
test_settles(void **state)
{
	glm_weight_file *file = open_good(NULL, path);
	const uint8_t	*data = glm_weight_file_data(file), *last = data + 2 * GLM_CHUNK_SIZE;
	uint64_t		 begin = 2 * GLM_CHUNK_SIZE;

	(void) state;
	settle(file, NULL, 2); /* nobody holds it: nothing */
	assert_mapped(file, 0, 0);
	hold(file, NULL, begin, FILE_BYTES);
	assert_int_equal(anonymous_bytes(last), 0);
	settle(file, NULL, 2);
	assert_true(anonymous_bytes(last) >= LAST_BYTES);
	assert_int_equal(last[10], 'c');
	assert_mapped(file, 1, LAST_BYTES);
	hold(file, NULL, begin, begin + 1);
	settle(file, NULL, 2); /* again: nothing */
	assert_int_equal(last[10], 'c');
	glm_chunks_drop(file, begin, begin + 1);
	assert_int_equal(truncate(path, 1000), 0);
	assert_int_equal(last[10], 'c');

	/* the last drop gives all of it back, up to the reservation's end */
	glm_chunks_drop(file, begin, FILE_BYTES);
	assert_false(readable(file, begin));
	assert_int_equal(anonymous_bytes(last), 0);
	glm_weight_file_close(file);
}

/* It is the file's again for the next who holds it. */
static void
test_settles_anew(void **state)
{
	glm_weight_file *file = open_good(NULL, path);
	const uint8_t	*last = glm_weight_file_data(file) + 2 * GLM_CHUNK_SIZE;

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		hold(file, NULL, 2 * GLM_CHUNK_SIZE, FILE_BYTES);
		assert_int_equal(anonymous_bytes(last), 0);
		settle(file, NULL, 2);
		assert_true(anonymous_bytes(last) >= LAST_BYTES);
		assert_int_equal(last[10], 'c');
		glm_chunks_drop(file, 2 * GLM_CHUNK_SIZE, FILE_BYTES);
	}
	glm_weight_file_close(file);
}

/* Nothing comes in whose bytes were not checked, or are not those that were. */
static void
test_settles_what_was_checked(void **state)
{
	glm_hash		 good[3];
	glm_weight_file *file;
	const uint8_t	*last;
	glm_error		 err = {0};

	(void) state;
	hash_chunks(good);
	file = open_good(NULL, path);
	last = glm_weight_file_data(file) + 2 * GLM_CHUNK_SIZE;
	hold(file, NULL, 2 * GLM_CHUNK_SIZE, FILE_BYTES);
	settle(file, good, 2);
	assert_int_equal(anonymous_bytes(last), 0);
	hold(file, good, 2 * GLM_CHUNK_SIZE, FILE_BYTES);
	put_byte(2 * GLM_CHUNK_SIZE + 50, 1);
	settle(file, good, 2);
	assert_int_equal(anonymous_bytes(last), 0);
	assert_int_equal(truncate(path, 2 * GLM_CHUNK_SIZE + 1000), 0);
	assert_false(glm_chunk_settle(file, path, good, 2, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "has become shorter");
	glm_weight_file_close(file);
}

/* ---- Threads ------------------------------------------------------------------------ */

typedef struct worker
{
	glm_weight_file *file;
	unsigned		 seed;
	int				 wrong;
} worker;

static void *
hold_at_random(void *arg)
{
	worker		  *w = arg;
	const uint8_t *data = glm_weight_file_data(w->file);

	for (int i = 0; i < 200; i++)
	{
		int		  first = rand_r(&w->seed) % 3;
		int		  last = first + rand_r(&w->seed) % (3 - first);
		uint64_t  begin = (uint64_t) first * GLM_CHUNK_SIZE + 10;
		uint64_t  end = (uint64_t) last * GLM_CHUNK_SIZE + 11;
		glm_error err;

		if (!glm_chunks_hold(w->file, path, NULL, begin, end, &err))
		{
			w->wrong++;
			continue;
		}
		if (i % 8 == 0 && last == 2 && !glm_chunk_settle(w->file, path, NULL, 2, &err))
			w->wrong++;
		for (int c = first; c <= last; c++)
			w->wrong += data[(uint64_t) c * GLM_CHUNK_SIZE + 10] != 'a' + c;
		glm_chunks_drop(w->file, begin, end);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	glm_weight_file *file;
	pthread_t		 thread[4];
	worker			 w[4];

	(void) state;
	file = open_good(NULL, path);
	for (int i = 0; i < 4; i++)
	{
		w[i] = (worker){file, (unsigned) i + 1, 0};
		assert_int_equal(pthread_create(&thread[i], NULL, hold_at_random, &w[i]), 0);
	}
	for (int i = 0; i < 4; i++)
	{
		pthread_join(thread[i], NULL);
		assert_int_equal(w[i].wrong, 0);
	}
	assert_mapped(file, 0, 0);
	glm_weight_file_close(file);
}

/* ---- What does not open ---------------------------------------------------------------- */

static void
test_refused(void **state)
{
	char	  name[CK_PATH];
	glm_error err = {0};

	(void) state;
	ck_path(name, dir, "missing");
	assert_null(glm_weight_file_open(NULL, name, &err));
	ck_assert_error(&err, GLM_NO_FILE, name);
	ck_puts(dir, "empty", "");
	ck_path(name, dir, "empty");
	assert_null(glm_weight_file_open(NULL, name, &err));
	ck_assert_error(&err, GLM_BAD_FILE, "is empty");
	assert_null(glm_weight_file_open(NULL, dir, &err));
	ck_assert_error(&err, GLM_NO_FILE, "not a regular file");
	glm_weight_file_close(NULL);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_maps_what_is_held),
		CASE(test_populates),
		CASE(test_reads_without_mapping),
		CASE(test_shared),
		CASE(test_flipped_bit),
		CASE(test_hashed_once),
		CASE(test_changed_without_hashes),
		CASE(test_truncated),
		CASE(test_hash_text),
		CASE(test_settles),
		CASE(test_settles_anew),
		CASE(test_settles_what_was_checked),
		CASE(test_threads),
		CASE(test_refused),
	};

	return cmocka_run_group_tests_name("chunk", tests, NULL, NULL);
}
