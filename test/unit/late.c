/*
 * late.c - see late.h.
 */
#include "late.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/model/model.h"
#include "engine/serve/sample.h"

#define NOWHERE ((uintptr_t) 1 << 62) /* added to an address it is none of any process */
#define POISON 0xfb					  /* floats of such bytes are wrong beyond doubt */
#define MAX_BLOCKS 64
#define MAX_PICKS 1024

typedef enum operation_kind
{
	BEGIN,
	EMBED,
	RMSNORM,
	MATMUL,
	ATTENTION,
	GATHER,
	PICK,
	KV_COPY,
	WRITE,
	READ,
	END
} operation_kind;

typedef struct operation
{
	operation_kind	   kind;
	glm_mem			   to, from;
	const glm_weights *weights;
	const glm_pass	  *pass;
	glm_projection	   projection;
	glm_norm		   norm;
	glm_want		   want;
	int				   layer, first, n;
	bool			   add, swiglu;
	size_t			   lda, bytes;
	int				   place;
	uint32_t		   to_block, from_block;
	void			  *host;
	const glm_pick	  *pick;
} operation;

struct glm_device
{
	const glm_backend *cpu;
	glm_device		  *inner;
	operation		  *queue; /* [room] */
	int				   n, room;
	struct
	{
		void  *data;
		size_t bytes;
	} block[MAX_BLOCKS]; /* what it gave */
	size_t		  vocab; /* of the pass that is being done */
	glm_pass	  pass;	 /* that, with tokens for what was picked before */
	glm_pass_row *row;	 /* [row_room], its rows */
	int			  row_room;
	int32_t		  ids[MAX_PICKS]; /* that the last pass picked */
	bool		  picks, lost;
};

struct glm_weights
{
	glm_weights		*inner;
	const glm_model *model;
};

static atomic_int	 until_failure; /* waits; 0: none will fail */
static atomic_int	 failure;
static atomic_int	 pending;
static atomic_int	 spoil; /* rows; 0: none */
static atomic_int	 reads, picks, left;
static atomic_size_t largest;
static atomic_ullong bytes_free = UINT64_MAX;
static atomic_size_t pick_bytes = LATE_PICK_BYTES;

void
late_fail(int n, glm_device_state state)
{
	atomic_store(&failure, state);
	atomic_store(&until_failure, n);
}

void
late_set_free(uint64_t bytes)
{
	atomic_store(&bytes_free, bytes);
}

void
late_set_pick_bytes(size_t bytes)
{
	atomic_store(&pick_bytes, bytes);
}

void
late_spoil(int rows)
{
	atomic_store(&spoil, rows);
}

late_counts
late_count(void)
{
	return (late_counts){atomic_load(&reads), atomic_load(&largest), atomic_load(&picks),
						 atomic_load(&left)};
}

int
late_pending(void)
{
	return atomic_load(&pending);
}

/* ---- The device ----------------------------------------------------------- */

static int
late_find(glm_device_info *info, int max)
{
	if (max > 0)
		snprintf(info->name, sizeof(info->name), "late device");
	return 1;
}

static glm_device *
late_open(const int *which, int n, const char *kernels, glm_threads *pool,
		  glm_arithmetic arithmetic, glm_error *err)
{
	glm_device		 *dev = calloc(1, sizeof(*dev));
	glm_device_choice cpu;

	if (dev == NULL || !glm_backend_find("cpu", NULL, &cpu, err))
		abort();
	atomic_store(&until_failure, 0);
	atomic_store(&pending, 0);
	atomic_store(&spoil, 0);
	atomic_store(&reads, 0);
	atomic_store(&picks, 0);
	atomic_store(&left, 0);
	atomic_store(&largest, 0);
	atomic_store(&bytes_free, UINT64_MAX);
	dev->cpu = cpu.backend;
	dev->inner = cpu.backend->open(which, n, kernels, pool, arithmetic, err);
	if (dev->inner != NULL)
		return dev;
	free(dev);
	return NULL;
}

static glm_device *
picker_open(const int *which, int n, const char *kernels, glm_threads *pool,
			glm_arithmetic arithmetic, glm_error *err)
{
	glm_device *dev = late_open(which, n, kernels, pool, arithmetic, err);

	if (dev != NULL)
		dev->picks = true;
	return dev;
}

static void
late_close(glm_device *dev)
{
	dev->cpu->close(dev->inner);
	free(dev->queue);
	free(dev->row);
	free(dev);
}

