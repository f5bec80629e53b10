/*
 * measure.h - what the machine can do, and what a pass of a model asks of it.
 *
 * For programs of one file each, hence functions in a header.  Bandwidth moves
 * from second to second on shared machines, so it is measured right before and
 * after what is set against it.
 */
#ifndef GLM_BENCH_MEASURE_H
#define GLM_BENCH_MEASURE_H

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/serve/engine.h"
#include "engine/weights/packed.h"

#define MAX_RUNS 32
#define READ_BYTES ((size_t) 1 << 30)
#define CHAINS 12
#define PEAK_STEPS 2000000
#define DPBUSD_OPS 128 /* 64 products and as many sums */

static double
now(void)
{
	return (double) glm_now_ns() / 1e9;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;

	return (x > y) - (x < y);
}

static double
median(double *x, int n)
{
	qsort(x, (size_t) n, sizeof(*x), compare);
	return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* ---- The command line ----------------------------------------------------- */

typedef struct options
{
	int			threads;
	const char *kernels;
	int			runs; /* of each work, at most MAX_RUNS */
	bool		untuned;
	bool		files_pages;
} options;

/* [-t threads] [-k kernels] [-r runs] [-u] model-directory work...; optind is that of the directory. */
static bool
read_options(options *o, int argc, char **argv)
{
	int option;

	*o = (options){.threads = 2, .kernels = "auto", .runs = 5};
	while ((option = getopt(argc, argv, "t:k:r:uf")) != -1)
	{
		if (option == 't')
			o->threads = atoi(optarg);
		else if (option == 'k')
			o->kernels = optarg;
		else if (option == 'r')
			o->runs = atoi(optarg);
		else if (option == 'u')
			o->untuned = true;
		else if (option == 'f')
			o->files_pages = true;
		else
			return false;
	}
	return optind < argc && o->runs >= 1 && o->runs <= MAX_RUNS;
}

/* ---- The machine's limits ------------------------------------------------- */

/*
 * No one way to read is the fastest everywhere: some machines read on by themselves before one who
 * goes straight on, others want to be asked, in several places at once.  Asking costs nothing where
 * it does not help, so the limit is what the best of these reaches.
 */
typedef struct read_way
{
	int parts; /* of each thread's share, read side by side */
	int ahead; /* bytes fetched before their turn, 0: none */
} read_way;

static const read_way read_ways[] = {{1, 0}, {1, 4096}, {4, 0}, {4, 2048}, {8, 4096}};

#define READ_WAYS (int) (sizeof(read_ways) / sizeof(read_ways[0]))
#define READ_TRIES 5

static const uint8_t   *memory; /* [READ_BYTES] */
static _Atomic uint64_t sink;

typedef uint64_t read_vector __attribute__((vector_size(32)));

/* Four lines from each part, from the first to the last. */
#if defined(__x86_64__)
__attribute__((target("avx2")))
#endif
static void
read_share(void *arg, int index, int count)
{
	const read_way *way = arg;
	const size_t	share = READ_BYTES / (size_t) count, part = share / (size_t) way->parts;
	const uint8_t  *from = memory + share * (size_t) index;
	read_vector		sum[4] = {{0}};

	for (size_t at = 0; at + 256 <= part; at += 256)
		for (int p = 0; p < way->parts; p++)
			for (int line = 0; line < 4; line++)
			{
				const uint8_t	  *place = from + (size_t) p * part + at + line * 64;
				const read_vector *half = (const read_vector *) place;

				if (way->ahead > 0)
					__builtin_prefetch(place + way->ahead, 0, 2);
				sum[line] += half[0] + half[1];
			}
	sum[0] += sum[1] + sum[2] + sum[3];
	sink += sum[0][0] + sum[0][1] + sum[0][2] + sum[0][3];
}

static void
make_memory(void)
{
	void *p = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		exit(1);
	madvise(p, READ_BYTES, MADV_HUGEPAGE);
	memset(p, 1, READ_BYTES);
	memory = p;
}

/* GB/s that all threads read this way: `passes` over a gigabyte, as a mean, for what is set beside it is one. */
static double
bandwidth_of(glm_threads *pool, const read_way *way, int passes)
{
	read_way copy = *way;
	double	 begin = now();

	for (int i = 0; i < passes; i++)
		glm_threads_run(pool, read_share, &copy);
	return passes * (double) READ_BYTES / (now() - begin) / 1e9;
}

/* The fastest way here: all take turns, and medians count. */
static const read_way *
best_way(glm_threads *pool)
{
	double rate[READ_WAYS][READ_TRIES], most = 0;
	int	   best = 0;

	for (int i = 0; i < READ_TRIES; i++)
		for (int w = 0; w < READ_WAYS; w++)
			rate[w][i] = bandwidth_of(pool, &read_ways[w], 1);
	for (int w = 0; w < READ_WAYS; w++)
	{
		double rate_of_way = median(rate[w], READ_TRIES);

		best = rate_of_way > most ? w : best;
		most = rate_of_way > most ? rate_of_way : most;
	}
	return &read_ways[best];
}

/* GB/s that all threads read at this moment. */
static double
bandwidth(glm_threads *pool)
{
	static const read_way *way;

	if (memory == NULL)
	{
		make_memory();
		way = best_way(pool);
	}
	return bandwidth_of(pool, way, 2);
}

#if defined(__x86_64__)
/* Independent chains of `step`, which may use register 15, in vectors of so many bytes. */
#define DEFINE_CHAINS(name, isa, bytes, step)                                                      \
	__attribute__((target(isa))) static void name(void *arg, int index, int count)                 \
	{                                                                                              \
		typedef int vector __attribute__((vector_size(bytes)));                                    \
		vector		acc[CHAINS] = {{0}}, x = {0};                                                  \
                                                                                                   \
		(void) arg;                                                                                \
		(void) index;                                                                              \
		(void) count;                                                                              \
		for (int i = 0; i < PEAK_STEPS; i++)                                                       \
		{                                                                                          \
			_Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++)                              \
			{                                                                                      \
				__asm__(step : "+v"(acc[c]) : "v"(x) : "xmm15");                                   \
			}                                                                                      \
		}                                                                                          \
		_Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++)                                  \
		{                                                                                          \
			sink += (uint64_t) acc[c][0];                                                          \
		}                                                                                          \
	}

