/*
 * forward.c - passes of a packed model beside what the machine could do.
 *
 * Prefill of long prompts is set against the peak of 8-bit multiply-adds, decode
 * of 1, 2, 4, ... sequences against the read bandwidth: each measured by this
 * program, bandwidth right before and after every decode, because it moves from
 * second to second on shared machines.  Prints one JSON object a line; bench.py
 * makes a table and a picture of them.
 *
 *     forward [-t threads] [-k kernels] [-r runs] [-u] [-f] model-directory work...
 *
 * -u: untuned.  -f: weights are read from the file's pages, not from huge ones.  work: decode:SEQUENCES (1 to 16) or prefill:TOKENS (1 to 2048).
 */
#include "measure.h"

#define MAX_ROWS 512 /* of a pass */
#define MAX_SEQUENCES 16
#define MAX_PROMPT 2048
#define DECODE_FROM 128 /* positions in the KV before a decode step */
#define STEPS 4			/* a run */
#define WARM_STEPS 8	/* in which the device finds out how to read weights */

static glm_threads *pool;
static glm_model   *model;
static glm_weights *weights;
static glm_rows		rows;
static glm_forward *forward;
static glm_kv_table kv[MAX_SEQUENCES];
static int			runs;

static void
die(const glm_error *err)
{
	fprintf(stderr, "forward: %s\n", err->message);
	exit(1);
}

/* ---- Passes ---------------------------------------------------------------- */

/* Runs what is in `rows`. */
static void
run(void)
{
	glm_results results;
	glm_error	err = {0};

	if (!glm_forward_run(forward, model, weights, &rows.pass, NULL, &results, &err))
		die(&err);
}

/* Seconds to prefill `length` tokens in passes of MAX_ROWS, with logits of the last. */
static double
prefill(int length)
{
	double begin = now();

	for (int done = 0; done < length; done += MAX_ROWS)
	{
		int end = length - done < MAX_ROWS ? length : done + MAX_ROWS;

		glm_rows_clear(&rows);
		glm_rows_begin(&rows, &kv[0]);
		for (int i = done; i < end; i++)
			glm_rows_add(&rows, i * 7 % 900, i,
						 i + 1 == length ? GLM_WANT_LOGITS : GLM_WANT_NOTHING);
		run();
	}
	return now() - begin;
}

static double
decode(int sequences, int position)
{
	double begin = now();

	glm_rows_clear(&rows);
	for (int i = 0; i < sequences; i++)
	{
		glm_rows_begin(&rows, &kv[i]);
		glm_rows_add(&rows, (position + i * 31) % 900, position, GLM_WANT_LOGITS);
	}
	run();
	return now() - begin;
}

/* ---- Figures ----------------------------------------------------------------- */

static void
report_prefill(int length)
{
	double ops, bytes, seconds[MAX_RUNS], peak = product_peak(pool);

	model_work(model, false, &ops, &bytes);
	prefill(length);
	for (int i = 0; i < runs; i++)
		seconds[i] = prefill(length);
	median(seconds, runs);
	printf("{\"work\": \"prefill\", \"tokens\": %d, \"tokens_per_second\": %.2f, \"least\": %.2f, "
		   "\"most\": %.2f, "
		   "\"gops\": %.0f, \"peak_gops\": %.0f, \"share\": %.3f}\n",
		   length, length / seconds[runs / 2], length / seconds[runs - 1], length / seconds[0],
		   ops * length / seconds[runs / 2] / 1e9, peak,
		   peak > 0 ? ops * length / seconds[runs / 2] / 1e9 / peak : 0);
	fflush(stdout);
}

static void
report_decode(int sequences)
{
	double ops, bytes, share[STEPS * MAX_RUNS], seconds[STEPS * MAX_RUNS], read[STEPS * MAX_RUNS];
	int	   position = DECODE_FROM, n = runs * STEPS;

	model_work(model, true, &ops, &bytes);
	for (int i = 0; i < WARM_STEPS; i++)
		decode(sequences, position++);
	for (int i = 0; i < n; i++)
	{
		double before = bandwidth(pool);

		seconds[i] = decode(sequences, position++);
		read[i] = (before + bandwidth(pool)) / 2;
		share[i] = bytes / seconds[i] / 1e9 / read[i];
	}
	median(share, n);
	median(read, n);
	median(seconds, n);
	printf("{\"work\": \"decode\", \"sequences\": %d, \"tokens_per_second\": %.2f, \"least\": "
		   "%.2f, \"most\": %.2f, "
		   "\"gb_per_second\": %.1f, \"bandwidth\": %.1f, \"share\": %.3f, \"gops\": %.0f, "
		   "\"gigabytes\": %.3f, \"gop\": %.2f}\n",
		   sequences, sequences / seconds[n / 2], sequences / seconds[n - 1],
		   sequences / seconds[0], bytes / seconds[n / 2] / 1e9, read[n / 2], share[n / 2],
		   (ops * sequences) / seconds[n / 2] / 1e9, bytes / 1e9, ops / 1e9);
	fflush(stdout);
}

