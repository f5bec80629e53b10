/*
 * settings_define.c - defines the settings chatglm.*.
 *
 * What guards the server (memory, queue lengths, directories) can be changed by
 * its administrator only; what shapes an answer is everybody's.
 */
#include "chatglm.h"

#include "tcop/pquery.h"
#include "utils/plancache.h"

#include "model_name.h"
#include "route.h"
#include "segment.h"
#include "settings.h"
#include "settings_define.h"

#define MAX_MEMORY_MB (MAX_KILOBYTES / 1024)
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

/* Filled from glm_verify_names. */
static struct config_enum_entry verify_values[GLM_VERIFY_OFF + 2];

static const struct config_enum_entry kv_cache_type_values[] = {{"auto", GLM_KV_AUTO, false},
																{"f32", GLM_KV_F32, false},
																{"f16", GLM_KV_F16, false},
																{"int8", GLM_KV_INT8, false},
																{NULL, 0, false}};

static const struct config_enum_entry speculation_values[] = {
	{"auto", GLM_SPECULATE_AUTO, false},
	{"off", GLM_SPECULATE_OFF, false},
	{"always", GLM_SPECULATE_ALWAYS, false},
	{NULL, 0, false}};

static const struct config_enum_entry tuning_values[] = {
	{"auto", true, false}, {"off", false, false}, {NULL, 0, false}};

static const struct config_enum_entry huge_pages_values[] = {
	{"try", true, false}, {"off", false, false}, {NULL, 0, false}};

static const struct config_enum_entry fallbacks[] = {
	{"none", false, false}, {"cpu", true, false}, {NULL, 0, false}};

static const struct config_enum_entry arithmetics[] = {
	{"exact", false, false}, {"fast", true, false}, {NULL, 0, false}};

static const struct config_enum_entry sharing_values[] = {{"role", CHATGLM_SHARING_ROLE, false},
														  {"all", CHATGLM_SHARING_ALL, false},
														  {"off", CHATGLM_SHARING_OFF, false},
														  {NULL, 0, false}};

static void define_capacity_settings(GucContext at_start);
static void define_compute_settings(GucContext at_start);
static void define_reloadable_settings(void);
static void define_device_rest(void);
static void define_superuser_settings(void);
static void define_user_settings(void);
static bool check_cpu_affinity(char **newval, void **extra, GucSource source);
static bool check_device(char **newval, void **extra, GucSource source);
static bool check_device_arithmetic(int *newval, void **extra, GucSource source);
static bool check_kernels(char **newval, void **extra, GucSource source);
static bool check_model_dir(char **newval, void **extra, GucSource source);
static bool check_model(char **newval, void **extra, GucSource source);
static bool check_task_language(char **newval, void **extra, GucSource source);
static void assign_prefetch(int newval, void *extra);

void
chatglm_define_settings(void)
{
	/*
	 * A server refuses new PGC_POSTMASTER settings once it has started, so a
	 * session that loads the library on its own, without preload, gets them as
	 * PGC_SIGHUP: SHOW works, SET does not, and nothing reads them there.
	 */
	GucContext at_start =
		process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP;

	define_capacity_settings(at_start);
	define_compute_settings(at_start);
	define_reloadable_settings();
	define_device_rest();
	define_superuser_settings();
	define_user_settings();
	MarkGUCPrefixReserved("chatglm");
}

