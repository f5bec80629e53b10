/*
 * measures.c - what the worker has measured so far, in shared memory.
 *
 * The worker's main thread counts a request when its last event has come from the engine,
 * before it is passed on: who has an answer finds it counted.  How long a request took in
 * each of its stages the engine notes in the request's ticket (timing.h), so nothing is
 * added in passes but to memory that the engine's thread has to itself.
 *
 * The memory outlives workers; measures_file.c has the file that outlives the server.
 * Measures.lock guards all of it.  Nobody raises an ERROR, waits or calls the engine while
 * holding it.
 */
#include "chatglm.h"

#include "utils/timestamp.h"

#include "measures.h"
#include "measures_file.h"
#include "usage.h"

#define KEEP_MS 60000 /* what a crash may lose */

typedef struct Measures
{
	LWLock		   *lock;
	bool			begun;	 /* a worker has looked for the file */
	bool			changed; /* since the file was written */
	ChatglmMeasured measured;
} Measures;

static const ChatglmKept measures_file = {"chatglm.stat", 1, sizeof(ChatglmMeasured),
										  chatglm_measures_sound};

static Measures	  *measures; /* NULL: chatglm was not preloaded */
static TimestampTz last_kept;

/* ---- Shared memory --------------------------------------------------------------- */

Size
chatglm_measures_size(void)
{
	return MAXALIGN(sizeof(Measures));
}

static void
clear(ChatglmMeasured *measured)
{
	memset(measured, 0, sizeof(*measured));
	measured->reset = GetCurrentTimestamp();
}

void
chatglm_measures_init(void *memory, LWLock *lock)
{
	measures = memory;
	if (lock == NULL)
		return;
	memset(measures, 0, sizeof(*measures));
	measures->lock = lock;
	clear(&measures->measured);
}

bool
chatglm_measures_copy(ChatglmMeasured *copy)
{
	if (measures == NULL)
		return false;
	LWLockAcquire(measures->lock, LW_SHARED);
	memcpy(copy, &measures->measured, sizeof(*copy));
	LWLockRelease(measures->lock);
	return true;
}

void
chatglm_measures_reset(void)
{
	LWLockAcquire(measures->lock, LW_EXCLUSIVE);
	clear(&measures->measured);
	measures->changed = true;
	LWLockRelease(measures->lock);
}

/* ---- Requests -------------------------------------------------------------------- */

/* The entry of a model, or the one for all others.  Under the lock. */
static ChatglmUse *
use_of_model(ChatglmMeasured *m, const char *name)
{
	ChatglmModelUse *entry;

	for (int i = 0; i < m->n_models; i++)
		if (strcmp(m->model[i].name, name) == 0)
			return &m->model[i].use;
	if (m->n_models == CHATGLM_MEASURED_MODELS)
		return &m->model[CHATGLM_MEASURED_MODELS - 1].use;
	entry = &m->model[m->n_models++];
	if (m->n_models < CHATGLM_MEASURED_MODELS)
		strlcpy(entry->name, name, sizeof(entry->name));
	return &entry->use;
}

/* The same of a role in a database. */
static ChatglmUse *
use_of_role(ChatglmMeasured *m, Oid role, Oid database)
{
	ChatglmRoleUse *entry;

	for (int i = 0; i < m->n_roles; i++)
		if (m->role[i].role == role && m->role[i].database == database)
			return &m->role[i].use;
	if (m->n_roles == CHATGLM_MEASURED_ROLES)
		return &m->role[CHATGLM_MEASURED_ROLES - 1].use;
	entry = &m->role[m->n_roles++];
	if (m->n_roles < CHATGLM_MEASURED_ROLES)
	{
		entry->role = role;
		entry->database = database;
	}
	return &entry->use;
}

/* The same of a model and a label. */
static ChatglmProfile *
profile_of(ChatglmMeasured *m, const char *model, const char *label)
{
	ChatglmProfile *entry;

	for (int i = 0; i < m->n_profiles; i++)
		if (strcmp(m->profile[i].model, model) == 0 && strcmp(m->profile[i].label, label) == 0)
			return &m->profile[i];
	if (m->n_profiles == CHATGLM_PROFILES)
		return &m->profile[CHATGLM_PROFILES - 1];
	entry = &m->profile[m->n_profiles++];
	if (m->n_profiles < CHATGLM_PROFILES)
	{
		strlcpy(entry->model, model, sizeof(entry->model));
		strlcpy(entry->label, label, sizeof(entry->label));
	}
	return entry;
}

