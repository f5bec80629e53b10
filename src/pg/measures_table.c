/*
 * measures_table.c - all single figures there are, by name, and where they come from.
 */
#include "chatglm.h"

#include "measures_table.h"
#include "privileges.h"
#include "result_rows.h"
#include "room.h"

const ChatglmMeasure chatglm_measure_table[CHATGLM_N_MEASURES] = {
	[CHATGLM_UP] = {"up", "Whether the worker takes requests", true},
	[CHATGLM_THREADS] = {"threads", "Threads that compute", true},
	[CHATGLM_WAITING] = {"waiting", "Requests that are not begun", true},
	[CHATGLM_RUNNING] = {"running", "Requests that are computed, the paused ones among them", true},
	[CHATGLM_PAUSED] = {"paused", "Requests that wait for their reader", true},
	[CHATGLM_QUEUE_REQUESTS] = {"queue_requests", "Requests that hold room in the queue", true},
	[CHATGLM_QUEUE_BYTES] = {"queue_bytes", "Bytes of their texts and of results not read yet"},
	[CHATGLM_QUEUE_MEMORY] = {"queue_memory_bytes", "Bytes that these may come to", true},
	[CHATGLM_KV_TOTAL] = {"kv_bytes", "Size of the KV pool", true},
	[CHATGLM_KV_USED] = {"kv_used_bytes", "KV memory that running requests hold"},
	[CHATGLM_KV_CACHED] = {"kv_cached_bytes",
						   "KV memory that is kept for prompts that begin alike"},
	[CHATGLM_MODELS] = {"models", "Models that are loaded", true},
	[CHATGLM_MODEL_BYTES] = {"model_bytes", "Bytes of their weight files", true},
	[CHATGLM_MODEL_MAPPED] = {"model_mapped_bytes", "Bytes of these that are mapped", true},
	[CHATGLM_MODEL_RESIDENT] = {"model_resident_bytes", "Bytes of these that are in memory", true},
	[CHATGLM_STARTS] = {"starts", "Starts of the worker", true},
	[CHATGLM_LOADS] = {"loads", "Models that were loaded", true},
	[CHATGLM_UNLOADS] = {"unloads", "Models that were unloaded", true},
	[CHATGLM_COMPLETED] = {"completed", "Requests that were answered", true},
	[CHATGLM_FAILED] = {"failed", "Requests that ended in an error", true},
	[CHATGLM_CANCELLED] = {"cancelled", "Requests that were cancelled", true},
	[CHATGLM_TOKENS_OF_PROMPTS] = {"prompt_tokens", "Tokens of prompts"},
	[CHATGLM_TOKENS_CACHED] = {"cached_tokens",
							   "Tokens of prompts that were found in the prefix cache"},
	[CHATGLM_PREFIX_HITS] = {"prefix_hits", "Requests with such tokens"},
	[CHATGLM_TOKENS_PREFILLED] = {"prefill_tokens", "Tokens of prompts that were computed, again "
													"after a preemption too"},
	[CHATGLM_TOKENS_GENERATED] = {"completion_tokens", "Tokens of answers"},
	[CHATGLM_TOKENS_DRAFTED] = {"draft_tokens", "Tokens that speculation proposed"},
	[CHATGLM_TOKENS_ACCEPTED] = {"accepted_tokens",
								 "Proposed tokens that became part of an answer"},
	[CHATGLM_PREEMPTIONS] = {"preemptions", "How often a request gave its KV memory up, to be "
											"computed again"},
	[CHATGLM_EVICTIONS] = {"kv_evictions", "Cached KV blocks that made way for others"},
	[CHATGLM_PASSES] = {"passes", "Forward passes"},
	[CHATGLM_PASS_TIME] = {"pass_seconds", "Time spent in forward passes"},
};

const ChatglmHistogramName chatglm_histogram_table[CHATGLM_N_HISTOGRAMS] = {
	[CHATGLM_QUEUE_TIME] = {"queue_time_seconds", "Time that a request waited before it was read "
												  "and before it was computed"},
	[CHATGLM_FIRST_TOKEN_TIME] = {"first_token_seconds",
								  "Time from a request to the first token of its answer"},
	[CHATGLM_TOKEN_GAP] = {"token_gap_seconds", "Time between two tokens of an answer"},
	[CHATGLM_REQUEST_TIME] = {"request_seconds", "Time from a request to its end"},
	[CHATGLM_PROMPT_TOKENS] = {"request_prompt_tokens", "Tokens of a prompt"},
	[CHATGLM_ANSWER_TOKENS] = {"request_completion_tokens", "Tokens of an answer"},
};

