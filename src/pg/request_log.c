/*
 * request_log.c - requests that took long, in the server's log.
 *
 * The session that asked writes the line, so that what log_line_prefix says of user,
 * database and application is right.  It has no text of the request in it and hides the
 * statement, which would have: chatglm.log_text shows both.  Time runs from the call to the
 * coming of the last event, so it has all waits in it but those of the reader.
 */
#include "chatglm.h"

#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#include "encoding.h"
#include "errors.h"
#include "request_log.h"
#include "settings.h"

#define TEXT_MAX 1000 /* bytes of a prompt in a line */

void
chatglm_log_begin(ChatglmRequest *request, const ChatglmCall *call)
{
	Size length = Min(call->text_length, TEXT_MAX);

	request->kind = call->kind;
	request->begun = GetCurrentTimestamp();
	if (chatglm_log_min_duration < 0 || !chatglm_log_text || call->text == NULL)
		return;
	if (length < call->text_length)
		length = pg_encoding_mbcliplen(PG_UTF8, call->text, call->text_length, length);
	request->text = MemoryContextAllocZero(GetMemoryChunkContext(request), length + 1);
	memcpy(request->text, call->text, length);
}

/* How it ended: tokens, or the SQLSTATE. */
static const char *
ending(const glm_event *event)
{
	if (event->kind == GLM_EVENT_ERROR)
		return psprintf("ended in %s",
						unpack_sql_state(chatglm_errcode((glm_status) event->status)));
	return psprintf("%d tokens of the prompt (%d cached), %d of the answer", event->prompt_tokens,
					event->cached_tokens, event->completion_tokens);
}

void
chatglm_log_end(const ChatglmRequest *request, const glm_event *event)
{
	double ms = (GetCurrentTimestamp() - request->begun) / 1000.0;

	if (chatglm_log_min_duration < 0 || ms < chatglm_log_min_duration)
		return;
	ereport(LOG,
			(errmsg("chatglm request took %.3f ms: %s, model \"%s\", %s", ms,
					glm_kind_name(request->kind), chatglm_shown(request->model), ending(event)),
			 request->text != NULL ? errdetail("Prompt: %s", chatglm_shown(request->text)) : 0,
			 errhidestmt(!chatglm_log_text), errhidecontext(!chatglm_log_text)));
}