/* Time from one event to another, 0 where it did not come so far; microseconds. */
static int64
time_between(int64 from_ns, int64 to_ns)
{
	return from_ns != 0 && to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;
}

static int64
queue_time(const glm_timing *t)
{
	return time_between(t->submitted_ns, t->begun_ns) + time_between(t->ready_ns, t->admitted_ns);
}

static void
add_use(ChatglmUse *use, const ChatglmEnded *ended)
{
	const glm_timing *t = ended->timing;

	use->completed += ended->status == GLM_OK;
	use->cancelled += ended->status == GLM_CANCELLED;
	use->failed += ended->status != GLM_OK && ended->status != GLM_CANCELLED;
	if (t == NULL)
		return;
	use->prompt_tokens += t->prompt_tokens;
	use->cached_tokens += t->cached_tokens;
	use->prefix_hits += t->cached_tokens > 0;
	use->completion_tokens += t->completion_tokens;
	use->draft_tokens += t->draft_tokens;
	use->accepted_tokens += t->accepted_tokens;
	use->preemptions += t->preemptions;
	use->queue_us += queue_time(t);
	use->total_us += time_between(t->submitted_ns, t->ended_ns);
}

static void
add_to_histogram(ChatglmMeasured *m, ChatglmHistogramId id, int64 value)
{
	bool			  is_time = id <= CHATGLM_LAST_TIME;
	ChatglmHistogram *h = &m->histogram[id];

	h->count[glm_bound_of(value, is_time ? glm_time_bounds : glm_token_bounds,
						  is_time ? GLM_N_TIME_BOUNDS : GLM_N_TOKEN_BOUNDS)]++;
	h->sum += value;
}

/* Of what is computed by passes, as far as it came. */
static void
add_to_histograms(ChatglmMeasured *m, const ChatglmEnded *ended)
{
	const glm_timing *t = ended->timing;
	ChatglmHistogram *gaps = &m->histogram[CHATGLM_TOKEN_GAP];

	if (t->admitted_ns != 0)
	{
		add_to_histogram(m, CHATGLM_QUEUE_TIME, queue_time(t));
		add_to_histogram(m, CHATGLM_PROMPT_TOKENS, t->prompt_tokens);
	}
	if (t->first_ns != 0)
		add_to_histogram(m, CHATGLM_FIRST_TOKEN_TIME, time_between(t->submitted_ns, t->first_ns));
	for (int i = 0; i <= GLM_N_TIME_BOUNDS; i++)
		gaps->count[i] += t->gap[i];
	gaps->sum += t->gap_ns / 1000;
	if (ended->status != GLM_OK || t->admitted_ns == 0)
		return;
	add_to_histogram(m, CHATGLM_REQUEST_TIME, time_between(t->submitted_ns, t->ended_ns));
	if (ended->kind == GLM_GENERATE)
		add_to_histogram(m, CHATGLM_ANSWER_TOKENS, t->completion_tokens);
}

static void
add_spent(glm_spent *sum, const glm_spent *more)
{
	sum->calls += more->calls;
	sum->ns += more->ns;
	sum->bytes += more->bytes;
	sum->ops += more->ops;
}

/* Where the time of a request went that had a prompt. */
static void
add_to_profile(ChatglmProfile *profile, const glm_timing *t)
{
	const glm_spent queue = {.calls = t->admitted_ns != 0, .ns = queue_time(t) * 1000};
	const glm_spent tokenize = {.calls = 1, .ns = time_between(t->begun_ns, t->ready_ns) * 1000};

	add_spent(&profile->spent[CHATGLM_WORK_QUEUE], &queue);
	add_spent(&profile->spent[CHATGLM_WORK_TOKENIZE], &tokenize);
	for (int i = 0; i < GLM_N_WORK; i++)
		add_spent(&profile->spent[i], &t->spent[i]);
}

/* By the roles whose limits it counts for. */
static void
add_to_usage(const ChatglmEnded *ended)
{
	const glm_timing  *t = ended->timing;
	const ChatglmUsage more = {.requests = 1,
							   .prompt_tokens = t != NULL ? t->prompt_tokens : 0,
							   .completion_tokens = t != NULL ? t->completion_tokens : 0,
							   .errors = ended->status != GLM_OK};

	chatglm_usage_add(ended->login, ended->database, &more);
	if (ended->role != ended->login)
		chatglm_usage_add(ended->role, ended->database, &more);
}