const int64_t *
chatglm_histogram_bounds(ChatglmHistogramId id, int *n)
{
	*n = id <= CHATGLM_LAST_TIME ? GLM_N_TIME_BOUNDS : GLM_N_TOKEN_BOUNDS;
	return id <= CHATGLM_LAST_TIME ? glm_time_bounds : glm_token_bounds;
}

double
chatglm_histogram_value(ChatglmHistogramId id, int64 value)
{
	return id <= CHATGLM_LAST_TIME ? value / 1e6 : value;
}

const char *
chatglm_work_name(int work)
{
	if (work == CHATGLM_WORK_QUEUE)
		return "queue";
	return work == CHATGLM_WORK_TOKENIZE ? "tokenize" : glm_work_name((glm_work_kind) work);
}

const char *
chatglm_stage_name(int stage)
{
	return stage == CHATGLM_STAGE_SUBMIT ? "submit" : glm_stage_name((glm_stage) stage);
}

/* ---- One moment ------------------------------------------------------------------ */

static void
take_counters(ChatglmSnapshot *s)
{
	const ChatglmMeasured *m = &s->measured;
	double				  *v = s->value;

	v[CHATGLM_STARTS] = m->starts;
	v[CHATGLM_LOADS] = m->loads;
	v[CHATGLM_UNLOADS] = m->unloads;
	v[CHATGLM_COMPLETED] = m->use.completed;
	v[CHATGLM_FAILED] = m->use.failed;
	v[CHATGLM_CANCELLED] = m->use.cancelled;
	v[CHATGLM_TOKENS_OF_PROMPTS] = m->use.prompt_tokens;
	v[CHATGLM_TOKENS_CACHED] = m->use.cached_tokens;
	v[CHATGLM_PREFIX_HITS] = m->use.prefix_hits;
	v[CHATGLM_TOKENS_PREFILLED] = m->prefill_tokens;
	v[CHATGLM_TOKENS_GENERATED] = m->use.completion_tokens;
	v[CHATGLM_TOKENS_DRAFTED] = m->use.draft_tokens;
	v[CHATGLM_TOKENS_ACCEPTED] = m->use.accepted_tokens;
	v[CHATGLM_PREEMPTIONS] = m->use.preemptions;
	v[CHATGLM_EVICTIONS] = m->kv_evictions;
	v[CHATGLM_PASSES] = m->steps;
	v[CHATGLM_PASS_TIME] = m->step_us / 1e6;
}

/* What the worker has told of the engine. */
static void
take_engine(ChatglmSnapshot *s)
{
	const ChatglmShared *shared = s->shared;
	const glm_stats		*stats = &shared->stats;
	double				*v = s->value;

	s->worker_pid = shared->worker_pid;
	s->worker_started = shared->worker_started;
	v[CHATGLM_UP] = s->worker_pid != 0;
	v[CHATGLM_THREADS] = stats->threads;
	v[CHATGLM_WAITING] = stats->waiting;
	v[CHATGLM_RUNNING] = stats->running;
	v[CHATGLM_PAUSED] = stats->paused;
	v[CHATGLM_KV_TOTAL] = stats->kv_bytes_total;
	v[CHATGLM_KV_USED] = stats->kv_bytes_used;
	v[CHATGLM_KV_CACHED] = stats->kv_bytes_cached;
	v[CHATGLM_MODELS] = shared->n_models;
	for (int i = 0; i < shared->n_models; i++)
	{
		v[CHATGLM_MODEL_BYTES] += shared->model[i].size_bytes;
		v[CHATGLM_MODEL_MAPPED] += shared->model[i].bytes_mapped;
		v[CHATGLM_MODEL_RESIDENT] += shared->model[i].bytes_resident;
	}
}

static void
take_queue(ChatglmSnapshot *s)
{
	ChatglmRoomUse use;

	chatglm_room_look(InvalidOid, &use);
	s->value[CHATGLM_QUEUE_REQUESTS] = use.requests;
	s->value[CHATGLM_QUEUE_BYTES] = use.bytes;
	s->value[CHATGLM_QUEUE_MEMORY] = use.total_bytes;
}

ChatglmSnapshot *
chatglm_snapshot(void)
{
	ChatglmSnapshot *s = palloc0(sizeof(*s));
	ChatglmShared	*shared = palloc(sizeof(*shared));

	if (!chatglm_measures_copy(&s->measured) || !chatglm_shared_copy(shared))
		return s;
	s->shared = shared;
	take_counters(s);
	take_engine(s);
	take_queue(s);
	return s;
}

/* ---- Rows ------------------------------------------------------------------------ */

Datum
chatglm_measured_rows(FunctionCallInfo fcinfo, bool totals, ChatglmPutMeasured *put)
{
	TupleDesc		 desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);

	if (!totals || chatglm_may_see_totals())
		put(rows, desc, chatglm_snapshot());
	return (Datum) 0;
}
