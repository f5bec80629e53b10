/*
 * worker_models.c - tells the server's log which models come and go.
 *
 * The engine opens models when they are first used and lets them go for reasons of
 * its own, in threads that may not write to the log.  What it has is read now and
 * then anyway, for the views; here two such readings are compared.  Each model
 * carries its number among all that were ever opened, so that one which left and
 * came back between two readings is seen to have done both.
 *
 * The reason for a leave is what can be told from outside: somebody asked for
 * it, or its name has come to mean another directory, or the memory limit.
 */
#include "chatglm.h"

#include "mb/pg_wchar.h"

#include "measures.h"
#include "settings.h"
#include "shared.h"
#include "worker_models.h"

static glm_model_info known[CHATGLM_MAX_MODELS];
static int			  n_known;
static bool			  unload_asked; /* a GLM_UNLOAD has ended since the last reading */

static const glm_model_info *
with_number(const glm_model_info *models, int n, uint64 number)
{
	for (int i = 0; i < n; i++)
		if (models[i].number == number)
			return &models[i];
	return NULL;
}

/* The server's log is in the encoding of no database: of the locale, like this process. */
static char *
in_log(const char *utf8)
{
	return pg_any_to_server(utf8, strlen(utf8), PG_UTF8);
}

static void
log_loaded(const glm_model_info *model)
{
	ereport(LOG, (errmsg("chatglm model \"%s\" loaded in %.1f ms from \"%s\" (%s, %.1f MB)",
						 in_log(model->name), model->load_ms, model->path, model->dtype,
						 model->size_bytes / 1e6)));
}

/*
 * The limit makes room for a model that is put in its place at the same moment, so
 * only beside a new one, of another name, it is the reason.
 */
static const char *
reason_to_unload(const glm_model_info *gone, const glm_model_info *models, int n, bool evicted)
{
	bool limit = false;

	if (unload_asked)
		return "on request";
	if (evicted)
		return "least recently used, to make room on the device";
	for (int i = 0; i < n; i++)
	{
		if (with_number(known, n_known, models[i].number) != NULL)
			continue;
		if (strcmp(models[i].name, gone->name) != 0)
			limit = chatglm_memory_limit > 0;
		else if (strcmp(models[i].path, gone->path) == 0)
			return "its files or options have changed";
	}
	return limit ? "least recently used, to stay within chatglm.memory_limit"
				 : "its name means another directory now";
}

void
chatglm_models_compare(const glm_model_info *models, int n, uint64 n_evicted)
{
	static uint64 seen;
	bool		  evicted = n_evicted != seen;
	int			  loads = 0;
	int			  unloads = 0;

	for (int i = n - 1; i >= 0; i--) /* the newest are in front */
	{
		if (with_number(known, n_known, models[i].number) != NULL)
			continue;
		log_loaded(&models[i]);
		loads++;
	}
	/* a full list may leave some out */
	for (int i = 0; i < n_known && n < CHATGLM_MAX_MODELS; i++)
	{
		if (with_number(models, n, known[i].number) != NULL)
			continue;
		ereport(LOG, (errmsg("chatglm model \"%s\" unloaded: %s", in_log(known[i].name),
							 reason_to_unload(&known[i], models, n, evicted))));
		unloads++;
	}
	if (loads + unloads > 0)
		chatglm_measure_loads(loads, unloads);

	memcpy(known, models, n * sizeof(known[0]));
	n_known = n;
	seen = n_evicted;
	unload_asked = false;
}

void
chatglm_models_unload_asked(void)
{
	unload_asked = true;
}