static void
late_info(const glm_device *dev, int place, glm_device_info *info)
{
	dev->cpu->info(dev->inner, place, info);
	late_find(info, 1);
	info->host_memory = false;
	info->picks = dev->picks;
	info->pick_bytes = atomic_load(&pick_bytes);
	info->bytes = UINT64_MAX;
	info->bytes_free = atomic_load(&bytes_free);
}

static void
late_need(const glm_device *dev, int place, const glm_model *model, int max_rows,
		  glm_footprint *need)
{
	dev->cpu->need(dev->inner, place, model, max_rows, need);
	need->bytes++;
	need->room = atomic_load(&bytes_free);
}

static glm_weights *
late_load(glm_device *dev, int place, const glm_model *model, int segment, int max_rows,
		  glm_go_on go_on, void *arg, glm_error *err)
{
	glm_weights *w = malloc(sizeof(*w));

	if (w == NULL)
		abort();
	w->model = model;
	w->inner = dev->cpu->load(dev->inner, place, model, segment, max_rows, go_on, arg, err);
	if (w->inner != NULL)
		return w;
	free(w);
	return NULL;
}

static void
late_unload(glm_device *dev, glm_weights *w)
{
	dev->cpu->unload(dev->inner, w->inner);
	free(w);
}

/* ---- Memory ----------------------------------------------------------------- */

static glm_mem
hidden(glm_mem m)
{
	return (glm_mem){m.at != 0 ? m.at + NOWHERE : 0};
}

static glm_mem
found(glm_mem m)
{
	return (glm_mem){m.at != 0 ? m.at - NOWHERE : 0};
}

static glm_mem
late_alloc(glm_device *dev, int place, size_t bytes, glm_error *err)
{
	glm_mem m = dev->cpu->alloc(dev->inner, place, bytes, err);
	int		i = 0;

	while (dev->block[i].data != NULL && i < MAX_BLOCKS - 1)
		i++;
	dev->block[i].data = (void *) m.at;
	dev->block[i].bytes = bytes;
	return hidden(m);
}

static void
late_free(glm_device *dev, glm_mem m)
{
	for (int i = 0; i < MAX_BLOCKS; i++)
		if (dev->block[i].data == (void *) found(m).at)
			dev->block[i].data = NULL;
	dev->cpu->free(dev->inner, found(m));
}

static glm_mem
late_kv_pool(glm_device *dev, int place, size_t bytes, glm_error *err)
{
	return hidden(dev->cpu->kv_pool(dev->inner, place, bytes, err));
}

/* ---- Operations, put in order -------------------------------------------------- */

static operation *
put(glm_device *dev, operation_kind kind, glm_mem to, glm_mem from)
{
	if (dev->n == dev->room)
	{
		dev->room = dev->room * 2 + 64;
		dev->queue = realloc(dev->queue, (size_t) dev->room * sizeof(*dev->queue));
		if (dev->queue == NULL)
			abort();
	}
	atomic_fetch_add(&pending, 1);
	dev->queue[dev->n] = (operation){.kind = kind, .to = found(to), .from = found(from)};
	return &dev->queue[dev->n++];
}

static void
late_kv_copy(glm_device *dev, int place, uint32_t to, uint32_t from, size_t bytes)
{
	operation *op = put(dev, KV_COPY, GLM_NO_MEM, GLM_NO_MEM);

	op->place = place;
	op->to_block = to;
	op->from_block = from;
	op->bytes = bytes;
}

static void
late_write(glm_device *dev, glm_mem to, const void *from, size_t bytes)
{
	operation *op = put(dev, WRITE, to, GLM_NO_MEM);

	op->host = malloc(bytes);
	if (op->host == NULL)
		abort();
	memcpy(op->host, from, bytes);
	op->bytes = bytes;
}

static void
late_read(glm_device *dev, void *to, glm_mem from, size_t bytes)
{
	operation *op = put(dev, READ, GLM_NO_MEM, from);

	op->host = to;
	op->bytes = bytes;
	memset(to, POISON, bytes);
	atomic_fetch_add(&reads, 1);
	if (bytes > atomic_load(&largest))
		atomic_store(&largest, bytes);
}

static void
late_begin(glm_device *dev, const glm_weights *weights, const glm_pass *pass)
{
	operation *op = put(dev, BEGIN, GLM_NO_MEM, GLM_NO_MEM);

	op->weights = weights;
	op->pass = pass;
}

static void
late_embed(glm_device *dev, glm_mem x)
{
	put(dev, EMBED, x, GLM_NO_MEM);
}

static void
late_rmsnorm(glm_device *dev, glm_mem y, glm_mem x, glm_norm norm, int layer, int n)
{
	operation *op = put(dev, RMSNORM, y, x);

	op->norm = norm;
	op->layer = layer;
	op->n = n;
}

