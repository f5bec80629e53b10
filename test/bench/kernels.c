/*
 * kernels.c - how near the arithmetic comes to what the machine can do.
 *
 * Three tables: the fp32 matrix product in GFLOP/s beside the peak of fused
 * multiply-adds measured by the same program, attention over long contexts
 * beside the time its bytes and multiply-adds take, and forward passes of a
 * model at 1, 2, 4, ... rows.  Every figure is the best of several runs, as the
 * machine may have others to serve.
 *
 *     kernels [-t threads] [-k kernels] [-a] [-r rows] [model directory]
 *
 * -a: nothing but attention; -r: nothing but passes of so many rows, for a profiler.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/compute/backend_cpu.h"
#include "engine/serve/engine.h"

#define RUN_SECONDS 0.5 /* for one figure */

static glm_threads *pool;
static glm_device  *device;
static double		peak; /* GFLOP/s of all threads */

/* ---- Time ------------------------------------------------------------------ */

typedef void (*body)(void *arg);

/* Seconds of the fastest of the calls that fit into RUN_SECONDS, at least five. */
static double
fastest(body run, void *arg)
{
	double	best = 1e9;
	int64_t start = glm_now_ns();

	for (int i = 0; i < 5 || (double) (glm_now_ns() - start) < RUN_SECONDS * 1e9; i++)
	{
		int64_t begin = glm_now_ns();
		double	seconds;

		run(arg);
		seconds = (double) (glm_now_ns() - begin) / 1e9;
		best = seconds < best ? seconds : best;
	}
	return best;
}

static void
fill(float *x, size_t n)
{
	uint32_t bits = 1;

	for (size_t i = 0; i < n; i++)
	{
		bits = bits * 1664525 + 1013904223;
		x[i] = (float) (int32_t) bits * 0x1p-31f;
	}
}

static float *
random_floats(size_t n)
{
	float *x = glm_backend_cpu.alloc(device, n);

	if (x == NULL)
		exit(1);
	fill(x, n);
	return x;
}

/* ---- The peak -------------------------------------------------------------- */

#define CHAINS 12 /* registers for all, twice the latency and more */
#define PEAK_STEPS 20000

#define DEFINE_PEAK(name, bytes, attributes)                                                       \
	typedef float		   name##_vector __attribute__((vector_size(bytes)));                      \
	attributes static void name(void *arg)                                                         \
	{                                                                                              \
		name##_vector acc[CHAINS] = {{0}}, x = {0}, *out = arg;                                    \
                                                                                                   \
		for (int i = 0; i < PEAK_STEPS; i++)                                                       \
			_Pragma("GCC unroll 16") for (int c = 0; c < CHAINS; c++)                              \
			{                                                                                      \
				acc[c] = acc[c] * x + x;                                                           \
				__asm__ volatile("" : VECTOR_REGISTER(acc[c]));                                    \
			}                                                                                      \
		_Pragma("GCC unroll 16") for (int c = 0; c < CHAINS; c++) *out += acc[c];                  \
	}

#if defined(__x86_64__)
#define VECTOR_REGISTER(v) "+v"(v)
DEFINE_PEAK(peak_avx512, 64, __attribute__((target("avx512f,fma"))))
DEFINE_PEAK(peak_avx2, 32, __attribute__((target("avx2,fma"))))
#else
#define VECTOR_REGISTER(v) "+w"(v)
DEFINE_PEAK(peak_neon, 16, )
#endif

typedef struct peak_run
{
	void (*chains)(void *out);
} peak_run;

static void
peak_part(void *arg, int index, int count)
{
	_Alignas(64) float out[16] = {0};
	(void) index;
	(void) count;
	((peak_run *) arg)->chains(out);
}

static void
peak_all(void *arg)
{
	glm_threads_run(pool, peak_part, arg);
}

static double
measure_peak(void)
{
	peak_run run;
	int		 lanes;

#if defined(__x86_64__)
	if (strcmp(device->kernels->name, "avx512") == 0)
		run.chains = peak_avx512, lanes = 16;
	else
		run.chains = peak_avx2, lanes = 8;
#else
	run.chains = peak_neon, lanes = 4;
#endif
	return 2.0 * lanes * CHAINS * PEAK_STEPS * glm_threads_count(pool) / fastest(peak_all, &run) /
		   1e9;
}

/* ---- Matrix products ------------------------------------------------------- */

typedef struct product
{
	glm_tensor w;
	float	  *a, *c;
	int		   m;
} product;

static void
multiply(void *arg)
{
	product *p = arg;

	glm_cpu_matmul(device, p->c, p->a, (size_t) p->w.shape[1], &p->w, NULL, p->m);
}

