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

#include "engine/base/clock.h"
#include "engine/compute/forward.h"
#include "engine/model/model.h"
#include "engine/serve/kv.h"

#define RUN_SECONDS 0.5 /* for one figure */

static glm_threads		 *pool;
static const glm_backend *be;	  /* the CPU's, */
static glm_device		 *device; /* whose memory is ours */
static double			  peak;	  /* GFLOP/s of all threads */

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
	float *x = malloc(n * sizeof(float));

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
peak_share(void *arg, int index, int count)
{
	_Alignas(64) float out[16] = {0};
	(void) index;
	(void) count;
	((peak_run *) arg)->chains(out);
}

static void
peak_all(void *arg)
{
	glm_threads_run(pool, peak_share, arg);
}

static double
measure_peak(const char *kernels)
{
	peak_run run;
	int		 lanes;

#if defined(__x86_64__)
	if (strcmp(kernels, "avx512") == 0)
		run.chains = peak_avx512, lanes = 16;
	else
		run.chains = peak_avx2, lanes = 8;
#else
	(void) kernels;
	run.chains = peak_neon, lanes = 4;
#endif
	return 2.0 * lanes * CHAINS * PEAK_STEPS * glm_threads_count(pool) / fastest(peak_all, &run) /
		   1e9;
}

/* ---- Matrix products ------------------------------------------------------- */

typedef struct product
{
	glm_model	 model; /* this one matrix, as its head */
	glm_weights *weights;
	float		*a, *c;
	int			 m;
} product;

static void
multiply(void *arg)
{
	product *p = arg;

	be->matmul(device, (glm_mem){(uintptr_t) p->c}, (glm_mem){(uintptr_t) p->a},
			   (size_t) p->model.matrix->tensor.shape[1], GLM_HEAD, GLM_NO_LAYER, p->m, false,
			   false);
}

/* A model of n rows of k columns, of this dtype, on the device. */
static void
open_product(product *p, int n, int k, glm_dtype dtype)
{
	static const glm_pass  no_rows;
	const glm_tensor_entry head = {
		.layer = GLM_NO_LAYER, .projection = GLM_HEAD, .rows = n, .cols = k};
	glm_tensor_list list = {0};
	glm_error		err;
	float		   *data = random_floats((size_t) n * (size_t) k);

	p->model.config = (glm_model_config){.heads = 1, .groups = 1, .head_dim = 16};
	if (!glm_tensor_list_add(&list, &head, &err) || !glm_model_lay_out(&p->model, &list, &err))
		exit(1);
	glm_tensor_list_free(&list);
	p->model.matrix->tensor.data = data;
	p->model.matrix->tensor.dtype = dtype;
	if (dtype == GLM_F16) /* any F16 but NaNs, infinities, subnormals */
		for (size_t i = 0; i < (size_t) n * (size_t) k; i++)
			((uint16_t *) data)[i] = (uint16_t) (((uint16_t *) data)[i] % 0x2000 + 0x2000);
	p->a = random_floats(256 * (size_t) k);
	p->c = random_floats(256 * (size_t) n);
	p->weights = be->load(device, 0, &p->model, GLM_ALL_SEGMENTS, 256, NULL, NULL, &err);
	if (p->weights == NULL)
		exit(1);
	be->begin(device, p->weights, &no_rows);
}

static void
close_product(product *p)
{
	be->end(device);
	be->unload(device, p->weights);
	free((void *) p->model.matrix->tensor.data);
	free(p->model.matrix);
	free(p->model.place);
	free(p->model.norm);
	free(p->a);
	free(p->c);
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
			product p = {0};

			open_product(&p, n, k, dtypes[t]);
			printf("\n%5d x %-5d %-3s         ", n, k, names[t]);
			for (size_t m = 0; m < sizeof(rows) / sizeof(rows[0]); m++)
			{
				p.m = rows[m];
				printf("%8.1f", 2.0 * p.m * n * k / fastest(multiply, &p) / 1e9);
				fflush(stdout);
			}
			close_product(&p);
		}
	printf("\n");
}

/* ---- Attention ------------------------------------------------------------- */

#define LONGEST 32768
#define PROMPT_ROWS 64

typedef struct attention
{
	glm_model	 model; /* one layer of ChatGLM3-6B's shape */
	glm_weights *weights;
	glm_rows	 rows;
	float		*qkv, *out;
} attention;

static void
attend(void *arg)
{
	attention *a = arg;

	be->begin(device, a->weights, &a->rows.pass);
	be->attention(device, (glm_mem){(uintptr_t) a->out}, (glm_mem){(uintptr_t) a->qkv}, 0, 0,
				  a->rows.pass.n_rows);
	be->end(device);
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

	glm_rows_clear(&a->rows);
	glm_rows_begin(&a->rows, kv);
	for (int i = 0; i < n; i++)
		glm_rows_add(&a->rows, 0, context - n + i, GLM_WANT_NOTHING);
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
	size_t			bytes = glm_kv_block_bytes(&a.model.config, GLM_F32) * (size_t) kv.n_blocks;
	glm_tensor_list no_tensors = {0};
	float		   *memory;
	glm_error		err;

	kv.block = calloc((size_t) kv.n_blocks, sizeof(*kv.block));
	a.model.rope = calloc((size_t) LONGEST * 64, sizeof(float));
	a.qkv = random_floats(PROMPT_ROWS * 36 * 128);
	a.out = random_floats(PROMPT_ROWS * 32 * 128);
	memory = (float *) be->kv_pool(device, 0, bytes, &err).at;
	if (kv.block == NULL || a.model.rope == NULL || memory == NULL ||
		!glm_model_lay_out(&a.model, &no_tensors, &err) ||
		!glm_rows_reserve(&a.rows, PROMPT_ROWS, (size_t) kv.n_blocks, &err))
		exit(1);
	a.weights = be->load(device, 0, &a.model, GLM_ALL_SEGMENTS, PROMPT_ROWS, NULL, NULL, &err);
	if (a.weights == NULL)
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
	be->unload(device, a.weights);
	glm_rows_free(&a.rows);
	free(a.model.matrix);
	free(a.model.place);
	free(a.model.norm);
	free(a.model.rope);
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
	glm_weights		*weights;
	glm_rows		 rows;
} pass;

