/*
 * fold.c - many texts made one by a model, more than its context holds.
 *
 * Texts are packed into pieces that fit a prompt (text_pack.c) and a question is asked of each.
 * In a tree the answers are texts of the next level, and the questions of one level do not
 * depend on each other: as many as chatglm.prefetch run at a time, as rows of GlmBatch do.
 * From the left, each question has the answer before it in its prompt.
 *
 * An answer may take a quarter of the context at most, so that two always fit beside each
 * other and a level has at most half as many texts as the one below.  The outcome depends
 * on texts, their order, prompts, model and parameters; not on what else runs, since neither
 * the packs nor the answers do.
 *
 * Memory: a level is in a tuplestore; beside it there are the texts being packed and the
 * answers in hand.
 */
#include "chatglm.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "admission.h"
#include "ask.h"
#include "client.h"
#include "encoding.h"
#include "fold.h"
#include "text_pack.h"
#include "settings.h"
#include "task_prompt.h"

#define TURN_TOKENS 32	/* what the chat template puts around a prompt, and more */
#define LEAST_TOKENS 64 /* of texts in a prompt */

/* A task, and how much of a prompt and an answer there is room for. */
typedef struct Asking
{
	ChatglmFold *fold;
	const char	*task;
	ChatglmCall	 call;	/* with the answer's limit */
	int			 limit; /* of a pack's tokens */
} Asking;

/* Answers of one level on their way, the oldest first. */
typedef struct Level
{
	ChatglmFold	  *fold;
	ChatglmAnswer *answers; /* a ring */
	int			   capacity;
	int			   head;
	int			   n;
	ChatglmTexts  *done; /* texts of those taken */
	MemoryContext  scratch;
} Level;

/* ---- Questions ------------------------------------------------------------------------ */

static void
put_pack(ChatglmCall *call, const Asking *asking, const char *content, const char *state)
{
	ChatglmPart parts[3] = {{"content", content}};
	int			n = 1;

	if (asking->fold->instruction != NULL)
		parts[n++] = (ChatglmPart){"instruction", asking->fold->instruction};
	if (state != NULL)
		parts[n++] = (ChatglmPart){"state", state};
	*call = asking->call;
	chatglm_put_task(call, asking->task, n, parts);
}

/* Sees how much room there is beside the prompt itself; one with a state has room for it, too. */
static Asking
prepare(ChatglmFold *fold, const char *task, bool with_state)
{
	Asking		asking = {fold, task, fold->call, 0};
	ChatglmCall sample;
	int			context;
	int			prompt;

	put_pack(&sample, &asking, "-", with_state ? "-" : NULL);
	prompt = chatglm_tokens_of(
		&fold->call, chatglm_cstring_from_utf8(sample.text, sample.text_length), &context);
	if (sample.system != NULL)
		prompt += chatglm_tokens_of(
			&fold->call, chatglm_cstring_from_utf8(sample.system, strlen(sample.system)), &context);
	prompt += TURN_TOKENS;
	asking.call.max_tokens = Min(fold->call.max_tokens, Max((context - prompt) / 4, 1));
	asking.limit = context - prompt - asking.call.max_tokens * (with_state ? 2 : 1);
	if (asking.limit < LEAST_TOKENS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("prompt of task \"%s\" leaves no room for texts in the context of "
							   "%d tokens",
							   task, context),
						errdetail("It has about %d tokens without them.", prompt),
						errhint("Shorten the instruction or the prompt in chatglm.task_prompt.")));
	return asking;
}

static text *
text_of(const ChatglmAnswer *answer)
{
	return chatglm_text_from_utf8(answer->bytes.data, answer->bytes.len);
}

static void
count_answer(ChatglmFold *fold, const ChatglmAnswer *answer)
{
	fold->prompt_tokens += answer->prompt_tokens;
	fold->completion_tokens += answer->completion_tokens;
	fold->finish = answer->finish;
	chatglm_batch_stat_add(&fold->stat->answered, 1);
	chatglm_batch_stat_add(&fold->stat->tokens, answer->completion_tokens);
}

/* ---- A tree ----------------------------------------------------------------------------- */

static Level *
begin_level(ChatglmFold *fold)
{
	Level *level = palloc0(sizeof(*level));

	level->fold = fold;
	level->capacity = chatglm_prefetch * CHATGLM_ROWS_IN_HAND;
	level->answers = palloc0(level->capacity * sizeof(*level->answers));
	level->done = chatglm_texts_begin();
	level->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "chatglm fold", ALLOCSET_DEFAULT_SIZES);
	return level;
}

