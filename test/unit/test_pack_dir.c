/*
 * test_pack_dir.c - a directory that is made or swept where others may write too:
 * whatever they put under its name meanwhile, nothing but it is written or emptied.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkpoint.h"
#include "engine/quantize/pack_file.h"

#define FILES 10
#define SWEEPS 3000

typedef struct place
{
	char dir[CK_PATH]; /* where others may write */
	char target[CK_PATH];
	char stale[CK_PATH];  /* what a dead job of this target left */
	char aside[CK_PATH];  /* another name in dir */
	char victim[CK_PATH]; /* elsewhere, with FILES files */
} place;

static void
open_place(place *p)
{
	ck_open(p->dir);
	ck_open(p->victim);
	ck_path(p->target, p->dir, "packed");
	ck_path(p->stale, p->dir, ".packed.tmp-1");
	ck_path(p->aside, p->dir, "aside");
	for (int i = 0; i < FILES; i++)
	{
		char name[16];

		snprintf(name, sizeof(name), "file-%d", i);
		ck_puts(p->victim, name, "precious");
	}
}

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void
close_place(place *p)
{
	assert_int_equal(ck_count(p->victim), FILES);
	for (int i = 0; i < FILES; i++)
	{
		char name[16];
		char path[CK_PATH];

		snprintf(name, sizeof(name), "file-%d", i);
		ck_path(path, p->victim, name);
		assert_int_equal(unlink(path), 0);
	}
	ck_close(p->victim);
	assert_int_equal(ck_count(p->dir), 0);
	ck_close(p->dir);
}

/* Puts a link to the victim where the directory was that is being made. */
static void
swap(const place *p, const char *path)
{
	assert_int_equal(rename(path, p->aside), 0);
	assert_int_equal(symlink(p->victim, path), 0);
}

/* ---- Making ---- */

static void
swapped_while_written(void **state)
{
	place		  p;
	glm_pack_dir  dir;
	glm_pack_file file = {.fd = -1};
	glm_error	  err = {0};
	json_t		 *files = json_array();
	char		  path[CK_PATH];

	(void) state;
	open_place(&p);
	assert_true(glm_pack_dir_make(&dir, p.target, &err));
	strcpy(path, dir.path);
	swap(&p, path);
	assert_true(glm_pack_file_open(&file, &dir, "model.safetensors", &err));
	assert_true(glm_pack_file_write(&file, "weights", 7, &err));
	assert_true(glm_pack_file_close(&file, files, &err));
	assert_int_equal(ck_count(p.victim), FILES);
	assert_int_equal(ck_count(p.aside), 1);
	assert_true(glm_pack_dir_sync(&dir, &err));
	assert_false(glm_pack_dir_publish(&dir, &err));
	ck_assert_error(&err, GLM_NOT_WRITABLE, "replaced");
	assert_false(exists(p.target));
	glm_pack_dir_free(&dir);

	/* what was written is gone, what somebody put there is not */
	assert_int_equal(ck_count(p.aside), 0);
	assert_int_equal(rmdir(p.aside), 0);
	assert_int_equal(unlink(path), 0);
	json_decref(files);
	close_place(&p);
}

/* A directory in its place is not emptied either. */
static void
replaced_by_a_directory(void **state)
{
	place		 p;
	glm_pack_dir dir;
	glm_error	 err = {0};
	char		 path[CK_PATH];

	(void) state;
	open_place(&p);
	assert_true(glm_pack_dir_make(&dir, p.target, &err));
	strcpy(path, dir.path);
	assert_int_equal(rename(path, p.aside), 0);
	assert_int_equal(rename(p.victim, path), 0);
	glm_pack_dir_free(&dir);
	assert_int_equal(rename(path, p.victim), 0);
	assert_int_equal(rmdir(p.aside), 0);
	close_place(&p);
}

