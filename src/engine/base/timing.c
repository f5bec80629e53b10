/*
 * timing.c - what became of one request and when, and how such figures are put into classes.
 */
#include "engine/base/timing.h"

const int64_t glm_time_bounds[GLM_N_TIME_BOUNDS] = {
	500,	1000,	 2500,	  5000,	   10000,	 25000,	   50000,	 100000,	250000,
	500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 300000000, 1800000000};

const int64_t glm_token_bounds[GLM_N_TOKEN_BOUNDS] = {1,   5,	 10,   25,	 50,	100,   250,
													  500, 1000, 2500, 5000, 10000, 30000, 100000};

const char *
glm_stage_name(glm_stage stage)
{
	static const char *const names[GLM_N_STAGE] = {
		[GLM_STAGE_READING] = "reading", [GLM_STAGE_LOADING] = "loading",
		[GLM_STAGE_WAITING] = "waiting", [GLM_STAGE_PREFILL] = "prefill",
		[GLM_STAGE_DECODE] = "decode",	 [GLM_STAGE_PAUSED] = "paused",
		[GLM_STAGE_JOB] = "job",
	};

	return (int) stage >= 0 && stage < GLM_N_STAGE ? names[stage] : "unknown";
}

const char *
glm_work_name(glm_work_kind work)
{
	static const char *const names[GLM_N_WORK] = {
		[GLM_WORK_PREFILL_MATMUL] = "prefill matmul",
		[GLM_WORK_PREFILL_ATTENTION] = "prefill attention",
		[GLM_WORK_DECODE_MATMUL] = "decode matmul",
		[GLM_WORK_DECODE_ATTENTION] = "decode attention",
		[GLM_WORK_HEAD] = "head",
		[GLM_WORK_SAMPLE] = "sample",
		[GLM_WORK_CONSTRAIN] = "constrain",
		[GLM_WORK_DELIVER] = "deliver",
		[GLM_WORK_COPY] = "device copy",
	};

	return (int) work >= 0 && work < GLM_N_WORK ? names[work] : "unknown";
}

int
glm_bound_of(int64_t value, const int64_t *bounds, int n)
{
	int i = 0;

	while (i < n && value > bounds[i])
		i++;
	return i;
}

void
glm_timing_tokens(glm_timing *t, int n, int64_t now_ns)
{
	int64_t gap_ns = now_ns - t->last_ns;

	if (t->first_ns == 0)
		t->first_ns = now_ns;
	else
	{
		t->gap[glm_bound_of(gap_ns / n / 1000, glm_time_bounds, GLM_N_TIME_BOUNDS)] += (uint32_t) n;
		t->gap_ns += gap_ns;
	}
	t->last_ns = now_ns;
	t->completion_tokens += n;
}
