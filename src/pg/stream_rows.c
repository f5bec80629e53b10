/*
 * stream_rows.c - the rows of one stream, one for each token; see stream.h.
 *
 * The row that ends a stream says how: "tool_calls" where tools were offered and
 * the text of all rows ends in calls, so that text is kept until then.
 */
#include "chatglm.h"

#include "tcop/tcopprot.h"
#include "utils/builtins.h"

/* libpq.h would include the headers of libraries that need not be installed. */
#undef ENABLE_GSS
#undef USE_OPENSSL
#include "libpq/libpq.h"

#include "ask.h"
#include "call.h"
#include "client.h"
#include "encoding.h"
#include "logprobs.h"
#include "sql_values.h"
#include "stream.h"
#include "toolcalls.h"

void
chatglm_stream_begin(ChatglmStream *stream, const ChatglmFunction *function,
					 const NullableDatum *args, MemoryContext context)
{
	ChatglmCall call;

	memset(stream, 0, sizeof(*stream));
	if (!function->read(&call, args))
		return;
	chatglm_require_told(&call, function);
	stream->cut_is_error = call.on_length == CHATGLM_ON_LENGTH_ERROR;
	if (call.tools_offered)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		stream->text = makeStringInfo();
		MemoryContextSwitchTo(old);
	}
	stream->routed = call.route != NULL;
	call.stream = true;
	stream->request = chatglm_submit(&call);
}

void
chatglm_stream_end(ChatglmStream *stream)
{
	if (stream->text != NULL)
	{
		pfree(stream->text->data);
		pfree(stream->text);
		stream->text = NULL;
	}
	if (stream->request == NULL)
		return;
	chatglm_release(stream->request);
	stream->request = NULL;
}

/* How the stream ended that this is the last token of; NULL when it is not. */
static const char *
stream_finish(ChatglmStream *stream, const glm_event *event)
{
	if (stream->text != NULL)
		appendBinaryStringInfo(stream->text, event->payload, event->length - event->told);
	stream->cut = event->finish == GLM_FINISH_LENGTH;
	if (event->finish != GLM_FINISH_NONE && stream->text != NULL &&
		chatglm_text_calls(event->chat, stream->text->data, stream->text->len))
		return "tool_calls";
	return chatglm_finish_name(event->finish);
}

bool
chatglm_stream_next(ChatglmStream *stream, Datum *values, bool *nulls)
{
	const glm_event *event;
	const char		*finish;

	if (stream->request == NULL)
		return false;
	/* sends the row before now, as the next one may take a while */
	if (stream->seq > 0 && whereToSendOutput == DestRemote)
		(void) pq_flush_if_writable();

	event = chatglm_next_event(stream->request);
	if (event->kind != GLM_EVENT_TOKEN)
	{
		stream->accepted = event->accepted_tokens;
		chatglm_stream_end(stream);
		if (stream->cut && stream->cut_is_error)
			chatglm_cut_error(stream->seq);
		return false;
	}
	finish = stream_finish(stream, event);
	memset(nulls, false, CHATGLM_STREAM_COLUMNS * sizeof(bool));
	values[0] = Int32GetDatum(++stream->seq);
	values[1] =
		PointerGetDatum(chatglm_text_from_utf8(event->payload, event->length - event->told));
	values[2] = Int32GetDatum(event->token_id);
	values[3] = Float4GetDatum(event->logprob);
	values[4] = finish != NULL ? CStringGetTextDatum(finish) : (Datum) 0;
	nulls[4] = finish == NULL;
	nulls[5] = event->told == 0;
	values[5] = nulls[5] ? (Datum) 0
						 : JsonbPGetDatum(chatglm_likeliest(
							   event->payload + event->length - event->told, event->told));
	return true;
}