static ChatglmAnswer *
answer_at(const Level *level, int i)
{
	return &level->answers[(level->head + i) % level->capacity];
}

/* Takes the oldest answer, waiting for it. */
static void
take_answer(Level *level)
{
	MemoryContext  old = MemoryContextSwitchTo(level->scratch);
	ChatglmAnswer *answer = answer_at(level, 0);

	chatglm_collect(answer);
	count_answer(level->fold, answer);
	chatglm_texts_add(level->done, text_of(answer));
	MemoryContextSwitchTo(old);
	MemoryContextReset(level->scratch);
	level->head = (level->head + 1) % level->capacity;
	level->n--;
}

/* Takes those that are there, and waits while no more may be asked. */
static void
wait_for_room(Level *level)
{
	for (;;)
	{
		chatglm_look();
		while (level->n > 0 && !chatglm_request_running(answer_at(level, 0)->request))
			take_answer(level);
		if (level->n == 0 || (chatglm_requests_running() < chatglm_prefetch &&
							  level->n < level->capacity && chatglm_room_for_row()))
			return;
		chatglm_wait();
	}
}

static void
ask_pack(Level *level, const Asking *asking, const char *content)
{
	MemoryContext old;
	ChatglmCall	  call;

	wait_for_room(level);
	old = MemoryContextSwitchTo(level->scratch);
	put_pack(&call, asking, content, NULL);
	chatglm_ask_call(&call, answer_at(level, level->n));
	chatglm_batch_stat_add(&level->fold->stat->rows_read, 1);
	level->n++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(level->scratch);
}

/* A text that is alone in its pack goes up as it is. */
static void
pass_up(Level *level, const char *content)
{
	while (level->n > 0)
		take_answer(level);
	chatglm_texts_add(level->done, cstring_to_text(content));
}

static ChatglmTexts *
run_level(const Asking *asking, ChatglmTexts *texts, bool merges)
{
	ChatglmPacker *packer = chatglm_pack_begin(&asking->call, texts, asking->limit, merges ? 2 : 1);
	Level		  *level = begin_level(asking->fold);
	StringInfoData pack;
	int			   n;

	initStringInfo(&pack);
	while (chatglm_pack_next(packer, &pack, &n))
	{
		if (merges && n == 1)
			pass_up(level, pack.data);
		else
			ask_pack(level, asking, pack.data);
	}
	while (level->n > 0)
		take_answer(level);
	return level->done;
}

text *
chatglm_fold_tree(ChatglmFold *fold, const char *first, const char *merge, ChatglmTexts *texts)
{
	Asking		  asking = prepare(fold, first, false);
	ChatglmTexts *done = run_level(&asking, texts, false);
	text		 *result;

	while (chatglm_texts_count(done) > 1)
	{
		ChatglmTexts *below = done;

		asking = prepare(fold, merge, false);
		done = run_level(&asking, below, true);
		chatglm_texts_end(below);
	}
	result = cstring_to_text(chatglm_texts_next(done));
	chatglm_texts_end(done);
	return result;
}

/* ---- From the left ------------------------------------------------------------------------ */

text *
chatglm_fold_left(ChatglmFold *fold, const char *task, ChatglmTexts *texts)
{
	Asking		   asking = prepare(fold, task, true);
	ChatglmPacker *packer = chatglm_pack_begin(&asking.call, texts, asking.limit, 1);
	MemoryContext  scratch =
		AllocSetContextCreate(CurrentMemoryContext, "chatglm fold", ALLOCSET_DEFAULT_SIZES);
	char		  *state = pstrdup("");
	StringInfoData pack;
	int			   n;

	initStringInfo(&pack);
	while (chatglm_pack_next(packer, &pack, &n))
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);
		ChatglmCall	  call;
		ChatglmAnswer answer;

		put_pack(&call, &asking, pack.data, state);
		chatglm_batch_stat_add(&fold->stat->rows_read, 1);
		chatglm_run(&call, &answer);
		count_answer(fold, &answer);
		MemoryContextSwitchTo(old);
		pfree(state);
		state = chatglm_cstring_from_utf8(answer.bytes.data, answer.bytes.len);
		MemoryContextReset(scratch);
	}
	return cstring_to_text(state);
}