static void
products(void)
{
	static const int	   rows[] = {1, 2, 3, 4, 8, 16, 32, 64, 256};
	static const int	   shape[][2] = {{320, 192}, {1024, 192}, {192, 512}, {4096, 4096}};
	static const glm_dtype dtypes[] = {GLM_F16, GLM_F32};
	static const char	  *names[] = {"F16", "F32"};

	printf("\nproducts, GFLOP/s      M =");
	for (size_t m = 0; m < sizeof(rows) / sizeof(rows[0]); m++)
		printf("%8d", rows[m]);
	for (size_t s = 0; s < sizeof(shape) / sizeof(shape[0]); s++)
		for (int t = 0; t < 2; t++)
		{
			int		n = shape[s][0], k = shape[s][1];
			product p = {.w = {.dtype = dtypes[t], .n_dims = 2, .shape = {n, k}}};

			p.w.data = random_floats((size_t) n * (size_t) k);
			if (dtypes[t] == GLM_F16) /* any F16 but NaNs, infinities, subnormals */
				for (size_t i = 0; i < (size_t) n * (size_t) k; i++)
					((uint16_t *) p.w.data)[i] =
						(uint16_t) (((uint16_t *) p.w.data)[i] % 0x2000 + 0x2000);
			p.a = random_floats(256 * (size_t) k);
			p.c = random_floats(256 * (size_t) n);
			printf("\n%5d x %-5d %-3s         ", n, k, names[t]);
			for (size_t m = 0; m < sizeof(rows) / sizeof(rows[0]); m++)
			{
				p.m = rows[m];
				printf("%8.1f", 2.0 * p.m * n * k / fastest(multiply, &p) / 1e9);
				fflush(stdout);
			}
			free((void *) p.w.data);
			free(p.a);
			free(p.c);
		}
	printf("\n");
}

/* ---- Attention ------------------------------------------------------------- */

#define LONGEST 32768
#define PROMPT_ROWS 64

typedef struct attention
{
	glm_model model; /* one layer of ChatGLM3-6B's shape */
	glm_row	  row[PROMPT_ROWS];
	float	 *qkv, *out;
	int		  n;
} attention;

static void
attend(void *arg)
{
	attention *a = arg;

	glm_cpu_attention(device, &a->model, 0, a->out, a->qkv, a->row, a->n);
}

static const char *const kv_names[] = {[GLM_F32] = "F32", [GLM_F16] = "F16", [GLM_I8] = "I8 "};

/* One layer at the end of a context: one decoding row, or the last rows of a prompt. */
static void
attention_line(attention *a, const glm_kv_table *kv, int context, int n)
{
	const glm_model_config *c = &a->model.config;
	double bytes = (double) glm_kv_block_bytes(c, a->model.kv_dtype) / GLM_KV_BLOCK * context;
	double flop = 4.0 * n * context * c->heads * c->head_dim;
	double seconds;

	a->n = n;
	for (int i = 0; i < n; i++)
		a->row[i] = (glm_row){.position = context - n + i, .kv = kv};
	seconds = fastest(attend, a);
	printf("%5d %8d  %s %9.1f %8.1f %9.1f %5.0f %%\n", n, context, kv_names[a->model.kv_dtype],
		   seconds * 1e6, bytes / seconds / 1e9, flop / seconds / 1e9,
		   100 * flop / seconds / 1e9 / peak);
}

static void
attentions(void)
{
	static const int	   contexts[] = {512, 2048, 8192, LONGEST};
	static const glm_dtype dtypes[] = {GLM_F32, GLM_F16, GLM_I8};
	attention			   a = {.model.config = {.layers = 1,
												 .heads = 32,
												 .groups = 2,
												 .head_dim = 128,
												 .rotary = 64,
												 .context = LONGEST}};
	glm_kv_table		   kv = {.n_blocks = LONGEST / GLM_KV_BLOCK};
	size_t	  bytes = glm_kv_block_bytes(&a.model.config, GLM_F32) * (size_t) kv.n_blocks;
	float	 *memory;
	glm_error err;

	kv.block = calloc((size_t) kv.n_blocks, sizeof(*kv.block));
	a.qkv = random_floats(PROMPT_ROWS * 36 * 128);
	a.out = random_floats(PROMPT_ROWS * 32 * 128);
	memory = glm_backend_cpu.kv_pool(device, bytes, &err);
	if (kv.block == NULL || memory == NULL || !glm_backend_cpu.prepare(device, &a.model, &err))
		exit(1);
	fill(memory, bytes / sizeof(float));
	for (int i = 0; i < kv.n_blocks; i++)
		kv.block[i] = (uint32_t) ((size_t) i * (bytes / (size_t) kv.n_blocks) / GLM_KV_UNIT);
	printf("\nattention, a layer of 32 heads in 2 groups\n rows  context   KV        us     GB/s  "
		   "GFLOP/s  of peak\n");
	for (size_t t = 0; t < sizeof(dtypes) / sizeof(dtypes[0]); t++)
	{
		a.model.kv_dtype = dtypes[t];
		/* small numbers of any sign, none a NaN, whatever is read from them: halves, or codes and scales */
		for (size_t i = 0; i < bytes / sizeof(uint16_t) && dtypes[t] != GLM_F32; i++)
			((uint16_t *) memory)[i] = (uint16_t) (((uint16_t *) memory)[i] & 0xb3ff);
		for (size_t c = 0; c < sizeof(contexts) / sizeof(contexts[0]); c++)
		{
			attention_line(&a, &kv, contexts[c], 1);
			attention_line(&a, &kv, contexts[c], PROMPT_ROWS);
		}
	}
	free(kv.block);
	free(a.qkv);
	free(a.out);
}

