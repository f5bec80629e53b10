/*
 * health.c - glm_health and glm_ready: whether calls are served, and what was measured.
 *
 * Every figure is one of the table (measures_table.c), under its name there: none is counted
 * for this alone.  Beside them stands what is no figure: the state and the reasons for it,
 * what computes, and how it was tuned.
 *
 * Both are read from shared memory, so they answer while the worker is busy, down, or was
 * never configured, and neither fails.
 */
#include "chatglm.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "encoding.h"
#include "jsonb_build.h"
#include "measures_table.h"
#include "model_name.h"
#include "privileges.h"
#include "room.h"
#include "settings.h"
#include "shared.h"
#include "worker_device.h"

PG_FUNCTION_INFO_V1(chatglm_health);
PG_FUNCTION_INFO_V1(chatglm_ready);

typedef enum HealthState
{
	HEALTH_READY,
	HEALTH_DEGRADED, /* calls are served, not as well as they could be */
	HEALTH_FULL,	 /* a call of the current user would be refused now */
	HEALTH_DOWN
} HealthState;

/* ---- The state ------------------------------------------------------------------- */

/* Why there is no worker; NULL: there is one. */
static const char *
down_reason(const ChatglmSnapshot *s)
{
	if (s->shared == NULL)
		return "chatglm is not in shared_preload_libraries";
	if (s->worker_pid != 0)
		return NULL;
	return s->shared->worker_cannot_start ? "the chatglm worker cannot start"
										  : "the chatglm worker is not running";
}

/* Would a short call of the current user find room in the queue? */
static bool
has_room(void)
{
	const ChatglmRoomWish wish = {.role = GetUserId(), .bytes = sizeof(glm_request)};

	return chatglm_room_open(&wish);
}

/* What keeps the worker from being as fast as its settings let expect. */
static List *
degraded_reasons(const glm_stats *stats)
{
	List *reasons = NIL;

	/* who leaves the choice to the worker need not have a GPU */
	if (stats->device_why[0] != '\0' && strcmp(chatglm_device, "auto") != 0)
		reasons = lappend(reasons, psprintf("it computes on the CPU: %s", stats->device_why));
	if (strcmp(stats->kernels, "scalar") == 0 && strcmp(chatglm_kernels, "auto") == 0)
		reasons = lappend(reasons, pstrdup("there are no vector kernels for this CPU"));
	for (int i = 0; i < stats->n_tuned; i++)
		if (stats->tuned[i].dropped)
			reasons = lappend(reasons, psprintf("it does without %s: %s", stats->tuned[i].what,
												stats->tuned[i].how));
	return reasons;
}

/* The state, and why it is not the best one. */
static HealthState
find_state(const ChatglmSnapshot *s, List **reasons)
{
	const char *down = down_reason(s);

	*reasons = NIL;
	if (down != NULL)
	{
		*reasons = list_make1(pstrdup(down));
		return HEALTH_DOWN;
	}
	*reasons = degraded_reasons(&s->shared->stats);
	if (!has_room())
	{
		*reasons =
			lcons(pstrdup("a call of the current user would find no room in the queue"), *reasons);
		return HEALTH_FULL;
	}
	return *reasons != NIL ? HEALTH_DEGRADED : HEALTH_READY;
}

static bool
serves(HealthState state)
{
	return state == HEALTH_READY || state == HEALTH_DEGRADED;
}

/* ---- glm_health ------------------------------------------------------------------ */

static void
add_text(JsonbParseState **json, const char *key, const char *value)
{
	chatglm_json_string(json, key, value[0] != '\0' ? chatglm_shown(value) : NULL);
}

/* How often the device was lost in a row, and until when it is left alone for that. */
static void
add_device_state(JsonbParseState **json)
{
	ChatglmDeviceState state = {0};

	if (chatglm_shared != NULL)
		chatglm_device_look(&state);
	chatglm_json_count(json, "device_losses", state.losses);
	chatglm_json_string(json, "device_rests_until",
						state.rests_until != 0 ? timestamptz_to_str(state.rests_until) : NULL);
}

static void
add_state(JsonbParseState **json, const ChatglmSnapshot *s)
{
	static const char *const names[] = {
		[HEALTH_READY] = "ready",
		[HEALTH_DEGRADED] = "degraded",
		[HEALTH_FULL] = "full",
		[HEALTH_DOWN] = "down",
	};
	List	   *reasons;
	HealthState state = find_state(s, &reasons);
	ListCell   *cell;

	chatglm_json_bool(json, "ready", serves(state));
	chatglm_json_string(json, "version", CHATGLM_VERSION);
	chatglm_json_string(json, "state", names[state]);
	chatglm_json_array(json, "reasons");
	foreach(cell, reasons)
		chatglm_json_string(json, NULL, chatglm_shown(lfirst(cell)));
	chatglm_json_end_array(json);
	add_text(json, "last_error", s->shared != NULL ? s->shared->worker_error : "");
	add_device_state(json);
}

