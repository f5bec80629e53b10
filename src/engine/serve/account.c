/*
 * account.c - what passes do for each request: time, bytes and operations, noted in its ticket.
 *
 * A pass computes rows of many sequences at once.  The time of its products, and the weights
 * they read, are shared out by rows; that of attention by the positions that a row attends
 * to; that of the head by the rows that want logits.  So the sums over all requests are what
 * the passes took.  All is done by the engine's thread, in memory of its own.
 */
#include "engine/serve/account.h"

#include "engine/serve/branch.h"
#include "engine/weights/dtype.h"

/* Multiplications and additions for a row, bytes of the weights they take. */
typedef struct cost
{
	uint64_t ops;
	uint64_t bytes;
} cost;

/* Parts of a pass that sequences share; one's are those of its branches, too. */
typedef struct shares
{
	uint64_t rows;
	uint64_t attended; /* positions, each row's its own */
	uint64_t held;	   /* positions whose keys and values are read */
	uint64_t logits;   /* rows that want them */
} shares;

static cost
cost_of(const glm_model *model, glm_projection projection, int layer)
{
	int				  n;
	const glm_matrix *m = glm_model_matrices(model, projection, layer, &n);
	cost			  sum = {0};

	for (int i = 0; i < n; i++)
	{
		sum.ops += 2 * (uint64_t) m[i].tensor.shape[0] * (uint64_t) m[i].tensor.shape[1];
		sum.bytes += glm_tensor_bytes(&m[i].tensor);
	}
	return sum;
}

void
glm_account_model(const glm_model *model, glm_pass_cost *out)
{
	static const glm_projection in_layers[] = {GLM_QKV, GLM_DENSE, GLM_GATE_UP, GLM_DOWN};
	const glm_model_config	   *c = &model->config;
	cost						head = cost_of(model, GLM_HEAD, GLM_NO_LAYER);

	*out = (glm_pass_cost){.head_ops = head.ops, .head_bytes = head.bytes};
	for (int l = 0; l < c->layers; l++)
	{
		for (int i = 0; i < (int) (sizeof(in_layers) / sizeof(in_layers[0])); i++)
		{
			cost one = cost_of(model, in_layers[i], l);

			out->matmul_ops += one.ops;
			out->matmul_bytes += one.bytes;
		}
	}
	out->attention_ops = 4 * (uint64_t) c->layers * (uint64_t) c->heads * (uint64_t) c->head_dim;
	out->kv_bytes = model->kv_block_bytes / GLM_KV_BLOCK;
}

/* ---- A pass ---------------------------------------------------------------------- */

/* Positions that its rows attend to, its own among them. */
static uint64_t
attended(const glm_sequence *seq)
{
	uint64_t n = (uint64_t) seq->n_rows;

	return n * (uint64_t) seq->n_computed + n * (n + 1) / 2;
}

static shares
shares_of(const glm_sequence *seq)
{
	shares of = {.rows = (uint64_t) seq->n_rows,
				 .attended = attended(seq),
				 .held = (uint64_t) (seq->n_computed + seq->n_rows)};

	if (seq->kind->want == GLM_WANT_LOGITS && seq->n_rows > 0)
		of.logits = (uint64_t) seq->n_wanted;
	glm_branches_weigh(seq, &of.rows, &of.attended, &of.held);
	return of;
}

static int64_t
part_of(uint64_t whole, uint64_t part, uint64_t all)
{
	return all == 0 ? 0 : (int64_t) ((double) whole * (double) part / (double) all);
}

static void
add(glm_spent *spent, int64_t ns, int64_t bytes, uint64_t ops)
{
	spent->calls++;
	spent->ns += ns;
	spent->bytes += (uint64_t) bytes;
	spent->ops += ops;
}

/* What a pass did for one of its sequences. */
static void
add_sequence(glm_ticket *ticket, const glm_sequence *seq, const glm_pass_cost *cost,
			 const glm_pass_times *times, const shares *all)
{
	bool	   prefill = seq->n_computed < seq->n_prompt;
	glm_spent *spent = ticket->timing.spent;
	shares	   of = shares_of(seq);

	add(&spent[prefill ? GLM_WORK_PREFILL_MATMUL : GLM_WORK_DECODE_MATMUL],
		part_of((uint64_t) times->ns[GLM_PART_MATMUL], of.rows, all->rows),
		part_of(cost->matmul_bytes, of.rows, all->rows), of.rows * cost->matmul_ops);
	add(&spent[prefill ? GLM_WORK_PREFILL_ATTENTION : GLM_WORK_DECODE_ATTENTION],
		part_of((uint64_t) times->ns[GLM_PART_ATTENTION], of.attended, all->attended),
		(int64_t) (of.held * cost->kv_bytes), of.attended * cost->attention_ops);
	if (of.logits > 0)
		add(&spent[GLM_WORK_HEAD],
			part_of((uint64_t) times->ns[GLM_PART_HEAD], of.logits, all->logits),
			part_of(cost->head_bytes, of.logits, all->logits), of.logits * cost->head_ops);
	if (times->ns[GLM_PART_COPY] > 0)
		add(&spent[GLM_WORK_COPY], part_of((uint64_t) times->ns[GLM_PART_COPY], of.rows, all->rows),
			0, 0);
}

void
glm_account_pass(glm_scheduler *s, const glm_served *served)
{
	const glm_home		 *home = atomic_load(&served->home);
	const glm_pass_times *times = glm_forward_times(s->engine->forward, home->place);
	shares				  all = {0};

	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		shares of;

		if (!glm_sequence_is_at(seq, home))
			continue;
		of = shares_of(seq);
		all.rows += of.rows;
		all.attended += of.attended;
		all.logits += of.logits;
	}
	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (seq->n_rows > 0 && glm_sequence_is_at(seq, home))
			add_sequence(&s->engine->ticket[seq->ticket], seq, &served->runtime.cost, times, &all);
	}
}

void
glm_account_results(glm_engine *e, const glm_sequence *seq, int64_t deliver_ns)
{
	glm_spent *spent = e->ticket[seq->ticket].timing.spent;

	if (seq->kind->sample != NULL)
		add(&spent[seq->constrained != NULL ? GLM_WORK_CONSTRAIN : GLM_WORK_SAMPLE], seq->sample_ns,
			0, 0);
	add(&spent[GLM_WORK_DELIVER], deliver_ns, 0, 0);
}
