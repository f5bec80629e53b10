/*
 * metrics.c - glm_metrics: what was measured as a text that Prometheus reads.
 *
 * The format is OpenMetrics 1.0: a family's lines stand together, counters end in _total,
 * classes of a histogram are cumulative, the last line is # EOF.  Every family is there
 * from the start, at zero; those by model have a sample for each model that was used.
 */
#include "chatglm.h"

#include "common/shortest_dec.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "encoding.h"
#include "errors.h"
#include "measures_table.h"

PG_FUNCTION_INFO_V1(chatglm_metrics);

/* ---- Lines ----------------------------------------------------------------------- */

static void
add_head(StringInfo out, const char *name, const char *type, const char *help)
{
	const char *last = strrchr(name, '_');

	appendStringInfo(out, "# TYPE chatglm_%s %s\n", name, type);
	if (last != NULL && (strcmp(last, "_seconds") == 0 || strcmp(last, "_bytes") == 0))
		appendStringInfo(out, "# UNIT chatglm_%s %s\n", name, last + 1);
	appendStringInfo(out, "# HELP chatglm_%s %s.\n", name, help);
}

/* A number as the format wants bounds to be, too: 0.5, 1.0, 250000.0. */
static void
add_number(StringInfo out, double value)
{
	char digits[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (value == (double) (int64) value)
		appendStringInfo(out, INT64_FORMAT ".0", (int64) value);
	else
	{
		double_to_shortest_decimal_buf(value, digits);
		appendStringInfoString(out, digits);
	}
}

static void
add_sample(StringInfo out, const char *name, const char *end, const char *labels, double value)
{
	appendStringInfo(out, "chatglm_%s%s%s ", name, end, labels);
	add_number(out, value);
	appendStringInfoChar(out, '\n');
}

/* {label="value"}; a value may be anything. */
static char *
label(const char *name, const char *value)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{%s=\"", name);
	for (const char *at = value; *at != '\0'; at++)
	{
		if (*at == '\n')
			appendStringInfoString(&out, "\\n");
		else if (*at == '\\' || *at == '"')
			appendStringInfo(&out, "\\%c", *at);
		else
			appendStringInfoChar(&out, *at);
	}
	appendStringInfoString(&out, "\"}");
	return out.data;
}

/* ---- Families -------------------------------------------------------------------- */

static void
add_figures(StringInfo out, const ChatglmSnapshot *s)
{
	for (int i = 0; i < CHATGLM_N_MEASURES; i++)
	{
		const ChatglmMeasure *m = &chatglm_measure_table[i];
		bool				  gauge = i < CHATGLM_N_GAUGES;

		add_head(out, m->name, gauge ? "gauge" : "counter", m->help);
		add_sample(out, m->name, gauge ? "" : "_total", "", s->value[i]);
	}
}

/* Those of one stage and SQLSTATE together, for which there may be several errors. */
static void
add_errors_of(StringInfo out, const ChatglmMeasured *m, int stage)
{
	for (int status = GLM_OK + 1; status < GLM_N_STATUS; status++)
	{
		int	   code = chatglm_errcode((glm_status) status);
		uint64 sum = 0;
		bool   first = true;

		for (int other = GLM_OK + 1; other < GLM_N_STATUS; other++)
		{
			if (chatglm_errcode((glm_status) other) != code)
				continue;
			sum += m->errors[stage][other];
			first &= other >= status;
		}
		if (first)
			add_sample(out, "errors", "_total",
					   psprintf("{stage=\"%s\",sqlstate=\"%s\"}", chatglm_stage_name(stage),
								unpack_sql_state(code)),
					   sum);
	}
}

static void
add_errors(StringInfo out, const ChatglmMeasured *m)
{
	add_head(out, "errors", "counter", "Requests that ended early, by how far they were and why");
	for (int stage = 0; stage < CHATGLM_N_STAGE; stage++)
		if (stage != GLM_STAGE_PAUSED) /* a part of decode */
			add_errors_of(out, m, stage);
}