/* The model's pages are the kernel's; what counts is what the process has beside them. */
static void
report_memory(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char  line[256];
	long  peak = 0, anonymous = 0;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
	{
		sscanf(line, "VmHWM: %ld", &peak);
		sscanf(line, "RssAnon: %ld", &anonymous);
	}
	if (f != NULL)
		fclose(f);
	printf("{\"work\": \"memory\", \"peak_resident_mb\": %.0f, \"anonymous_mb\": %.0f, "
		   "\"of_it_for_bandwidth_mb\": %.0f}\n",
		   (double) peak / 1e3, (double) anonymous / 1e3, (double) READ_BYTES / 1e6);
}

/* How the device came to read weights, and what finding out took. */
static void
report_tuning(void)
{
	glm_tuned tuned[GLM_TUNED_MAX];
	uint64_t  cost_ns;
	int		  n = glm_forward_tuned(forward, tuned, GLM_TUNED_MAX, &cost_ns);

	printf("{\"work\": \"tuning\", \"cost_ms\": %.1f", (double) cost_ns / 1e6);
	for (int i = 0; i < n; i++)
		printf(", \"%s\": \"%s\"", tuned[i].what, tuned[i].how);
	printf("}\n");
}

static void
open_all(const char *dir, int threads, const char *kernels, bool files_pages)
{
	glm_forward_options options = {.kernels = kernels, .max_rows = MAX_ROWS};
	glm_error			err = {0};
	int					blocks = MAX_PROMPT / GLM_KV_BLOCK + 2;
	glm_kv_pool		   *kv_pool;

	options.pool = pool = glm_threads_open(threads, &err);
	model = pool != NULL ? glm_model_open("bench", dir, &err) : NULL;
	forward = model != NULL ? glm_forward_open(&options, &err) : NULL;
	if (forward == NULL || !glm_forward_prepare(forward, 0, model, &err) ||
		!glm_rows_reserve(&rows, MAX_ROWS, (size_t) (blocks + MAX_SEQUENCES * 12), &err))
		die(&err);
	weights = glm_forward_load(forward, 0, model, &err);
	if (weights == NULL)
		die(&err);
	if (!files_pages && !glm_shards_settle(model->shards, &err))
		die(&err);
	kv_pool =
		glm_kv_pool_open((size_t) (blocks + MAX_SEQUENCES * 12) * (model->kv_block_bytes + 262144));
	if (kv_pool == NULL || !glm_forward_kv_pool(forward, 0, glm_kv_pool_total(kv_pool), &err))
		die(&err);
	for (int i = 0; i < MAX_SEQUENCES; i++)
		if (!glm_kv_take(kv_pool, model->kv_block_bytes, i == 0 ? blocks : 12, &kv[i]))
			exit(1);
}

/* "decode:4", "prefill:512" */
static bool
report(const char *work)
{
	int n;

	if (sscanf(work, "decode:%d", &n) == 1 && n >= 1 && n <= MAX_SEQUENCES)
		report_decode(n);
	else if (sscanf(work, "prefill:%d", &n) == 1 && n >= 1 && n <= MAX_PROMPT)
		report_prefill(n);
	else
		return false;
	return true;
}

int
main(int argc, char **argv)
{
	options			o;
	glm_device_info info;

	if (!read_options(&o, argc, argv))
		return 2;
	runs = o.runs;
	open_all(argv[optind], o.threads, o.kernels, o.files_pages);
	glm_forward_set_tuning(forward, !o.untuned);
	glm_forward_info(forward, 0, &info);
	printf("{\"work\": \"machine\", \"kernels\": \"%s\", \"threads\": %d, \"bandwidth\": %.1f, "
		   "\"peak_gops\": %.0f}\n",
		   info.kernels, o.threads, bandwidth(pool), product_peak(pool));
	for (int i = optind + 1; i < argc; i++)
		if (!report(argv[i]))
			return 2;
	report_tuning();
	report_memory();
	return 0;
}
