/*
 * context.c - passes behind long contexts, with what they read and compute.
 *
 * Keys and values of a long context are not computed, which would take minutes:
 * the blocks of a short prompt are copied until the context is full.  They are
 * as good as any, since no kernel looks at the numbers.
 *
 *     context [-t threads] [-k kernels] [-r runs] model-directory work...
 *
 * work: decode:CONTEXT, the last token of so many, or prefill:CONTEXT, the last
 * CHUNK tokens of such a prompt.  Prints one JSON object a line; bench.py sets
 * the times against the machine's limits.
 */

#include "measure.h"

#define CHUNK 256  /* the default of chatglm.prefill_budget */
#define FILLED 512 /* tokens whose keys and values are computed */

static glm_threads *pool;
static glm_model   *model;
static glm_weights *weights;
static glm_forward *forward;
static glm_rows		rows;
static glm_kv_table kv;
static int			runs;

static void
die(const char *why)
{
	fprintf(stderr, "context: %s\n", why);
	exit(1);
}

/* Seconds of a pass over the n tokens that end at position `end`. */
static double
pass(int end, int n)
{
	glm_results results;
	glm_error	err = {0};
	double		begin = now();

	glm_rows_clear(&rows);
	glm_rows_begin(&rows, &kv);
	for (int i = 0; i < n; i++)
		glm_rows_add(&rows, (end - i) * 7 % 900, end - n + i,
					 i + 1 == n ? GLM_WANT_LOGITS : GLM_WANT_NOTHING);
	if (!glm_forward_run(forward, model, weights, &rows.pass, NULL, &results, &err))
		die(err.message);
	return now() - begin;
}

/* Keys and values for every position of the model's context. */
static void
fill(void)
{
	for (int end = CHUNK; end <= FILLED; end += CHUNK)
		pass(end, CHUNK);
	for (int i = FILLED / GLM_KV_BLOCK; i < kv.n_blocks; i++)
		glm_forward_kv_copy(forward, 0, kv.block[i], kv.block[i % (FILLED / GLM_KV_BLOCK)],
							model->kv_block_bytes);
}

static void
open_all(const char *dir, int threads, const char *kernels)
{
	glm_forward_options options = {.kernels = kernels, .max_rows = CHUNK};
	glm_error			err = {0};
	glm_kv_pool		   *kv_pool;
	int					blocks;

	options.pool = pool = glm_threads_open(threads, &err);
	model = pool != NULL ? glm_model_open("bench", dir, &err) : NULL;
	forward = model != NULL ? glm_forward_open(&options, &err) : NULL;
	if (forward == NULL || !glm_forward_prepare(forward, 0, model, &err))
		die(err.message);
	weights = glm_forward_load(forward, 0, model, &err);
	if (weights == NULL)
		die(err.message);
	if (model->config.context < FILLED)
		die("the model's context is too short");
	blocks = (model->config.context + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;
	/* an eighth and a bit: what runs of slabs may waste */
	kv_pool = glm_kv_pool_open((size_t) (blocks + 16) * model->kv_block_bytes * 5 / 4);
	if (kv_pool == NULL || !glm_forward_kv_pool(forward, 0, glm_kv_pool_total(kv_pool), &err) ||
		!glm_kv_take(kv_pool, model->kv_block_bytes, blocks, &kv) ||
		!glm_rows_reserve(&rows, CHUNK, (size_t) blocks, &err))
		die("no memory for keys and values");
	fill();
}

/* Multiply-adds of attention, counted as two, of the n tokens that end the context. */
static double
attention_flop(int context, int n)
{
	const glm_model_config *c = &model->config;
	double					pairs = (double) n * context - (double) n * (n - 1) / 2;

	return 4 * pairs * c->heads * c->head_dim * c->layers;
}

static void
report_pass(const char *work, int context, int n)
{
	double seconds[MAX_RUNS], read[MAX_RUNS], peak[MAX_RUNS], ops, head_ops, bytes;

	model_work(model, false, &ops, &bytes);
	model_work(model, true, &head_ops, &bytes);
	pass(context, n);
	for (int i = 0; i < runs; i++)
	{
		double before = bandwidth(pool);

		peak[i] = product_peak(pool);
		seconds[i] = pass(context, n);
		read[i] = (before + bandwidth(pool)) / 2;
	}
	median(seconds, runs);
	printf("{\"work\": \"%s\", \"context\": %d, \"tokens\": %d, \"tokens_per_second\": %.2f, "
		   "\"least\": %.2f, "
		   "\"most\": %.2f, \"bandwidth\": %.1f, \"peak_gops\": %.0f, \"weights_gb\": %.3f, "
		   "\"kv_gb\": %.3f, "
		   "\"product_gop\": %.2f, \"attention_gflop\": %.2f}\n",
		   work, context, n, n / seconds[runs / 2], n / seconds[runs - 1], n / seconds[0],
		   median(read, runs), median(peak, runs), bytes / 1e9,
		   (double) model->kv_block_bytes / GLM_KV_BLOCK * context / 1e9,
		   (ops * (n - 1) + head_ops) / 1e9, attention_flop(context, n) / 1e9);
	fflush(stdout);
}

static bool
report(const char *work)
{
	int context;

	if (sscanf(work, "decode:%d", &context) == 1 && context >= 1 &&
		context <= model->config.context)
		report_pass("decode", context, 1);
	else if (sscanf(work, "prefill:%d", &context) == 1 && context >= CHUNK &&
			 context <= model->config.context)
		report_pass("prefill", context, CHUNK);
	else
		return false;
	return true;
}

int
main(int argc, char **argv)
{
	options o;

	if (!read_options(&o, argc, argv))
		return 2;
	runs = o.runs;
	open_all(argv[optind], o.threads, o.kernels);
	for (int i = optind + 1; i < argc; i++)
		if (!report(argv[i]))
			die("works are decode:CONTEXT and prefill:CONTEXT, within the model's context");
	return 0;
}
