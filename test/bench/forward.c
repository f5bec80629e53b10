/*
 * forward.c - passes of a packed model beside what the machine could do.
 *
 * Prefill of long prompts is set against the peak of 8-bit multiply-adds, decode
 * of 1, 2, 4, ... sequences against the read bandwidth: each measured by this
 * program, bandwidth right before and after every decode, because it moves from
 * second to second on shared machines.  Prints one JSON object a line; bench.py
 * makes a table and a picture of them.
 *
 *     forward [-t threads] [-k kernels] [-r runs] model-directory work...
 *
 * work: decode:SEQUENCES (1 to 16) or prefill:TOKENS (1 to 2048).
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "engine/engine.h"
#include "engine/packed.h"

#define MAX_ROWS 512			/* of a pass */
#define MAX_SEQUENCES 16
#define MAX_PROMPT 2048
#define MAX_RUNS 32
#define DECODE_FROM 128			/* positions in the KV before a decode step */
#define READ_BYTES ((size_t) 1 << 30)
#define CHAINS 12
#define PEAK_STEPS 2000000
#define DPBUSD_OPS 128			/* 64 products and as many sums */

static glm_threads *pool;
static glm_model *model;
static glm_forward *forward;
static glm_kv_table kv[MAX_SEQUENCES];
static int	runs = 5;

static double
now(void)
{
	return (double) glm_now_ns() / 1e9;
}

static void
die(const glm_error *err)
{
	fprintf(stderr, "forward: %s\n", err->message);
	exit(1);
}

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	return (x > y) - (x < y);
}

