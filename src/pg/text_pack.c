/*
 * text_pack.c - texts packed into pieces that fit a prompt.
 *
 * Tokens are counted by the worker, which has the tokenizer, chatglm.prefetch texts at a
 * time.  What texts have together is not quite the sum of what each has alone, as pieces
 * can meet at the border; a few tokens more are reckoned for each than its border takes.
 *
 * Where a pack ends depends on texts, tokenizer and limit alone, so that the same texts give
 * the same packs.
 */
#include "chatglm.h"

#include "utils/memutils.h"

#include "admission.h"
#include "ask.h"
#include "client.h"
#include "encoding.h"
#include "text_pack.h"
#include "settings.h"

#define BORDER_TOKENS 4 /* of a blank line, and what else may come of it */

/* A text read, and its tokens; 0: they stand for themselves (a piece of a text cut). */
typedef struct Counted
{
	char *content;
	int	  tokens;
} Counted;

struct ChatglmPacker
{
	const ChatglmCall *call;
	ChatglmTexts	  *texts;
	int				   limit;
	int				   at_least;
	MemoryContext	   context; /* of what was read, reset when all of it was packed */
	Counted			  *read;
	int				   n;
	int				   at;
	List			  *cut; /* pieces of a text that were not given yet, of char * */
};

/* ---- Asking for tokens ------------------------------------------------------------------- */

static void
ask_kind(const ChatglmCall *like, glm_kind kind, const char *content, ChatglmAnswer *answer)
{
	ChatglmCall call;

	chatglm_call_defaults(&call, kind);
	call.model = like->model;
	call.path = like->path;
	call.model_options = like->model_options;
	call.timeout_ms = like->timeout_ms;
	call.priority = CHATGLM_PRIORITY_BATCH;
	call.in_flight = true;
	call.max_tokens = like->max_tokens;
	call.text = chatglm_cstring_to_utf8(content);
	call.text_length = strlen(call.text);
	chatglm_ask_call(&call, answer);
}

int
chatglm_tokens_of(const ChatglmCall *call, const char *content, int *context)
{
	ChatglmAnswer answer;

	ask_kind(call, GLM_COUNT_TOKENS, content, &answer);
	chatglm_collect(&answer);
	*context = answer.context;
	return answer.prompt_tokens;
}

/* Counts the tokens of the texts read, as many at a time as may run. */
static void
count_all(ChatglmPacker *packer)
{
	ChatglmAnswer *answers = palloc0(packer->n * sizeof(*answers));
	int			   asked = 0;

	for (int i = 0; i < packer->n; i++)
	{
		while (asked < packer->n && (asked == i || (chatglm_requests_running() < chatglm_prefetch &&
													chatglm_room_for_row())))
		{
			ask_kind(packer->call, GLM_COUNT_TOKENS, packer->read[asked].content, &answers[asked]);
			asked++;
		}
		chatglm_collect(&answers[i]);
		packer->read[i].tokens = answers[i].prompt_tokens + BORDER_TOKENS;
	}
}

/* The pieces of a text that has too many tokens: a List of char *. */
static List *
cut_text(const ChatglmPacker *packer, const char *content)
{
	ChatglmCall	  like = *packer->call;
	ChatglmAnswer answer;
	List		 *pieces = NIL;

	like.max_tokens = packer->limit - BORDER_TOKENS;
	ask_kind(&like, GLM_PASSAGES, content, &answer);
	chatglm_collect(&answer);
	for (const char *at = answer.bytes.data; at < answer.bytes.data + answer.bytes.len;
		 at += strlen(at) + 1)
		pieces = lappend(pieces, chatglm_cstring_from_utf8(at, strlen(at)));
	return pieces;
}

/* ---- Packing --------------------------------------------------------------------------------- */

ChatglmPacker *
chatglm_pack_begin(const ChatglmCall *call, ChatglmTexts *texts, int tokens, int at_least)
{
	ChatglmPacker *packer = palloc0(sizeof(*packer));

	packer->call = call;
	packer->texts = texts;
	packer->limit = tokens;
	packer->at_least = at_least;
	packer->context =
		AllocSetContextCreate(CurrentMemoryContext, "texts to pack", ALLOCSET_DEFAULT_SIZES);
	return packer;
}

/* Reads and counts some more texts once those before are packed; false: there are none. */
static bool
read_more(ChatglmPacker *packer)
{
	MemoryContext old;

	if (packer->at < packer->n)
		return true;
	MemoryContextReset(packer->context);
	old = MemoryContextSwitchTo(packer->context);
	packer->n = packer->at = 0;
	packer->cut = NIL;
	packer->read = palloc(chatglm_prefetch * sizeof(*packer->read));
	while (packer->n < chatglm_prefetch &&
		   (packer->read[packer->n].content = chatglm_texts_next(packer->texts)) != NULL)
		packer->n++;
	count_all(packer);
	MemoryContextSwitchTo(old);
	return packer->n > 0;
}

static void
append_text(StringInfo pack, int n, const char *content)
{
	if (n > 0)
		appendStringInfoString(pack, "\n\n");
	appendStringInfoString(pack, content);
}

/* Gives the next piece of a text that is being cut. */
static bool
next_piece(ChatglmPacker *packer, StringInfo pack, int *n)
{
	append_text(pack, 0, linitial(packer->cut));
	packer->cut = list_delete_first(packer->cut);
	if (packer->cut == NIL)
		packer->at++;
	*n = 1;
	return true;
}

bool
chatglm_pack_next(ChatglmPacker *packer, StringInfo pack, int *n)
{
	int tokens = 0;

	resetStringInfo(pack);
	*n = 0;
	if (packer->cut != NIL)
		return next_piece(packer, pack, n);
	while (read_more(packer))
	{
		const Counted *next = &packer->read[packer->at];

		if (*n >= packer->at_least && tokens + next->tokens > packer->limit)
			break;
		if (*n == 0 && packer->at_least == 1 && next->tokens > packer->limit)
		{
			MemoryContext old = MemoryContextSwitchTo(packer->context);

			packer->cut = cut_text(packer, next->content);
			MemoryContextSwitchTo(old);
			return next_piece(packer, pack, n);
		}
		append_text(pack, (*n)++, next->content);
		tokens += next->tokens;
		packer->at++;
	}
	return *n > 0;
}