static void
forward(void *arg)
{
	pass	   *p = arg;
	glm_results results;
	glm_error	err;

	if (!glm_forward_run(p->forward, p->model, p->weights, &p->rows.pass, NULL, &results, &err))
	{
		fprintf(stderr, "%s\n", err.message);
		exit(1);
	}
}

/* n sequences decode beside each other, or the rows are a prompt's. */
static void
set_rows(pass *p, const glm_kv_table *kv, int n, bool prompt)
{
	glm_rows_clear(&p->rows);
	for (int i = 0; i < n; i++)
	{
		if (i == 0 || !prompt)
			glm_rows_begin(&p->rows, &kv[i]);
		glm_rows_add(&p->rows, 10 + i, prompt ? i : POSITION,
					 !prompt || i == n - 1 ? GLM_WANT_LOGITS : GLM_WANT_NOTHING);
	}
}

/* The model on a device of its own, with memory for `blocks` KV blocks in a pass. */
static void
open_pass(pass *p, const char *kernels, const glm_kv_pool *kv_pool, size_t blocks)
{
	glm_forward_options options = {.kernels = kernels, .pool = pool, .max_rows = MAX_ROWS};
	glm_error			err = {0};

	p->forward = glm_forward_open(&options, &err);
	if (p->forward != NULL &&
		glm_forward_kv_pool(p->forward, 0, glm_kv_pool_total(kv_pool), &err) &&
		glm_forward_prepare(p->forward, 0, p->model, &err) &&
		glm_rows_reserve(&p->rows, MAX_ROWS, blocks, &err))
		p->weights = glm_forward_load(p->forward, 0, p->model, &err);
	if (p->weights == NULL)
	{
		fprintf(stderr, "%s\n", err.message);
		exit(1);
	}
}

static void
passes(const char *kernels, const char *dir, int only)
{
	static const int rows[] = {1, 2, 4, 8, 16, 32, 64};
	glm_error		 err;
	glm_model		*model = glm_model_open("bench", dir, &err);
	glm_kv_pool		*kv_pool = glm_kv_pool_open((size_t) 1 << 30);
	glm_kv_table	 kv[64];
	pass			 p = {.model = model};
	double			 alone = 0;

	if (model == NULL || kv_pool == NULL)
		exit(1);
	open_pass(&p, kernels, kv_pool, 64 * (MAX_ROWS / GLM_KV_BLOCK + 1));
	for (int i = 0; i < 64; i++)
		if (!glm_kv_take(kv_pool, model->kv_block_bytes, MAX_ROWS / GLM_KV_BLOCK + 1, &kv[i]))
			exit(1);
	printf("\npasses of %s\n rows   us/pass    us/row  tokens/s  x alone\n", dir);
	for (int prompt = 0; prompt < 2; prompt++)
		for (size_t m = 0; m < sizeof(rows) / sizeof(rows[0]); m++)
		{
			double seconds;
			int	   n;

			if ((prompt && rows[m] < 32) || (only > 0 && (prompt || rows[m] != only)))
				continue;
			set_rows(&p, kv, prompt ? 4 * rows[m] : rows[m], prompt);
			seconds = fastest(forward, &p);
			if (alone == 0)
				alone = seconds;
			n = p.rows.pass.n_rows;
			printf("%5d %9.1f %9.2f %9.0f %8.2f %s\n", n, seconds * 1e6, seconds * 1e6 / n,
				   n / seconds, alone * n / seconds, prompt ? "prefill" : "");
		}
	for (int i = 0; i < 64; i++)
		glm_kv_give(kv_pool, model->kv_block_bytes, &kv[i]);
	glm_forward_unload(p.forward, p.weights);
	glm_forward_close(p.forward);
	glm_rows_free(&p.rows);
	glm_kv_pool_close(kv_pool);
	glm_model_close(model);
}

int
main(int argc, char **argv)
{
	const char *kernels = "auto";
	int			threads = 1, only = 0, option;
	bool		attention_only = false;
	glm_error	err;

	glm_device_choice cpu;
	glm_device_info	  info;

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
	if (pool != NULL && glm_backend_find("cpu", NULL, &cpu, &err))
	{
		be = cpu.backend;
		device = be->open(cpu.which, cpu.n, kernels, pool, GLM_EXACT, &err);
	}
	if (device == NULL)
	{
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	be->info(device, 0, &info);
	peak = measure_peak(info.kernels);
	printf("%s, %d threads: peak of fused multiply-adds %.0f GFLOP/s\n", info.kernels, threads,
		   peak);
	if (only == 0 && !attention_only)
		products();
	if (only == 0)
		attentions();
	if (optind < argc && !attention_only)
		passes(kernels, argv[optind], only);
	be->close(device);
	glm_threads_close(pool);
	return 0;
}