/* As ever: published it stays, else it goes with its files. */
static void
undisturbed(void **state)
{
	place	  p;
	glm_error err = {0};

	(void) state;
	open_place(&p);
	for (int publish = 0; publish < 2; publish++)
	{
		glm_pack_dir dir;

		assert_true(glm_pack_dir_make(&dir, p.target, &err));
		ck_puts(dir.path, "file", "x");
		if (publish)
			assert_true(glm_pack_dir_publish(&dir, &err));
		glm_pack_dir_free(&dir);
		assert_int_equal(ck_count(p.dir), publish);
	}
	assert_int_equal(ck_count(p.target), 1);
	ck_close(p.target);
	close_place(&p);
}

/* ---- Sweeping ---- */

static void
link_is_not_swept(void **state)
{
	place p;

	(void) state;
	open_place(&p);
	assert_int_equal(symlink(p.victim, p.stale), 0);
	glm_quantize_sweep(p.target);
	assert_true(exists(p.stale));
	assert_int_equal(unlink(p.stale), 0);
	close_place(&p);
}

static void
links_within_are_removed_alone(void **state)
{
	place p;
	char  path[CK_PATH];

	(void) state;
	open_place(&p);
	assert_int_equal(mkdir(p.stale, 0777), 0);
	ck_path(path, p.stale, "link");
	assert_int_equal(symlink(p.victim, path), 0);
	ck_puts(p.stale, "file", "x");
	glm_quantize_sweep(p.target);
	assert_false(exists(p.stale));

	/* one level deep: a directory in it stays */
	assert_int_equal(mkdir(p.stale, 0777), 0);
	ck_path(path, p.stale, "deeper");
	assert_int_equal(mkdir(path, 0777), 0);
	ck_puts(path, "file", "x");
	glm_quantize_sweep(p.target);
	assert_int_equal(ck_count(path), 1);
	ck_close(path);
	glm_quantize_sweep(p.target);
	close_place(&p);
}

/* Another user's directory of such a name is not ours to empty. */
static void
others_are_not_swept(void **state)
{
	place p;

	(void) state;
	if (geteuid() != 0)
		skip(); /* only root can give a directory away */
	open_place(&p);
	assert_int_equal(mkdir(p.stale, 0777), 0);
	ck_puts(p.stale, "file", "x");
	assert_int_equal(chown(p.stale, 65534, 65534), 0);
	glm_quantize_sweep(p.target);
	assert_int_equal(ck_count(p.stale), 1);
	assert_int_equal(chown(p.stale, 0, 0), 0);
	glm_quantize_sweep(p.target);
	close_place(&p);
}

typedef struct swapper
{
	const place *place;
	atomic_bool	 stop;
	int			 swaps;
} swapper;

/* Makes stale directories, and swaps each with a link to the victim, there and back. */
static void *
swap_on(void *arg)
{
	swapper		*s = arg;
	const place *p = s->place;

	while (!atomic_load(&s->stop))
	{
		mkdir(p->stale, 0777);
		for (int i = 0; i < 4; i++)
			s->swaps += renameat2(AT_FDCWD, p->stale, AT_FDCWD, p->aside, RENAME_EXCHANGE) == 0;
	}
	return NULL;
}

static void
sweep_races_with_swaps(void **state)
{
	place	  p;
	swapper	  s = {.place = &p};
	pthread_t thread;

	(void) state;
	open_place(&p);
	assert_int_equal(symlink(p.victim, p.aside), 0);
	assert_int_equal(pthread_create(&thread, NULL, swap_on, &s), 0);
	for (int i = 0; i < SWEEPS; i++)
		glm_quantize_sweep(p.target);
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	assert_true(s.swaps > 0);
	assert_int_equal(ck_count(p.victim), FILES);
	for (int i = 0; i < 2; i++)
	{
		const char *path = i == 0 ? p.stale : p.aside;

		if (unlink(path) != 0)
			rmdir(path);
	}
	close_place(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(swapped_while_written),
		cmocka_unit_test(replaced_by_a_directory),
		cmocka_unit_test(undisturbed),
		cmocka_unit_test(link_is_not_swept),
		cmocka_unit_test(links_within_are_removed_alone),
		cmocka_unit_test(others_are_not_swept),
		cmocka_unit_test(sweep_races_with_swaps),
	};

	return cmocka_run_group_tests_name("pack_dir", tests, NULL, NULL);
}
