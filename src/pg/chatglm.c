/*
 * chatglm.c - loading of the library.
 *
 * The supported way is shared_preload_libraries: then _PG_init runs in the
 * postmaster, asks for shared memory and registers the worker.  No thread may
 * be started here, nor anything that starts one: the postmaster forks, and a
 * fork keeps only the thread that called it.
 *
 * Loaded any other way (the first call of a function in a session, LOAD), only
 * the settings and the planner's hooks come to be; chatglm_shared stays NULL
 * and chatglm_require_preload() turns every call that needs the worker into an
 * ERROR that says how to configure the server.
 */
#include "chatglm.h"

#include "fmgr.h"

#include "ask.h"
#include "batch.h"
#include "batchfuncs.h"
#include "chat.h"
#include "classify.h"
#include "embed.h"
#include "filter.h"
#include "function.h"
#include "job_launcher.h"
#include "json_answer.h"
#include "likelihood.h"
#include "pinned.h"
#include "redact.h"
#include "settings_define.h"
#include "shared.h"
#include "sqlfuncs.h"
#include "stream.h"
#include "task_functions.h"
#include "worker.h"

PG_MODULE_MAGIC;

static const ChatglmFunction *const functions[] = {&chatglm_generate_function,
												   &chatglm_complete_function,
												   &chatglm_tokenize_function,
												   &chatglm_detokenize_function,
												   &chatglm_count_tokens_function,
												   &chatglm_logits_function,
												   &chatglm_chat_function,
												   &chatglm_chat_tokens_function,
												   &chatglm_try_generate_function,
												   &chatglm_stream_function,
												   &chatglm_chat_stream_function,
												   &chatglm_json_function,
												   &chatglm_try_json_function,
												   &chatglm_embed_function,
												   &chatglm_try_embed_function,
												   &chatglm_chunk_function,
												   &chatglm_try_chunk_function,
												   &chatglm_extract_function,
												   &chatglm_try_extract_function,
												   &chatglm_translate_function,
												   &chatglm_try_translate_function,
												   &chatglm_summarize_function,
												   &chatglm_try_summarize_function,
												   &chatglm_redact_function,
												   &chatglm_try_redact_function,
												   &chatglm_generate_det_function,
												   &chatglm_classify_function,
												   &chatglm_try_classify_function,
												   &chatglm_classify_scores_function,
												   &chatglm_try_classify_scores_function,
												   &chatglm_sentiment_function,
												   &chatglm_try_sentiment_function,
												   &chatglm_filter_function,
												   &chatglm_try_filter_function,
												   &chatglm_filter_prob_function,
												   &chatglm_try_filter_prob_function,
												   &chatglm_score_function,
												   &chatglm_try_score_function,
												   &chatglm_has_label_function,
												   &chatglm_try_has_label_function,
												   &chatglm_judge_tokens_function,
												   &chatglm_try_judge_tokens_function,
												   &chatglm_perplexity_function,
												   &chatglm_try_perplexity_function};

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	chatglm_define_settings();
	chatglm_functions_init(functions, lengthof(functions));
	chatglm_stream_init();
	chatglm_batch_init();
	chatglm_run_init();

	if (process_shared_preload_libraries_in_progress)
	{
		chatglm_shmem_init();
		chatglm_worker_register();
		chatglm_job_launcher_register();
		chatglm_job_closing_init();
	}
}