void
chatglm_measure_end(const ChatglmEnded *ended)
{
	int				 stage = ended->timing != NULL ? ended->timing->stage : CHATGLM_STAGE_SUBMIT;
	ChatglmMeasured *m;

	if (measures == NULL)
		return;
	m = &measures->measured;
	LWLockAcquire(measures->lock, LW_EXCLUSIVE);
	add_use(&m->use, ended);
	add_use(use_of_role(m, ended->role, ended->database), ended);
	if (ended->model != NULL && ended->model[0] != '\0')
		add_use(use_of_model(m, ended->model), ended);
	if (ended->status > GLM_OK && ended->status < GLM_N_STATUS && stage < CHATGLM_N_STAGE)
		m->errors[stage][ended->status]++;
	if (ended->timing != NULL)
		add_to_histograms(m, ended);
	if (ended->timing != NULL && ended->timing->ready_ns != 0)
		add_to_profile(profile_of(m, ended->model, ended->label), ended->timing);
	measures->changed = true;
	LWLockRelease(measures->lock);
	add_to_usage(ended);
}

/* ---- The worker ------------------------------------------------------------------ */

void
chatglm_measure_engine(const glm_stats *stats)
{
	static glm_stats last;
	ChatglmMeasured *m = &measures->measured;

	if (stats->steps == last.steps && stats->kv_evictions == last.kv_evictions)
		return;
	LWLockAcquire(measures->lock, LW_EXCLUSIVE);
	m->steps += stats->steps - last.steps;
	m->step_us += stats->step_ns / 1000 - last.step_ns / 1000;
	m->prefill_tokens += stats->prompt_tokens - last.prompt_tokens;
	m->kv_evictions += stats->kv_evictions - last.kv_evictions;
	measures->changed = true;
	LWLockRelease(measures->lock);
	last = *stats;
}

void
chatglm_measure_loads(int loads, int unloads)
{
	LWLockAcquire(measures->lock, LW_EXCLUSIVE);
	measures->measured.loads += loads;
	measures->measured.unloads += unloads;
	measures->changed |= loads + unloads > 0;
	LWLockRelease(measures->lock);
}

/* ---- Keeping --------------------------------------------------------------------- */

void
chatglm_measures_begin(void)
{
	ChatglmMeasured *kept = palloc(sizeof(*kept));
	bool			 begun = measures->begun; /* the worker's alone */
	bool			 found = !begun && chatglm_kept_read(&measures_file, kept);

	LWLockAcquire(measures->lock, LW_EXCLUSIVE);
	if (found)
		measures->measured = *kept;
	measures->measured.starts++;
	measures->begun = measures->changed = true;
	LWLockRelease(measures->lock);
	pfree(kept);
	chatglm_usage_load();
	last_kept = GetCurrentTimestamp();
}

long
chatglm_measures_keep_if_due(void)
{
	long elapsed_ms = (GetCurrentTimestamp() - last_kept) / 1000;

	/* a change that is just being made wakes us, or is seen the next time */
	if (!measures->changed)
		return -1;
	if (elapsed_ms >= 0 && elapsed_ms < KEEP_MS)
		return KEEP_MS - elapsed_ms;
	chatglm_measures_keep();
	return measures->changed ? KEEP_MS : -1;
}

void
chatglm_measures_keep(void)
{
	ChatglmMeasured *copy;
	bool			 written;

	if (measures == NULL || !measures->begun || !measures->changed)
		return;
	last_kept = GetCurrentTimestamp();
	copy = MemoryContextAllocExtended(TopMemoryContext, sizeof(*copy), MCXT_ALLOC_NO_OOM);
	if (copy == NULL)
		return; /* the next time there may be more */
	LWLockAcquire(measures->lock, LW_EXCLUSIVE);
	*copy = measures->measured;
	measures->changed = false;
	LWLockRelease(measures->lock);
	written = chatglm_kept_write(&measures_file, copy);
	pfree(copy);
	if (!chatglm_usage_keep() || !written)
		measures->changed = true; /* a minute later there may be room */
}
