/*
 * intake.c - from a request to work for the scheduler.
 *
 * What a task (tasks.c) does: it finds its model, or waits until that is loaded, and
 * either answers at once (tokenize, detokenize, load ...) or builds the prompt, opens
 * a sequence with all the memory it will need, and has it handed to the engine thread
 * as soon as the model is in memory (loader.c).
 *
 * Everything here may be ended in a pause and then only gives back what it has.  The
 * last event of a request is sent by glm_task_finish, when the task is gone.
 */
#include "engine/serve/engine.h"

static glm_outcome_kind
answer_task(glm_engine *e, glm_task *task, const glm_model *model, glm_outcome *out)
{
	const glm_request_kind *kind = task->kind;

	out->context = model != NULL ? model->config.context : 0;
	if (kind->answer == NULL || kind->answer(e, task->ticket, e->ticket[task->ticket].request,
											 model, &out->tokens, &out->err))
		return GLM_TASK_ANSWERED;
	return GLM_TASK_FAILED;
}

/* Has its model answer the request, or makes a sequence of it. */
static glm_outcome_kind
use_model(glm_engine *e, glm_task *task, const glm_request *req, glm_outcome *out)
{
	glm_served		*served;
	glm_outcome_kind end = glm_loader_find(e, task, req, &served, &out->err);

	if (end != GLM_TASK_GOES_ON)
		return end;
	if (task->kind->read_tokens != NULL)
	{
		task->sequence = glm_sequence_open(e, task->kind, task->ticket, served, &out->err);
		return task->sequence != NULL ? GLM_TASK_GOES_ON : GLM_TASK_FAILED;
	}
	end = answer_task(e, task, served->model, out);
	glm_models_release(&e->models, served);
	return end;
}

static glm_outcome_kind
go_on_with(glm_engine *e, glm_task *task, const glm_request *req, glm_outcome *out)
{
	unsigned		 needs = task->kind->needs;
	glm_outcome_kind end;

	if (GLM_INJECT("intake") && !glm_no_memory(&out->err))
		return GLM_TASK_FAILED;
	if (glm_ticket_ended(&e->ticket[task->ticket], &out->err))
		return GLM_TASK_FAILED;
	atomic_store(&e->ticket[task->ticket].stage, GLM_STAGE_READING);
	if (task->kind->start_job != NULL)
		return GLM_TASK_IS_JOB;
	if ((needs & GLM_NEEDS_TEXT) != 0 && !task->checked && !glm_request_check_texts(req, &out->err))
		return GLM_TASK_FAILED;
	task->checked = true;
	if ((needs & GLM_NEEDS_MODEL) == 0)
		return answer_task(e, task, NULL, out);
	if (task->sequence == NULL)
	{
		end = use_model(e, task, req, out);
		if (end != GLM_TASK_GOES_ON)
			return end;
	}
	end = glm_loader_hold(e, task, task->sequence->served, &out->err);
	/* the first model on a device may have left less for the pool */
	if (end == GLM_TASK_GOES_ON && !glm_sequence_fits(task->sequence, &out->err))
		return GLM_TASK_FAILED;
	return end;
}

void
glm_task_run(glm_engine *e, glm_task *task, glm_outcome *out)
{
	const glm_request *req = e->ticket[task->ticket].request;
	glm_loading		  *waited = task->loading;

	task->loading = NULL;
	if (waited == NULL || !glm_loading_done(waited) || glm_loading_good(waited, &out->err))
		out->end = go_on_with(e, task, req, out);
	if (waited != NULL)
		glm_loading_drop(e, waited);
	if (out->end == GLM_TASK_PARKED)
		return;
	out->sequence = task->sequence;
	out->start_job = task->kind->start_job;
	task->sequence = NULL;
	if (out->end == GLM_TASK_GOES_ON)
		out->end = GLM_TASK_SEQUENCED;
	else if (out->sequence != NULL)
		glm_sequence_free(e, out->sequence);
}

void
glm_task_finish(glm_engine *e, int ticket, glm_outcome *out)
{
	glm_event usage = {.prompt_tokens = out->tokens, .context = out->context};

	switch (out->end)
	{
		case GLM_TASK_ANSWERED:
			glm_send_usage(e, ticket, GLM_FINISH_NONE, &usage);
			break;
		case GLM_TASK_SEQUENCED:
			glm_inbox_add(e, out->sequence);
			break;
		case GLM_TASK_IS_JOB:
			if (!out->start_job(e, ticket, &out->err))
				glm_send_error(e, ticket, &out->err);
			break;
		case GLM_TASK_FAILED:
			glm_send_error(e, ticket, &out->err);
			break;
		default:
			break; /* parked */
	}
}