static void
late_matmul(glm_device *dev, glm_mem c, glm_mem a, size_t lda, glm_projection projection, int layer,
			int n, bool add, bool swiglu)
{
	operation *op = put(dev, MATMUL, c, a);

	op->lda = lda;
	op->projection = projection;
	op->layer = layer;
	op->n = n;
	op->add = add;
	op->swiglu = swiglu;
}

static void
late_attention(glm_device *dev, glm_mem out, glm_mem qkv, int layer, int first, int n)
{
	operation *op = put(dev, ATTENTION, out, qkv);

	op->layer = layer;
	op->first = first;
	op->n = n;
}

static void
late_gather(glm_device *dev, glm_mem y, glm_mem x, glm_want want)
{
	put(dev, GATHER, y, x)->want = want;
}

static void
late_pick(glm_device *dev, glm_picked_id *picked, glm_mem logits, const glm_pick *pick, int n)
{
	operation *op = put(dev, PICK, GLM_NO_MEM, logits);

	op->host = picked;
	op->pick = pick;
	op->n = n;
	memset(picked, POISON, (size_t) n * sizeof(*picked));
	for (int i = 0; i < n; i++)
		atomic_fetch_add(pick[i].n_ids > 0 ? &picks : &left, 1);
}

static void
late_end(glm_device *dev)
{
	put(dev, END, GLM_NO_MEM, GLM_NO_MEM);
}

/* ---- And done -------------------------------------------------------------------- */

static void
poison(glm_device *dev)
{
	for (int i = 0; i < MAX_BLOCKS; i++)
		if (dev->block[i].data != NULL)
			memset(dev->block[i].data, POISON, dev->block[i].bytes);
}

static void
spoil_logits(const operation *op)
{
	int rows = atomic_load(&spoil);

	if (op->projection != GLM_HEAD || rows == 0 || op->n < rows)
		return;
	((float *) op->to.at)[5] = NAN;
	atomic_store(&spoil, 0);
}

/* A sampler with the parameters of this pick, that has seen and counted what it says. */
static glm_sampler *
make_sampler(const glm_pick *pick)
{
	size_t		 n = (size_t) pick->n_changes;
	glm_request *req = calloc(1, sizeof(*req) + n * sizeof(glm_bias));
	glm_bias	*bias = (glm_bias *) (req + 1);
	glm_sampler *sampler;

	if (req == NULL)
		abort();
	*req = (glm_request){.temperature = pick->temperature,
						 .top_k = pick->top_k,
						 .top_p = pick->top_p,
						 .min_p = pick->min_p,
						 .repetition_penalty = pick->repetition,
						 .frequency_penalty = pick->frequency,
						 .presence_penalty = pick->presence,
						 .seed = pick->seed};
	if (n > 0)
		req->bias = (glm_span){sizeof(*req), (uint32_t) (n * sizeof(*bias))};
	for (size_t i = 0; i < n; i++)
		bias[i] = (glm_bias){pick->change[i].id, pick->change[i].bias};
	sampler = glm_sampler_open(req, pick->n_ids);
	free(req);
	if (sampler == NULL)
		abort();
	for (int32_t id = 0; pick->seen != NULL && id < pick->n_ids; id++)
		if ((pick->seen[id / 64] >> id % 64 & 1) != 0)
			glm_sampler_read(sampler, id);
	for (size_t i = 0; i < n; i++)
		for (int c = 0; c < pick->change[i].count; c++)
			glm_sampler_advance(sampler, pick->change[i].id);
	return sampler;
}

/* The logits stay as they are. */
static void
pick_row(const glm_pick *pick, const float *logits, glm_picked_id *picked)
{
	glm_sampler *sampler;
	size_t		 bytes = (size_t) pick->n_ids * sizeof(float);
	float		*changed = malloc(bytes);
	glm_error	 err = {0};

	*picked = (glm_picked_id){.id = -1};
	if (pick->n_ids == 0)
	{
		free(changed);
		return;
	}
	if (changed == NULL)
		abort();
	sampler = make_sampler(pick);
	memcpy(changed, logits, bytes);
	if (pick->logprob)
		glm_logits_sum(logits, pick->n_ids, &picked->max, &picked->sum);
	if (glm_sampler_pick(sampler, changed, pick->index, pick->mask, &picked->id, NULL, &err))
		picked->logit = logits[picked->id];
	picked->status = err.status;
	glm_sampler_close(sampler);
	free(changed);
}

