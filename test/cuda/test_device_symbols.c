/*
 * test_device_symbols.c - a driver that lacks a function: what newer ones have is done without,
 * what is needed is named to whoever asks for the device.
 *
 * Each is hidden in turn, in a copy of the driver for tests whose name for it is changed; a driver
 * is loaded once in a process, so each copy has one of its own.
 *
 *     test_device_symbols
 *     test_device_symbols needed NAME | newer NAME    such a process
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda/driver.h"
#include "mock.h"

#define REQUESTS 3
#define TOKENS 12
#define DRIVER "libcuda.so.1"

static const char *const needed[] = {
#define NAME(name, ours, parameters) #name,
	GLM_CUDA_DRIVER(NAME)};
static const char *const newer[] = {GLM_CUDA_DRIVER_NEWER(NAME)};

#define N_NEEDED ((int) (sizeof(needed) / sizeof(needed[0])))
#define N_NEWER ((int) (sizeof(newer) / sizeof(newer[0])))

static const char *hidden;

/* ---- In a process with such a driver -------------------------------------------------------- */

static void
test_needed(void **state)
{
	char		words[128];
	glm_config	config = mock_config("cuda:0", false);
	glm_error	err = {0};
	glm_engine *engine;

	(void) state;
	snprintf(words, sizeof(words),
			 "there is no device \"cuda:0\": " DRIVER " is too old: it has no %s", hidden);
	assert_null(glm_engine_open(&config, &err));
	assert_string_equal(err.message, words);
	assert_int_equal(err.status, GLM_UNSUPPORTED);
	assert_true(err.hint[0] != '\0');
	config.device = "auto";
	engine = mock_engine(&config);
	assert_string_equal(stats_of(engine).device, "CPU");
	assert_non_null(strstr(stats_of(engine).device_why, strstr(words, DRIVER)));
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	glm_engine_close(engine);
}

static void
answer_all(const char *device, char text[REQUESTS][1024])
{
	glm_config	config = mock_config(device, false);
	glm_engine *engine = mock_engine(&config);

	for (int i = 0; i < REQUESTS; i++)
	{
		const answer *a = mock_await(engine, submit(engine, make_request("hello", TOKENS, i == 1)));

		if (a->last.kind != GLM_EVENT_DONE)
			fail_msg("%s: %s", device, a->message);
		snprintf(text[i], sizeof(text[i]), "%.1023s", a->text);
	}
	if (strcmp(device, "cpu") != 0)
	{
		glm_stats stats = stats_of(engine);
		int		  kept, launched;

		/* graphs, but no launches in them that begin early */
		assert_string_equal(stats.device, "mock GPU");
		for (int i = 0; i < stats.n_tuned; i++)
			assert_string_not_equal(stats.tuned[i].what, "dependent launches");
		assert_true(stats.n_tuned > 0);
		assert_int_equal(
			sscanf(stats.tuned[stats.n_tuned - 1].how, "%d kept, launched %d", &kept, &launched),
			2);
		assert_true(kept >= 1 && launched > 0);
	}
	glm_engine_close(engine);
}

static void
test_newer(void **state)
{
	char text[2][REQUESTS][1024];

	(void) state;
	answer_all("cpu", text[0]);
	answer_all("cuda:0", text[1]);
	for (int i = 0; i < REQUESTS; i++)
		assert_string_equal(text[1][i], text[0][i]);
	assert_int_equal(mock_calls("cuLaunchKernelEx"), 0);
	assert_int_equal(mock_in_use(), 0);
}

/* ---- Such drivers ------------------------------------------------------------------------------ */

static char dir[] = "/tmp/chatglm-driver-XXXXXX";

static void
name_copy(char name[128])
{
	snprintf(name, 128, "%s/" DRIVER, dir);
}

/* The driver that this process would load. */
static char *
read_driver(size_t *bytes)
{
	char		name[1024];
	struct stat st;
	FILE	   *f;
	char	   *data;

	assert_non_null(getenv("LD_LIBRARY_PATH"));
	snprintf(name, sizeof(name), "%s/" DRIVER, getenv("LD_LIBRARY_PATH"));
	f = fopen(name, "rb");
	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	*bytes = (size_t) st.st_size;
	data = malloc(*bytes);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, *bytes, f), *bytes);
	fclose(f);
	return data;
}

/* A copy in which a function has another name. */
static void
write_without(const char *function)
{
	size_t bytes, length = strlen(function) + 1;
	char   name[128], *data = read_driver(&bytes);
	int	   found = 0;
	FILE  *f;

	for (size_t i = 1; i + length <= bytes; i++)
		if (data[i - 1] == '\0' && memcmp(data + i, function, length) == 0)
		{
			data[i + length - 2] = '-';
			found++;
		}
	assert_true(found > 0);
	name_copy(name);
	f = fopen(name, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, bytes, f), bytes);
	assert_int_equal(fclose(f), 0);
	free(data);
}

static void
check_without(const char *kind, const char *function)
{
	int	  status;
	pid_t pid;

	write_without(function);
	pid = fork();
	if (pid == 0)
	{
		setenv("LD_LIBRARY_PATH", dir, 1);
		execl("/proc/self/exe", "test_device_symbols", kind, function, (char *) NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("without %s it fails", function);
}

static void
test_each_needed(void **state)
{
	(void) state;
	for (int i = 0; i < N_NEEDED; i++)
		check_without("needed", needed[i]);
}

static void
test_each_newer(void **state)
{
	(void) state;
	for (int i = 0; i < N_NEWER; i++)
		check_without("newer", newer[i]);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest each[] = {cmocka_unit_test(test_each_needed),
									  cmocka_unit_test(test_each_newer)};
	const struct CMUnitTest of_needed[] = {cmocka_unit_test(test_needed)};
	const struct CMUnitTest of_newer[] = {cmocka_unit_test(test_newer)};
	char					name[128];
	int						failed;

	if (argc > 2)
	{
		hidden = argv[2];
		cmocka_set_message_output(CM_OUTPUT_TAP); /* a line or two each */
		mock_backend();
		return strcmp(argv[1], "needed") == 0 ? cmocka_run_group_tests(of_needed, NULL, NULL)
											  : cmocka_run_group_tests(of_newer, NULL, NULL);
	}
	if (mkdtemp(dir) == NULL)
		return 1;
	failed = cmocka_run_group_tests(each, NULL, NULL);
	name_copy(name);
	unlink(name);
	rmdir(dir);
	return failed;
}
