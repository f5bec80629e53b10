/*
 * profile.c - where the time of requests went: glm_profile and glm_profile_folded.
 *
 * By model and by the label that calls carry (options.label).  What passes did for a request
 * is in its ticket (timing.h); the two stages before them are its times.  Rows are for
 * members of pg_read_all_stats.
 */
#include "chatglm.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "encoding.h"
#include "measures_table.h"

PG_FUNCTION_INFO_V1(chatglm_profile);
PG_FUNCTION_INFO_V1(chatglm_profile_folded);

#define PROFILE_COLUMNS 10

static int64
sum_of(const ChatglmProfile *profile)
{
	int64 ns = 0;

	for (int i = 0; i < CHATGLM_N_WORK; i++)
		ns += profile->spent[i].ns;
	return ns;
}

/* Billions a second; null where nothing was counted. */
static Datum
rate(uint64 count, int64 ns, bool *null)
{
	*null = count == 0 || ns == 0;
	return Float8GetDatum(*null ? 0 : (double) count / ns);
}

static void
put_stage(Tuplestorestate *rows, TupleDesc desc, const ChatglmProfile *profile, int work)
{
	const glm_spent *spent = &profile->spent[work];
	int64			 sum = sum_of(profile);
	Datum			 values[PROFILE_COLUMNS] = {0};
	bool			 nulls[PROFILE_COLUMNS] = {0};

	values[0] = CStringGetTextDatum(chatglm_shown(profile->model));
	values[1] = CStringGetTextDatum(chatglm_shown(profile->label));
	nulls[1] = profile->label[0] == '\0';
	values[2] = CStringGetTextDatum(chatglm_work_name(work));
	values[3] = Int64GetDatum(spent->calls);
	values[4] = Float8GetDatum(spent->ns / 1e6);
	nulls[5] = sum == 0;
	values[5] = Float8GetDatum(sum == 0 ? 0 : (double) spent->ns / sum);
	values[6] = Int64GetDatum(spent->bytes);
	values[7] = Int64GetDatum(spent->ops);
	values[8] = rate(spent->bytes, spent->ns, &nulls[8]);
	values[9] = rate(spent->ops, spent->ns, &nulls[9]);
	tuplestore_putvalues(rows, desc, values, nulls);
}

static void
put_profiles(Tuplestorestate *rows, TupleDesc desc, const ChatglmSnapshot *s)
{
	for (int i = 0; i < s->measured.n_profiles; i++)
		for (int work = 0; work < CHATGLM_N_WORK; work++)
			put_stage(rows, desc, &s->measured.profile[i], work);
}

/* The rows of view glm_profile. */
Datum
chatglm_profile(PG_FUNCTION_ARGS)
{
	return chatglm_measured_rows(fcinfo, true, put_profiles);
}

/* ---- For flame graphs ------------------------------------------------------------ */

/* A frame's name, in which semicolons and ends of lines have a meaning. */
static void
add_frame(StringInfo out, const char *name)
{
	for (const char *at = name; *at != '\0'; at++)
		appendStringInfoChar(out, *at == ';' ? ',' : *at == '\n' || *at == '\r' ? ' ' : *at);
	appendStringInfoChar(out, ';');
}

/* "decode matmul" are two frames. */
static void
add_stage(StringInfo out, const ChatglmProfile *profile, int work)
{
	int64 us = profile->spent[work].ns / 1000;

	if (us == 0)
		return;
	appendStringInfoString(out, "chatglm;");
	add_frame(out, profile->model[0] != '\0' ? chatglm_shown(profile->model) : "(other models)");
	if (profile->label[0] != '\0')
		add_frame(out, chatglm_shown(profile->label));
	for (const char *at = chatglm_work_name(work); *at != '\0'; at++)
		appendStringInfoChar(out, *at == ' ' ? ';' : *at);
	appendStringInfo(out, " " INT64_FORMAT "\n", us);
}

/* glm_profile_folded() returns text: a stack a line, and its microseconds */
Datum
chatglm_profile_folded(PG_FUNCTION_ARGS)
{
	ChatglmSnapshot *s = chatglm_snapshot();
	StringInfoData	 out;

	initStringInfo(&out);
	for (int i = 0; i < s->measured.n_profiles; i++)
		for (int work = 0; work < CHATGLM_N_WORK; work++)
			add_stage(&out, &s->measured.profile[i], work);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
