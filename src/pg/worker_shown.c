/*
 * worker_shown.c - what others see of a request in glm_stat_requests.
 *
 * The requests that the engine has stand at their tickets, those that wait for the limits of
 * a role behind them, at the places of the queue that they have taken.  The words of a
 * session say which place that is, so it is no index before it is looked at.
 */
#include "chatglm.h"

#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#include "shared.h"
#include "worker_shown.h"

/* A text of a request, UTF-8, cut between characters; `to` is all zero. */
void
chatglm_copy_text(char *to, size_t size, const glm_request *request, glm_span span)
{
	const char *text = glm_request_text(request, span);

	if (text != NULL)
		memcpy(to, text, pg_encoding_mbcliplen(PG_UTF8, text, strlen(text), size - 1));
}

/* What others will see of the request of an entry. */
void
chatglm_describe_request(const WorkerSession *session, int entry, ChatglmRequestStat *stat)
{
	const glm_request *request = session->entry[entry].block;

	stat->id = request->id;
	stat->pid = session->pid;
	stat->login = session->proc->roleId;
	stat->role = session->header->words[entry].role;
	stat->database = session->header->database;
	stat->kind = request->kind;
	stat->form = request->form;
	stat->stream = request->stream;
	stat->in_flight = session->header->words[entry].in_flight;
	chatglm_copy_text(stat->model, sizeof(stat->model), request, request->model);
	stat->started_us = GetCurrentTimestamp();
}

void
chatglm_show_request(int number, const ChatglmRequestStat *stat)
{
	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	chatglm_request_stats()[number] = *stat;
	LWLockRelease(chatglm_shared->lock);
}

void
chatglm_hide_request(int number)
{
	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	chatglm_request_stats()[number].id = 0;
	LWLockRelease(chatglm_shared->lock);
}

/* For the next worker to sweep, should this one end before it publishes again. */
void
chatglm_show_target(const glm_request *request)
{
	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	if (chatglm_shared->progress.id == 0) /* else it will be refused */
		chatglm_copy_text(chatglm_shared->progress.target, sizeof(chatglm_shared->progress.target),
						  request, request->target);
	LWLockRelease(chatglm_shared->lock);
}

/* ---- Those held ------------------------------------------------------------------ */

static int
index_of_held(const WorkerEntry *entry)
{
	int place = entry->place;

	return place >= 0 && place < chatglm_shared->n_requests ? chatglm_shared->n_requests + place
															: -1;
}

void
chatglm_show_held(const WorkerSession *session, int entry)
{
	ChatglmRequestStat stat = {.held = true};
	int				   index = index_of_held(&session->entry[entry]);

	if (index < 0)
		return;
	chatglm_describe_request(session, entry, &stat);
	chatglm_show_request(index, &stat);
}

void
chatglm_hide_held(const WorkerEntry *entry)
{
	int index = index_of_held(entry);

	if (index >= 0)
		chatglm_hide_request(index);
}

bool
chatglm_held_marked(const WorkerEntry *entry)
{
	const ChatglmRequestStat *stats = chatglm_request_stats();
	int						  index = index_of_held(entry);
	bool					  marked;

	LWLockAcquire(chatglm_shared->lock, LW_SHARED);
	marked = index >= 0 && stats[index].id == entry->id && stats[index].cancel;
	LWLockRelease(chatglm_shared->lock);
	return marked;
}
