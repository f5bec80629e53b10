/*
 * call.c - a ChatglmCall becomes the block of bytes that glm.h calls a request.
 *
 * The block is laid out twice by the same code: once to learn its size, with
 * nowhere to write, once for good.
 */
#include "chatglm.h"

#include "miscadmin.h"

#include "call.h"
#include "encoding.h"
#include "model_name.h"
#include "settings.h"

typedef struct Layout
{
	char *block; /* NULL: only count */
	Size  size;	 /* bytes so far */
} Layout;

static uint64	sharing_scope(const ChatglmCall *call);
static void		lay_out(const ChatglmCall *call, Layout *layout, glm_request *request);
static glm_span put_bytes(Layout *layout, const void *bytes, Size length);
static glm_span put_string(Layout *layout, const char *string);

void
chatglm_call_defaults(ChatglmCall *call, glm_kind kind)
{
	memset(call, 0, sizeof(*call));
	call->kind = kind;
	call->form = GLM_RAW;
	call->max_tokens = chatglm_max_tokens;
	call->max_tokens_unsaid = true;
	call->temperature = chatglm_temperature;
	call->top_p = 0.8;
	call->repetition_penalty = 1.0;
	call->timeout_ms = chatglm_request_timeout;
}

void
chatglm_call_model(ChatglmCall *call, const ChatglmModelRef *ref)
{
	call->model = chatglm_cstring_to_utf8(ref->name);
	call->path = ref->path;
	if (ref->options != NULL)
		call->model_options = chatglm_cstring_to_utf8(ref->options);
}

glm_request *
chatglm_call_block(const ChatglmCall *call, uint64 id, MemoryContext context)
{
	glm_request	 head = {0};
	Layout		 layout = {NULL, sizeof(glm_request)};
	glm_request *block;

	head.kind = call->kind;
	head.form = call->form;
	head.id = id;
	head.max_tokens = call->max_tokens;
	head.top_k = call->top_k;
	head.temperature = call->temperature;
	head.top_p = call->top_p;
	head.min_p = call->min_p;
	head.repetition_penalty = call->repetition_penalty;
	head.frequency_penalty = call->frequency_penalty;
	head.presence_penalty = call->presence_penalty;
	head.seed = call->seed;
	head.timeout_ms = call->timeout_ms;
	head.stream = call->stream;
	head.add_special = call->add_special;
	head.tenant = GetUserId();
	head.batch = call->priority == CHATGLM_PRIORITY_BATCH;
	head.scope = sharing_scope(call);
	head.origin = MyDatabaseId;
	head.turns = call->tools_offered && !call->stream;
	head.truncate = call->truncate;
	head.mark = call->on_length | call->n << 2; /* calls that differ in it are not the same */
	head.logprobs = call->logprobs;
	head.constrained = call->constrained;
	head.property_order = call->property_order;
	head.json_space = call->json_space;
	head.pooling = call->pooling;
	head.normalize = call->normalize;
	head.overlap = call->overlap;
	head.top_logprobs = call->top_logprobs;

	lay_out(call, &layout, &head);
	head.size = layout.size;

	block = MemoryContextAllocZero(context, layout.size);
	layout.block = (char *) block;
	layout.size = sizeof(glm_request);
	lay_out(call, &layout, &head);
	*block = head;
	return block;
}

/*
 * With whom the request shares beginnings of prompts and what answers taught.  The
 * role is the one whose rights count now, so a SECURITY DEFINER function shares with
 * its owner.  No database has OID 0, so no role's scope is the one of all.
 */
static uint64
sharing_scope(const ChatglmCall *call)
{
	if (call->no_cache || chatglm_prefix_sharing == CHATGLM_SHARING_OFF)
		return call->group;
	if (chatglm_prefix_sharing == CHATGLM_SHARING_ALL && !call->role_cache)
		return 1;
	return (uint64) MyDatabaseId << 32 | GetUserId();
}

void
chatglm_request_too_large(void)
{
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("request is too large"),
					errdetail("The texts and options of one request may take %u MB together.",
							  GLM_REQUEST_MAX >> 20)));
}

static void
lay_out(const ChatglmCall *call, Layout *layout, glm_request *request)
{
	request->model = put_string(layout, call->model);
	request->path = put_string(layout, call->path);
	request->options = put_string(layout, call->model_options);
	request->target = put_string(layout, call->target);
	request->identity = put_string(layout, call->identity);
	request->label = put_string(layout, call->label);
	request->text = put_bytes(layout, call->text, call->text_length);
	request->system = put_string(layout, call->system);
	request->tools = put_string(layout, call->tools);
	if (call->stop != NULL)
		request->stop = put_bytes(layout, call->stop->data, call->stop->len);
	request->constraint = put_string(layout, call->constraint);
	request->continuation = put_string(layout, call->continuation);
	request->tokens = put_bytes(layout, call->tokens, call->n_tokens * sizeof(int32));
	request->bias = put_bytes(layout, call->bias, call->n_bias * sizeof(glm_bias));
}

/* Bytes and a NUL behind them, aligned for whatever they are. */
static glm_span
put_bytes(Layout *layout, const void *bytes, Size length)
{
	glm_span span = {0, 0};
	Size	 start = MAXALIGN(layout->size);

	if (bytes == NULL)
		return span;
	if (length >= GLM_REQUEST_MAX || start + length + 1 > GLM_REQUEST_MAX)
		chatglm_request_too_large();

	if (layout->block != NULL)
		memcpy(layout->block + start, bytes, length);
	layout->size = start + length + 1;
	span.offset = start;
	span.length = length;
	return span;
}

static glm_span
put_string(Layout *layout, const char *string)
{
	return put_bytes(layout, string, string == NULL ? 0 : strlen(string));
}