/* The pass as the CPU has it, which knows tokens alone. */
static void
know_tokens(glm_device *dev, const glm_pass *pass)
{
	if (pass->n_rows > dev->row_room)
	{
		dev->row_room = pass->n_rows;
		dev->row = realloc(dev->row, (size_t) dev->row_room * sizeof(*dev->row));
		if (dev->row == NULL)
			abort();
	}
	dev->pass = *pass;
	dev->pass.row = dev->row;
	for (int i = 0; i < pass->n_rows; i++)
	{
		dev->row[i] = pass->row[i];
		if (dev->row[i].token < 0)
			dev->row[i].token = dev->ids[-1 - dev->row[i].token];
	}
}

static void
perform(glm_device *dev, const operation *op)
{
	const glm_backend *cpu = dev->cpu;

	switch (op->kind)
	{
		case BEGIN:
			poison(dev);
			dev->vocab = (size_t) op->weights->model->config.vocab;
			know_tokens(dev, op->pass);
			cpu->begin(dev->inner, op->weights->inner, &dev->pass);
			break;
		case EMBED:
			cpu->embed(dev->inner, op->to);
			break;
		case RMSNORM:
			cpu->rmsnorm(dev->inner, op->to, op->from, op->norm, op->layer, op->n);
			break;
		case MATMUL:
			cpu->matmul(dev->inner, op->to, op->from, op->lda, op->projection, op->layer, op->n,
						op->add, op->swiglu);
			spoil_logits(op);
			break;
		case ATTENTION:
			cpu->attention(dev->inner, op->to, op->from, op->layer, op->first, op->n);
			break;
		case GATHER:
			cpu->gather(dev->inner, op->to, op->from, op->want);
			break;
		case PICK:
			for (int i = 0; i < op->n; i++)
			{
				glm_picked_id *picked = (glm_picked_id *) op->host + i;

				pick_row(&op->pick[i], (float *) op->from.at + (size_t) i * dev->vocab, picked);
				if (i < MAX_PICKS)
					dev->ids[i] = picked->status == GLM_OK ? picked->id : 0;
			}
			break;
		case KV_COPY:
			cpu->kv_copy(dev->inner, op->place, op->to_block, op->from_block, op->bytes);
			break;
		case WRITE:
			cpu->write(dev->inner, op->to, op->host, op->bytes);
			break;
		case READ:
			cpu->read(dev->inner, op->host, op->from, op->bytes);
			break;
		case END:
			cpu->end(dev->inner);
	}
}

static bool
late_ready(glm_device *dev, int place)
{
	(void) place;
	return dev->n == 0;
}

/* Operations up to the end of the first of two passes, or all. */
static int
count_first(const glm_device *dev)
{
	int first = dev->n, ends = 0;

	for (int i = dev->n - 1; i >= 0; i--)
	{
		if (dev->queue[i].kind != END)
			continue;
		first = i + 1;
		ends++;
	}
	return ends > 1 ? first : dev->n;
}

static bool
late_wait(glm_device *dev, int place, glm_device_state *state, glm_error *err)
{
	bool fails = dev->lost;
	int	 n = count_first(dev);

	(void) place;
	if (atomic_load(&until_failure) > 0)
		fails |= atomic_fetch_sub(&until_failure, 1) == 1;
	for (int i = 0; i < n; i++)
	{
		if (!fails)
			perform(dev, &dev->queue[i]);
		if (dev->queue[i].kind == WRITE)
			free(dev->queue[i].host);
	}
	dev->n -= n;
	memmove(dev->queue, dev->queue + n, (size_t) dev->n * sizeof(*dev->queue));
	atomic_store(&pending, dev->n);
	*state = fails ? (glm_device_state) atomic_load(&failure) : GLM_DEVICE_FINE;
	dev->lost = *state == GLM_DEVICE_LOST;
	return !fails || glm_fail(err, GLM_INTERNAL, "the device coughed");
}

/* What both kinds have. */
#define LATE                                                                                       \
	.abi = GLM_ABI, .name = "late", .find = late_find, .close = late_close, .info = late_info,     \
	.need = late_need, .load = late_load, .unload = late_unload, .alloc = late_alloc,              \
	.free = late_free, .kv_pool = late_kv_pool, .kv_copy = late_kv_copy, .write = late_write,      \
	.read = late_read, .begin = late_begin, .embed = late_embed, .rmsnorm = late_rmsnorm,          \
	.matmul = late_matmul, .attention = late_attention, .gather = late_gather, .end = late_end,    \
	.ready = late_ready, .wait = late_wait

const glm_backend late_backend = {LATE, .open = late_open};
const glm_backend late_picker = {LATE, .open = picker_open, .pick = late_pick};
