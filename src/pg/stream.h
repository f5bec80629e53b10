/*
 * stream.h - a stream on its way, whether in the select list or in FROM.
 */
#ifndef CHATGLM_STREAM_H
#define CHATGLM_STREAM_H

#include "ask.h"

#define CHATGLM_STREAM_COLUMNS 6 /* seq, token, token_id, logprob, finish_reason, top_logprobs */

typedef struct ChatglmStream
{
	ChatglmRequest *request;	  /* NULL: not begun, or ended */
	int				seq;		  /* rows given */
	bool			routed;		  /* a route led to its model */
	bool			cut_is_error; /* options.on_length */
	bool			cut;		  /* it was, and the row that says so is out */
	int				accepted;	  /* tokens that speculation had proposed, once it has ended */
	StringInfo		text;		  /* of all rows, where it may end in calls; else NULL */
} ChatglmStream;

extern const ChatglmFunction chatglm_stream_function;
extern const ChatglmFunction chatglm_chat_stream_function;

/*
 * Sends the request of a function that streams; a NULL prompt makes a stream without rows.
 * The context is one that lives as long as the stream.
 */
extern void chatglm_stream_begin(ChatglmStream *stream, const ChatglmFunction *function,
								 const NullableDatum *args, MemoryContext context);

/* Makes the next row, in the current memory context; false at the end. */
extern bool chatglm_stream_next(ChatglmStream *stream, Datum *values, bool *nulls);

/* Ends it early; does nothing to one that has ended. */
extern void chatglm_stream_end(ChatglmStream *stream);

extern void chatglm_stream_init(void); /* planner hook, custom scan */

#endif /* CHATGLM_STREAM_H */