static void
add_histogram(StringInfo out, const ChatglmMeasured *m, ChatglmHistogramId id)
{
	const ChatglmHistogramName *name = &chatglm_histogram_table[id];
	const ChatglmHistogram	   *h = &m->histogram[id];
	uint64						count = 0;
	int							n;
	const int64_t			   *bounds = chatglm_histogram_bounds(id, &n);

	add_head(out, name->name, "histogram", name->help);
	for (int i = 0; i <= n; i++)
	{
		StringInfoData bound;

		initStringInfo(&bound);
		if (i < n)
			add_number(&bound, chatglm_histogram_value(id, bounds[i]));
		count += h->count[i];
		add_sample(out, name->name, "_bucket", label("le", i < n ? bound.data : "+Inf"), count);
	}
	add_sample(out, name->name, "_count", "", count);
	add_sample(out, name->name, "_sum", "", chatglm_histogram_value(id, h->sum));
}

/* What was done in all, by stage. */
static double
stage_value(const ChatglmMeasured *m, int work, int what)
{
	double sum = 0;

	for (int i = 0; i < m->n_profiles; i++)
	{
		const glm_spent *spent = &m->profile[i].spent[work];

		sum += what == 0   ? spent->calls
			   : what == 1 ? spent->ns / 1e9
			   : what == 2 ? spent->bytes
						   : spent->ops;
	}
	return sum;
}

static void
add_profile(StringInfo out, const ChatglmMeasured *m)
{
	static const ChatglmHistogramName families[] = {
		{"stage_calls", "How often something was done, as in glm_profile"},
		{"stage_seconds", "Time spent in it"},
		{"stage_bytes", "Bytes of weights, keys and values that were read for it"},
		{"stage_operations", "Multiplications and additions for it"},
	};

	for (int what = 0; what < (int) lengthof(families); what++)
	{
		add_head(out, families[what].name, "counter", families[what].help);
		for (int work = 0; work < CHATGLM_N_WORK; work++)
			add_sample(out, families[what].name, "_total", label("stage", chatglm_work_name(work)),
					   stage_value(m, work, what));
	}
}

/* A counter of ChatglmUse for each model. */
static void
add_by_model(StringInfo out, const ChatglmMeasured *m, const char *name, const char *help,
			 size_t counter)
{
	add_head(out, name, "counter", help);
	for (int i = 0; i < m->n_models; i++)
		add_sample(out, name, "_total", label("model", chatglm_shown(m->model[i].name)),
				   *(const uint64 *) ((const char *) &m->model[i].use + counter));
}

static void
add_models(StringInfo out, const ChatglmMeasured *m)
{
	add_by_model(out, m, "model_completed", "Requests of a model that were answered",
				 offsetof(ChatglmUse, completed));
	add_by_model(out, m, "model_failed", "Requests of a model that ended in an error",
				 offsetof(ChatglmUse, failed));
	add_by_model(out, m, "model_cancelled", "Requests of a model that were cancelled",
				 offsetof(ChatglmUse, cancelled));
	add_by_model(out, m, "model_prompt_tokens", "Tokens of prompts of a model",
				 offsetof(ChatglmUse, prompt_tokens));
	add_by_model(out, m, "model_cached_tokens",
				 "Tokens of prompts of a model that were found in the prefix cache",
				 offsetof(ChatglmUse, cached_tokens));
	add_by_model(out, m, "model_completion_tokens", "Tokens of answers of a model",
				 offsetof(ChatglmUse, completion_tokens));
	add_by_model(out, m, "model_draft_tokens", "Tokens that speculation proposed to a model",
				 offsetof(ChatglmUse, draft_tokens));
	add_by_model(out, m, "model_accepted_tokens",
				 "Proposed tokens that became part of an answer of a model",
				 offsetof(ChatglmUse, accepted_tokens));
}

/* glm_metrics() returns text */
Datum
chatglm_metrics(PG_FUNCTION_ARGS)
{
	ChatglmSnapshot *s = chatglm_snapshot();
	StringInfoData	 out;

	initStringInfo(&out);
	add_figures(&out, s);
	add_errors(&out, &s->measured);
	for (int id = 0; id < CHATGLM_N_HISTOGRAMS; id++)
		add_histogram(&out, &s->measured, (ChatglmHistogramId) id);
	add_profile(&out, &s->measured);
	add_models(&out, &s->measured);
	appendStringInfoString(&out, "# EOF\n");
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