/* ---- Forward passes -------------------------------------------------------- */

#define MAX_ROWS 320
#define POSITION 200 /* of a decoding row: the middle of a short chat */

typedef struct pass
{
	glm_forward		*forward;
	const glm_model *model;
	glm_row			 row[MAX_ROWS];
	int				 n;
} pass;

static void
forward(void *arg)
{
	pass	 *p = arg;
	float	 *logits;
	glm_error err;

	if (!glm_forward_run(p->forward, p->model, p->row, p->n, &logits, &err))
	{
		fprintf(stderr, "%s\n", err.message);
		exit(1);
	}
}

/* n sequences decode beside each other, or the rows are a prompt's. */
static void
set_rows(pass *p, glm_kv_table *kv, int n, bool prompt)
{
	p->n = n;
	for (int i = 0; i < n; i++)
		p->row[i] = (glm_row){.token = 10 + i,
							  .position = prompt ? i : POSITION,
							  .kv = prompt ? &kv[0] : &kv[i],
							  .logits = !prompt || i == n - 1};
}

static void
passes(const char *kernels, const char *dir, int only)
{
	static const int rows[] = {1, 2, 4, 8, 16, 32, 64};
	glm_error		 err;
	glm_model		*model = glm_model_open("bench", dir, &err);
	glm_residency	 readable = {0};
	glm_kv_pool		*kv_pool = glm_kv_pool_open((size_t) 1 << 30);
	glm_kv_table	 kv[64];
	pass			 p = {.model = model};
	double			 alone = 0;

	p.forward = model ? glm_forward_open(kernels, pool, MAX_ROWS, &err) : NULL;
	if (p.forward == NULL || kv_pool == NULL ||
		!glm_forward_kv_pool(p.forward, glm_kv_pool_total(kv_pool), &err) ||
		!glm_forward_prepare(p.forward, model, &err) ||
		!glm_residency_open(&readable, model, &err) || !glm_residency_hold(&readable, &err))
	{
		fprintf(stderr, "%s\n", err.message);
		exit(1);
	}
	for (int i = 0; i < 64; i++)
		if (!glm_kv_take(kv_pool, model->kv_block_bytes, MAX_ROWS / GLM_KV_BLOCK + 1, &kv[i]))
			exit(1);
	printf("\npasses of %s\n rows   us/pass    us/row  tokens/s  x alone\n", dir);
	for (int prompt = 0; prompt < 2; prompt++)
		for (size_t m = 0; m < sizeof(rows) / sizeof(rows[0]); m++)
		{
			double seconds;

			if ((prompt && rows[m] < 32) || (only > 0 && (prompt || rows[m] != only)))
				continue;
			set_rows(&p, kv, prompt ? 4 * rows[m] : rows[m], prompt);
			seconds = fastest(forward, &p);
			if (alone == 0)
				alone = seconds;
			printf("%5d %9.1f %9.2f %9.0f %8.2f %s\n", p.n, seconds * 1e6, seconds * 1e6 / p.n,
				   p.n / seconds, alone * p.n / seconds, prompt ? "prefill" : "");
		}
	for (int i = 0; i < 64; i++)
		glm_kv_give(kv_pool, model->kv_block_bytes, &kv[i]);
	glm_forward_close(p.forward);
	glm_kv_pool_close(kv_pool);
	glm_residency_close(&readable);
	glm_model_close(model);
}

int
main(int argc, char **argv)
{
	const char *kernels = "auto";
	int			threads = 1, only = 0, option;
	bool		attention_only = false;
	glm_error	err;

	while ((option = getopt(argc, argv, "t:k:r:a")) != -1)
	{
		if (option == 't')
			threads = atoi(optarg);
		else if (option == 'a')
			attention_only = true;
		else if (option == 'r')
			only = atoi(optarg);
		else if (option == 'k')
			kernels = optarg;
		else
			return 2;
	}
	pool = glm_threads_open(threads, &err);
	device = pool ? glm_backend_cpu.open(kernels, pool, &err) : NULL;
	if (device == NULL)
	{
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	peak = measure_peak();
	printf("%s, %d threads: peak of fused multiply-adds %.0f GFLOP/s\n", device->kernels->name,
		   threads, peak);
	if (only == 0 && !attention_only)
		products();
	if (only == 0)
		attentions();
	if (optind < argc && !attention_only)
		passes(kernels, argv[optind], only);
	glm_backend_cpu.close(device);
	glm_threads_close(pool);
	return 0;
}