static double
median(double *x, int n)
{
	qsort(x, (size_t) n, sizeof(*x), compare);
	return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* ---- The machine's limits ------------------------------------------------- */

static const uint64_t *memory;	/* [READ_BYTES / 8] */
static _Atomic uint64_t sink;

#if defined(__x86_64__)
__attribute__((target("avx2")))
#endif
static void
read_part(void *arg, int index, int count)
{
	typedef uint64_t vector __attribute__((vector_size(32)));
	size_t		vectors = READ_BYTES / sizeof(vector);
	const vector *from = (const vector *) memory + vectors * (size_t) index / (size_t) count;
	const vector *to = (const vector *) memory + vectors * ((size_t) index + 1) / (size_t) count;
	vector		sum[4] = {{0}};

	(void) arg;
	for (; from + 4 <= to; from += 4)
		for (int i = 0; i < 4; i++)
			sum[i] += from[i];
	sum[0] += sum[1] + sum[2] + sum[3];
	sink += sum[0][0] + sum[0][1] + sum[0][2] + sum[0][3];
}

/* GB/s that all threads read, the better of two passes over a gigabyte. */
static double
bandwidth(void)
{
	double		best = 0;

	if (memory == NULL)
	{
		void	   *p = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			exit(1);
		madvise(p, READ_BYTES, MADV_HUGEPAGE);
		memset(p, 1, READ_BYTES);
		memory = p;
	}
	for (int i = 0; i < 2; i++)
	{
		double		begin = now(),
					rate;

		glm_threads_run(pool, read_part, NULL);
		rate = (double) READ_BYTES / (now() - begin) / 1e9;
		best = rate > best ? rate : best;
	}
	return best;
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512vnni")))
static void
peak_part(void *arg, int index, int count)
{
	typedef int vector __attribute__((vector_size(64)));
	vector		acc[CHAINS] = {{0}},
				x = {0};

	(void) arg;
	(void) index;
	(void) count;
	for (int i = 0; i < PEAK_STEPS; i++)
	{
#pragma GCC unroll 12
		for (int c = 0; c < CHAINS; c++)
			__asm__("vpdpbusd %1, %1, %0" : "+v"(acc[c]) : "v"(x));
	}
#pragma GCC unroll 12
	for (int c = 0; c < CHAINS; c++)
		sink += (uint64_t) acc[c][0];
}

/* GOP/s of 8-bit products and sums in 512 bits; 0 where there are none. */
static double
vnni_peak(void)
{
	double		best = 0;

	if (!__builtin_cpu_supports("avx512vnni"))
		return 0;
	for (int i = 0; i < 3; i++)
	{
		double		begin = now(),
					rate;

		glm_threads_run(pool, peak_part, NULL);
		rate = (double) CHAINS * PEAK_STEPS * DPBUSD_OPS * glm_threads_count(pool) /
			(now() - begin) / 1e9;
		best = rate > best ? rate : best;
	}
	return best;
}
#else
static double
vnni_peak(void)
{
	return 0;
}
#endif

/* ---- Passes ---------------------------------------------------------------- */

static void
run(const glm_row *rows, int n)
{
	float	   *logits;
	glm_error	err = {0};

	if (!glm_forward_run(forward, model, rows, n, &logits, &err))
		die(&err);
}

/* Seconds to prefill `length` tokens in passes of MAX_ROWS, with logits of the last. */
static double
prefill(int length)
{
	static glm_row rows[MAX_ROWS];
	double		begin = now();

	for (int done = 0; done < length; done += MAX_ROWS)
	{
		int			n = length - done < MAX_ROWS ? length - done : MAX_ROWS;

		for (int i = 0; i < n; i++)
			rows[i] = (glm_row) {(done + i) * 7 % 900, done + i, &kv[0], done + i + 1 == length};
		run(rows, n);
	}
	return now() - begin;
}

static double
decode(int sequences, int position)
{
	glm_row		rows[MAX_SEQUENCES];
	double		begin = now();

	for (int i = 0; i < sequences; i++)
		rows[i] = (glm_row) {(position + i * 31) % 900, position, &kv[i], true};
	run(rows, sequences);
	return now() - begin;
}

/* ---- Figures ----------------------------------------------------------------- */

static void
tensor_work(const glm_tensor *t, double *ops, double *bytes)
{
	size_t		rows = (size_t) t->shape[0],
				cols = (size_t) t->shape[1];

	*ops += 2.0 * (double) rows * (double) cols;
	*bytes += glm_is_packed(t->dtype) ?
		(double) glm_packed_bytes(t->dtype, rows, cols, (size_t) t->group) :
		(double) (rows * cols) * (t->dtype == GLM_F32 ? 4 : 2);
}

/* Operations of one token's products, the head's among them if it is computed, and bytes of all weights. */
static void
model_work(bool head, double *ops, double *bytes)
{
	double		head_ops = 0;

	*ops = *bytes = 0;
	for (int i = 0; i < model->config.layers; i++)
	{
		tensor_work(&model->layer[i].qkv, ops, bytes);
		tensor_work(&model->layer[i].dense, ops, bytes);
		tensor_work(&model->layer[i].gate_up, ops, bytes);
		tensor_work(&model->layer[i].down, ops, bytes);
	}
	tensor_work(&model->output, &head_ops, bytes);
	*ops += head ? head_ops : 0;
}

static void
report_prefill(int length)
{
	double		ops,
				bytes,
				seconds[MAX_RUNS],
				peak = vnni_peak();

	model_work(false, &ops, &bytes);
	prefill(length);
	for (int i = 0; i < runs; i++)
		seconds[i] = prefill(length);
	median(seconds, runs);
	printf("{\"work\": \"prefill\", \"tokens\": %d, \"tokens_per_second\": %.2f, \"least\": %.2f, \"most\": %.2f, "
		   "\"gops\": %.0f, \"vnni_peak_gops\": %.0f, \"share\": %.3f}\n",
		   length, length / seconds[runs / 2], length / seconds[runs - 1], length / seconds[0],
		   ops * length / seconds[runs / 2] / 1e9, peak,
		   peak > 0 ? ops * length / seconds[runs / 2] / 1e9 / peak : 0);
	fflush(stdout);
}

static void
report_decode(int sequences)
{
	double		ops,
				bytes,
				share[MAX_RUNS],
				seconds[MAX_RUNS],
				read[MAX_RUNS];
	int			position = DECODE_FROM;

	model_work(true, &ops, &bytes);
	decode(sequences, position++);
	for (int i = 0; i < runs; i++)
	{
		double		before = bandwidth(),
					total = 0;
		const int	steps = 4;

		for (int s = 0; s < steps; s++)
			total += decode(sequences, position++);
		seconds[i] = total / steps;
		read[i] = (before + bandwidth()) / 2;
		share[i] = bytes / seconds[i] / 1e9 / read[i];
	}
	median(share, runs);
	median(read, runs);
	median(seconds, runs);
	printf("{\"work\": \"decode\", \"sequences\": %d, \"tokens_per_second\": %.2f, \"least\": %.2f, \"most\": %.2f, "
		   "\"gb_per_second\": %.1f, \"bandwidth\": %.1f, \"share\": %.3f, \"gops\": %.0f, \"gigabytes\": %.3f, \"gop\": %.2f}\n",
		   sequences, sequences / seconds[runs / 2], sequences / seconds[runs - 1], sequences / seconds[0],
		   bytes / seconds[runs / 2] / 1e9, read[runs / 2], share[runs / 2],
		   (ops * sequences) / seconds[runs / 2] / 1e9, bytes / 1e9, ops / 1e9);
	fflush(stdout);
}

/* The model's pages are the kernel's; what counts is what the process has beside them. */
static void
report_memory(void)
{
	FILE	   *f = fopen("/proc/self/status", "r");
	char		line[256];
	long		peak = 0,
				anonymous = 0;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
	{
		sscanf(line, "VmHWM: %ld", &peak);
		sscanf(line, "RssAnon: %ld", &anonymous);
	}
	if (f != NULL)
		fclose(f);
	printf("{\"work\": \"memory\", \"peak_resident_mb\": %.0f, \"anonymous_mb\": %.0f, \"of_it_for_bandwidth_mb\": %.0f}\n",
		   (double) peak / 1e3, (double) anonymous / 1e3, (double) READ_BYTES / 1e6);
}

static void
open_all(const char *dir, int threads, const char *kernels)
{
	glm_error	err = {0};
	int			blocks = MAX_PROMPT / GLM_KV_BLOCK + 2;
	glm_kv_pool *kv_pool;

	pool = glm_threads_open(threads, &err);
	model = pool != NULL ? glm_model_open("bench", dir, &err) : NULL;
	forward = model != NULL ? glm_forward_open(kernels, pool, MAX_ROWS, &err) : NULL;
	if (forward == NULL || !glm_forward_prepare(forward, model, &err))
		die(&err);
	kv_pool = glm_kv_pool_open((size_t) (blocks + MAX_SEQUENCES * 12) * (model->kv_block_bytes + 262144));
	for (int i = 0; i < MAX_SEQUENCES; i++)
		if (kv_pool == NULL || !glm_kv_take(kv_pool, model->kv_block_bytes, i == 0 ? blocks : 12, &kv[i]))
			exit(1);
}

/* "decode:4", "prefill:512" */
static bool
report(const char *work)
{
	int			n;

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
	int			threads = 2,
				option;
	const char *kernels = "auto";

	while ((option = getopt(argc, argv, "t:k:r:")) != -1)
	{
		if (option == 't')
			threads = atoi(optarg);
		else if (option == 'k')
			kernels = optarg;
		else if (option == 'r')
			runs = atoi(optarg);
		else
			return 2;
	}
	if (optind >= argc || runs < 1 || runs > MAX_RUNS)
		return 2;
	open_all(argv[optind], threads, kernels);
	printf("{\"work\": \"machine\", \"kernels\": \"%s\", \"threads\": %d, \"bandwidth\": %.1f, \"vnni_peak_gops\": %.0f}\n",
		   glm_forward_kernels(forward), threads, bandwidth(), vnni_peak());
	for (int i = optind + 1; i < argc; i++)
		if (!report(argv[i]))
			return 2;
	report_memory();
	return 0;
}