DEFINE_CHAINS(vnni_part, "avx512f,avx512vnni", 64, "vpdpbusd %1, %1, %0")
DEFINE_CHAINS(avx2_part, "avx2", 32, "vpmaddubsw %1, %1, %%ymm15\n\tvpaddw %%ymm15, %0, %0")

/*
 * GOP/s of 8-bit products and their sums: of 512 bits by vpdpbusd, without it of 256 bits by
 * vpmaddubsw and vpaddw; 0 where there are neither.
 */
static double
product_peak(glm_threads *pool)
{
	bool   vnni = __builtin_cpu_supports("avx512vnni");
	double best = 0;

	if (!vnni && !__builtin_cpu_supports("avx2"))
		return 0;
	for (int i = 0; i < 3; i++)
	{
		double begin = now(), rate;

		glm_threads_run(pool, vnni ? vnni_part : avx2_part, NULL);
		rate = (double) CHAINS * PEAK_STEPS * (vnni ? DPBUSD_OPS : DPBUSD_OPS / 2) *
			   glm_threads_count(pool) / (now() - begin) / 1e9;
		best = rate > best ? rate : best;
	}
	return best;
}
#else
static double
product_peak(glm_threads *pool)
{
	(void) pool;
	return 0;
}
#endif

/* ---- A model's demands ------------------------------------------------------ */

static void
tensor_work(const glm_tensor *t, double *ops, double *bytes)
{
	size_t rows = (size_t) t->shape[0], cols = (size_t) t->shape[1];

	*ops += 2.0 * (double) rows * (double) cols;
	*bytes += (double) glm_tensor_bytes(t);
}

/* Operations of one token's products, the head's among them if it is computed, and bytes of all weights. */
static void
model_work(const glm_model *model, bool head, double *ops, double *bytes)
{
	double none = 0;

	*ops = *bytes = 0;
	for (int i = 0; i < model->n_matrices; i++)
	{
		const glm_matrix *m = &model->matrix[i];

		if (m->projection != GLM_EMBEDDING)
			tensor_work(&m->tensor, head || m->projection != GLM_HEAD ? ops : &none, bytes);
	}
}

#endif /* GLM_BENCH_MEASURE_H */