/* How much the worker may hold. */
static void
define_capacity_settings(GucContext at_start)
{
	DefineCustomIntVariable("chatglm.kv_cache_size",
							"Sets the size of the pool for the keys and values of all sequences.",
							"The pool bounds how many tokens of prompts and answers are held "
							"at a time; memory is used as it fills.",
							&chatglm_kv_cache_size, 1024, 1, MAX_MEMORY_MB, at_start, GUC_UNIT_MB,
							NULL, NULL, NULL);

	DefineCustomEnumVariable(
		"chatglm.kv_cache_type", "Sets in what keys and values are kept.",
		"auto: f16 for packed models, f32 for the others. f16 takes half the "
		"memory of f32 and int8 a bit more than a quarter; answers may differ.",
		&chatglm_kv_cache_type, GLM_KV_AUTO, kv_cache_type_values, at_start, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("chatglm.memory_limit", "Sets how much of model files may stay mapped.",
							"When a model that is to be loaded would exceed it, the models that "
							"were unused for longest leave first. 0 means no limit.",
							&chatglm_memory_limit, 0, 0, MAX_MEMORY_MB, at_start, GUC_UNIT_MB, NULL,
							NULL, NULL);

	DefineCustomIntVariable("chatglm.max_sequences",
							"Sets how many sequences are computed side by side.", NULL,
							&chatglm_max_sequences, 64, 1, 1024, at_start, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("chatglm.max_queue", "Sets how many requests may wait for their turn.",
							"Of one role: others find room beside it. Rows in flight wait until "
							"there is room, and leave some to calls that stand alone; a call that "
							"stands alone and finds none fails at once with SQLSTATE 53400.",
							&chatglm_max_queue, 1024, 1, 65536, at_start, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("chatglm.queue_memory",
							"Sets how much memory the texts of requests may take in the worker.",
							"A role may take as much of it as it leaves free, rows in flight half "
							"as much. What finds no room waits or fails as with "
							"chatglm.max_queue.",
							&chatglm_queue_memory, 256, 1, MAX_MEMORY_MB, at_start, GUC_UNIT_MB,
							NULL, NULL, NULL);
}

/* What the worker computes with. */
static void
define_compute_settings(GucContext at_start)
{
	DefineCustomIntVariable("chatglm.threads", "Sets the number of threads that compute.",
							"0 means one for each CPU, of those in chatglm.cpu_affinity "
							"where it is set.",
							&chatglm_threads, 0, 0, 256, at_start, 0, NULL, NULL, NULL);

	DefineCustomStringVariable(
		"chatglm.cpu_affinity", "Sets the CPUs that computing threads may run on.",
		"A list like 0-3,8; empty means all. The CPUs of one NUMA node keep "
		"a model near its memory; leaving some out keeps them free for the "
		"server's own processes.",
		&chatglm_cpu_affinity, "", at_start, 0, check_cpu_affinity, NULL, NULL);

	DefineCustomStringVariable("chatglm.device", "Selects the device that computes.",
							   "Possible values: auto, cpu, cuda, cuda:0, cuda:1 ..., cuda:0,1 for "
							   "several GPUs; auto takes one that can be used, else the CPU.",
							   &chatglm_device, "auto", at_start, 0, check_device, NULL, NULL);

	DefineCustomEnumVariable(
		"chatglm.device_fallback", "Selects what computes where chatglm.device cannot be had.",
		"With none the worker says why and does not answer.", &chatglm_device_fallback, false,
		fallbacks, at_start, 0, NULL, NULL, NULL);

	DefineCustomEnumVariable(
		"chatglm.device_arithmetic", "Selects whether a GPU gives the CPU's answers bit for bit.",
		"exact: it does; fast: models with weights of 16 bits are computed by tensor "
		"instructions, whose answers differ a little from the CPU's, but do not depend on what "
		"is computed beside.",
		&chatglm_device_arithmetic, false, arithmetics, at_start, 0, check_device_arithmetic, NULL,
		NULL);

	DefineCustomStringVariable("chatglm.kernels", "Selects the CPU kernels.",
							   "auto takes the fastest the CPU can run; scalar, avx2, avx512 and "
							   "neon force a table, and the worker does not start where the CPU "
							   "lacks it.",
							   &chatglm_kernels, "auto", at_start, 0, check_kernels, NULL, NULL);
}

static void
define_reloadable_settings(void)
{
	for (int i = 0; glm_verify_names[i] != NULL; i++)
		verify_values[i] = (struct config_enum_entry){glm_verify_names[i], i, false};

	DefineCustomStringVariable(
		"chatglm.model_dir", "Sets the directory in which models are found by name.",
		"Empty means the directory that came with the extension.", &chatglm_model_dir, "",
		PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_model_dir, NULL, NULL);

	DefineCustomEnumVariable(
		"chatglm.verify",
		"Selects when chunks of packed models are checked against their manifest.",
		"first-map: when the model is used for the first time; full: "
		"while it is loaded; off: never. The option verify of a model "
		"goes before this setting.",
		&chatglm_verify, GLM_VERIFY_FIRST_MAP, verify_values, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"chatglm.prefill_budget", "Sets how many tokens of prompts are computed in one step.",
		"More of them read long prompts faster; fewer let running answers "
		"continue more evenly.",
		&chatglm_prefill_budget, 256, 1, GLM_PREFILL_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomEnumVariable(
		"chatglm.speculation",
		"Sets whether tokens that can be foreseen are computed several at a time.",
		"auto: where it pays, as measured; off: never; always: on the "
		"faintest hope, for tests. Answers are the same.",
		&chatglm_speculation, GLM_SPECULATE_AUTO, speculation_values, PGC_SIGHUP, 0, NULL, NULL,
		NULL);

	DefineCustomEnumVariable(
		"chatglm.huge_pages",
		"Sets whether weights are copied to huge pages once a model is in use.",
		"try: where there are such pages and a quarter of all memory is left, the worker copies "
		"them beside its work and reads them faster then; off: they stay the files' pages.",
		&chatglm_huge_pages, true, huge_pages_values, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomEnumVariable(
		"chatglm.tuning", "Sets whether the worker finds out how weights are read fastest.",
		"auto: some ways take turns in the first passes, and now and then later, and the "
		"fastest is kept; off: the one that was best on other machines. Answers are the same.",
		&chatglm_tuning, true, tuning_values, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("chatglm.job_workers",
							"Sets how many processes work on jobs in the background.",
							"Each is one of max_worker_processes while it runs. 0: none do; "
							"glm_job_run() needs none.",
							&chatglm_job_workers, 2, 0, 64, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("chatglm.debug_step_delay", "Makes the engine sleep after every step.",
							"For tests and demonstrations of streaming.", &chatglm_debug_step_delay,
							0, 0, 60000, PGC_SIGHUP, GUC_UNIT_MS | GUC_NOT_IN_SAMPLE, NULL, NULL,
							NULL);
}

static void
define_device_rest(void)
{
	DefineCustomIntVariable(
		"chatglm.device_rest",
		"Sets how long a device is left alone that was lost three times in a row.",
		"The CPU answers meanwhile where chatglm.device_fallback or auto let it. "
		"0: it is opened anew every time.",
		&chatglm_device_rest, 600, 0, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

/* What guards roles from each other; for one of them by ALTER ROLE or DATABASE. */
static void
define_superuser_settings(void)
{
	DefineCustomEnumVariable("chatglm.prefix_sharing",
							 "Sets with whom beginnings of prompts are shared in the cache.",
							 "role: only requests of the same role in the same database find "
							 "them; all: everybody for whom it is set so, who can then guess "
							 "each other's prompts from cached_tokens; off: nobody.",
							 &chatglm_prefix_sharing, CHATGLM_SHARING_ROLE, sharing_values,
							 PGC_SUSET, 0, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"chatglm.log_min_duration", "Sets the time from which on a request is logged.",
		"From the call to the end of the answer, waiting included. 0 logs all "
		"of them, -1 none.",
		&chatglm_log_min_duration, -1, -1, INT_MAX, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomBoolVariable("chatglm.log_text",
							 "Logs the text of requests that chatglm.log_min_duration logs.",
							 "That is the statement, and the beginning of the prompt.",
							 &chatglm_log_text, false, PGC_SUSET, 0, NULL, NULL, NULL);
}

static void
define_user_settings(void)
{
	DefineCustomStringVariable("chatglm.model", "Sets the model of calls that name none.", NULL,
							   &chatglm_model, "tiny-chatglm3", PGC_USERSET, GUC_EXPLAIN,
							   check_model, NULL, NULL);

	DefineCustomIntVariable("chatglm.max_tokens", "Sets the most tokens an answer may have.",
							"For calls that do not say it themselves.", &chatglm_max_tokens, 512, 1,
							1048576, PGC_USERSET, GUC_EXPLAIN, NULL, NULL, NULL);

	DefineCustomRealVariable("chatglm.temperature", "Sets the sampling temperature.",
							 "0 always takes the likeliest token. For calls that do not say it "
							 "themselves.",
							 &chatglm_temperature, 0.0, 0.0, 100.0, PGC_USERSET, GUC_EXPLAIN, NULL,
							 NULL, NULL);

	DefineCustomIntVariable("chatglm.request_timeout", "Sets the longest time a request may take.",
							"Waiting for its turn counts. 0 means no limit.",
							&chatglm_request_timeout, 0, 0, INT_MAX, PGC_USERSET,
							GUC_UNIT_MS | GUC_EXPLAIN, NULL, NULL, NULL);

	DefineCustomIntVariable("chatglm.prefetch",
							"Sets how many rows of a query are asked of the model at a time.",
							"1 asks for one row after the other. Reading ahead leaves 16 of the "
							"64 requests a session may have to its other calls.",
							&chatglm_prefetch, 32, 1, CHATGLM_SESSION_REQUESTS, PGC_USERSET,
							GUC_EXPLAIN, NULL, assign_prefetch, NULL);

	DefineCustomStringVariable(
		"chatglm.task_language",
		"Sets the language of the prompts of glm_extract, glm_translate and the like.",
		"One of chatglm.task_prompt; a task without a prompt in it has its English one.",
		&chatglm_task_language, "en", PGC_USERSET, GUC_EXPLAIN, check_task_language, NULL, NULL);
}

/* ---- check hooks ------------------------------------------------------ */

/*
 * What is well-formed but would not work here and now is taken with a WARNING: it
 * may be meant for after a move, or for a file system that is mounted later.
 * The hooks run in every process that reads the configuration; the warning is for
 * the one who has just written it, by ALTER SYSTEM.
 */
static bool
by_alter_system(GucSource source)
{
	return source == PGC_S_FILE && ActivePortal != NULL;
}

static void
warn_no_start(const char *name, const glm_error *err)
{
	ereport(WARNING, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					  errmsg("the chatglm worker could not start with this %s", name),
					  errdetail("%s.", err->message)));
}

static bool
check_cpu_affinity(char **newval, void **extra, GucSource source)
{
	glm_error err;

	if (!glm_cpus_check(*newval, &err))
	{
		GUC_check_errdetail("%s.", err.message);
		return false;
	}
	if (by_alter_system(source) && !glm_cpus_there(*newval, &err))
		warn_no_start("chatglm.cpu_affinity", &err);
	return true;
}

static bool
check_device(char **newval, void **extra, GucSource source)
{
	glm_error err;

	if (!glm_device_check(*newval, &err))
	{
		GUC_check_errhint("%s", err.hint);
		return false;
	}
	if (by_alter_system(source) && !glm_device_there(*newval, chatglm_backend_library(), &err))
		warn_no_start("chatglm.device", &err);
	return true;
}

static bool
check_device_arithmetic(int *newval, void **extra, GucSource source)
{
	if (*newval && by_alter_system(source) && strncmp(chatglm_device, "cpu", 3) == 0)
		ereport(WARNING, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						  errmsg("chatglm.device_arithmetic has no effect on the CPU"),
						  errdetail("chatglm.device is \"%s\".", chatglm_device)));
	return true;
}

static bool
check_kernels(char **newval, void **extra, GucSource source)
{
	static const char *const known[] = {"auto", "scalar", "avx2", "avx512", "neon"};
	glm_error				 err;

	for (int i = 0; i < (int) lengthof(known); i++)
	{
		if (strcmp(*newval, known[i]) != 0)
			continue;
		if (by_alter_system(source) && !glm_kernels_there(*newval, &err))
			warn_no_start("chatglm.kernels", &err);
		return true;
	}
	GUC_check_errhint("Available values: auto, scalar, avx2, avx512, neon.");
	return false;
}

/* A relative path would mean another directory to every process. */
static bool
check_model_dir(char **newval, void **extra, GucSource source)
{
	if (**newval != '\0' && !is_absolute_path(*newval))
	{
		GUC_check_errdetail("The path must be absolute, or empty.");
		return false;
	}
	if (**newval != '\0' && by_alter_system(source))
		chatglm_check_model_dir(WARNING, *newval);
	return true;
}

/*
 * For a role, a database or a function the name is only stored; what it will mean
 * there cannot be known here.  A session notices at its next call.
 */
static bool
check_model(char **newval, void **extra, GucSource source)
{
	if (!chatglm_is_model_name(*newval))
	{
		GUC_check_errhint(
			is_absolute_path(*newval)
				? "This is a path; glm_model_load(name, path) registers a name for it."
				: CHATGLM_NAME_RULE,
			NAMEDATALEN - 1);
		return false;
	}
	if (source == PGC_S_TEST && !chatglm_model_exists(*newval) && !chatglm_route_exists(*newval))
		ereport(NOTICE, (errcode(ERRCODE_UNDEFINED_OBJECT),
						 errmsg("model \"%s\" does not exist in this database", *newval)));
	return true;
}

/* The name of a language, as chatglm.task_prompt has it; there need not be prompts in it. */
static bool
check_task_language(char **newval, void **extra, GucSource source)
{
	Size length = strlen(*newval);

	if (length >= 1 && length < NAMEDATALEN && strspn(*newval, LETTERS) == length)
		return true;
	GUC_check_errhint("A language is named by letters, digits, hyphens and underscores, like en or "
					  "zh-TW.");
	return false;
}

/* ---- assign hooks ------------------------------------------------------ */

/* Plans have GlmBatch nodes or not: those that are kept are made anew. */
static void
assign_prefetch(int newval, void *extra)
{
	if ((newval == 1) != (chatglm_prefetch == 1))
		ResetPlanCache();
}