/* Null where the current user may not see it. */
static void
add_total(JsonbParseState **json, const char *key, uint64 value)
{
	if (chatglm_may_see_totals())
		chatglm_json_count(json, key, value);
	else
		chatglm_json_null(json, key);
}

/* Those with memory of their own; what is on them tells of others. */
static void
add_devices(JsonbParseState **json, const glm_stats *stats)
{
	chatglm_json_array(json, "devices");
	for (int i = 0; i < stats->n_devices; i++)
	{
		const glm_device_use *use = &stats->device_use[i];

		chatglm_json_object(json, NULL);
		chatglm_json_count(json, "number", use->number);
		chatglm_json_string(json, "name", use->name);
		chatglm_json_count(json, "memory_bytes", use->bytes);
		add_total(json, "memory_bytes_free", use->bytes_free);
		add_total(json, "models", use->models);
		chatglm_json_count(json, "kv_bytes_total", use->kv_bytes_total);
		add_total(json, "kv_bytes_used", use->kv_bytes_used);
		chatglm_json_end_object(json);
	}
	chatglm_json_end_array(json);
}

/* What was chosen by measuring, by what it is for, and how long finding out has taken. */
static void
add_tuning(JsonbParseState **json, const glm_stats *stats)
{
	chatglm_json_object(json, "tuning");
	chatglm_json_string(json, "mode", stats->tuning ? "auto" : "off");
	chatglm_json_count(json, "cost_ms", stats->tuning_ns / 1000000);
	for (int i = 0; i < stats->n_tuned; i++)
		chatglm_json_string(json, stats->tuned[i].what, stats->tuned[i].how);
	chatglm_json_end_object(json);
}

/* Names of loaded models: all, or to others those that mean something here. */
static void
add_model_names(JsonbParseState **json, const ChatglmShared *shared)
{
	ListCell *cell;

	chatglm_json_array(json, "model_names");
	for (int i = 0; chatglm_may_see_totals() && i < shared->n_models; i++)
		chatglm_json_string(json, NULL, chatglm_shown(shared->model[i].name));
	foreach(cell, chatglm_may_see_totals() ? NIL : chatglm_usable_models_at_once())
	{
		const ChatglmModelRef *ref = lfirst(cell);

		if (chatglm_find_loaded(shared, ref->name, ref->path) != NULL)
			chatglm_json_string(json, NULL, ref->name);
	}
	chatglm_json_end_array(json);
}

static void
add_worker(JsonbParseState **json, const ChatglmSnapshot *s)
{
	chatglm_json_count(json, "worker_pid", s->worker_pid);
	chatglm_json_number(json, "uptime_s",
						psprintf("%.3f", (GetCurrentTimestamp() - s->worker_started) / 1e6));
	add_text(json, "kernels", s->shared->stats.kernels);
	add_text(json, "device", s->shared->stats.device);
	add_text(json, "device_why", s->shared->stats.device_why);
	chatglm_json_string(json, "device_arithmetic", s->shared->stats.fast ? "fast" : "exact");
	add_devices(json, &s->shared->stats);
	add_tuning(json, &s->shared->stats);
	add_model_names(json, s->shared);
}

/* All figures; null are those that the current user may not see. */
static void
add_figures(JsonbParseState **json, const ChatglmSnapshot *s)
{
	for (int i = 0; i < CHATGLM_N_MEASURES; i++)
	{
		const ChatglmMeasure *measure = &chatglm_measure_table[i];
		double				  value = s->value[i];

		if (!measure->open && !chatglm_may_see_totals())
			chatglm_json_null(json, measure->name);
		else if (value == (double) (int64) value)
			chatglm_json_count(json, measure->name, (int64) value);
		else
			chatglm_json_number(json, measure->name, psprintf("%.6f", value));
	}
}

/* glm_health() returns jsonb */
Datum
chatglm_health(PG_FUNCTION_ARGS)
{
	ChatglmSnapshot *s = chatglm_snapshot();
	JsonbParseState *json = NULL;

	chatglm_json_object(&json, NULL);
	add_state(&json, s);
	if (s->worker_pid != 0)
		add_worker(&json, s);
	add_figures(&json, s);
	PG_RETURN_JSONB_P(chatglm_json_finish(&json));
}

/* glm_ready() returns boolean */
Datum
chatglm_ready(PG_FUNCTION_ARGS)
{
	List *reasons;

	PG_RETURN_BOOL(serves(find_state(chatglm_snapshot(), &reasons)));
}
