/*
 * task_prompt_texts.c - the extension's own prompts of tasks.
 *
 * They stand here and not in the extension's script, as an encoding like LATIN1 has no
 * Chinese and the script could not be run there.  CREATE EXTENSION puts them into
 * chatglm.task_prompt, to be seen and changed.
 *
 * The system message comes first and is the same for all rows of a query, so that it is
 * computed once and then found in the prefix cache; what differs most often comes last, which
 * of classify_multi is the label.  The prompt of a sentiment is what the embedded model has
 * learnt.
 */
#include "chatglm.h"

#include "encoding.h"
#include "task_prompt_texts.h"

const ChatglmTask chatglm_tasks[] = {
	{"extract", "content fields schema ", "content ",
	 "Extract from the text, as JSON: {fields}\n"
	 "Keep to this JSON schema: {schema}\n"
	 "---\n"
	 "{content}",
	 "从文本中提取以下内容,用JSON回答:{fields}\n"
	 "须符合此JSON模式:{schema}\n"
	 "---\n"
	 "{content}"},
	{"classify", "content labels instructions examples ", "content ",
	 "Classify the text. Answer with one of these labels: {labels}\n"
	 "{instructions}\n"
	 "{examples}\n"
	 "---\n"
	 "{content}",
	 "为文本分类。用下列标签之一回答:{labels}\n"
	 "{instructions}\n"
	 "{examples}\n"
	 "---\n"
	 "{content}"},
	{"classify_multi", "content label labels instructions ", "content label ",
	 "The text may have some of these labels: {labels}\n"
	 "{instructions}\n"
	 "---\n"
	 "{content}\n"
	 "\n"
	 "Does the text have the label {label}? Say yes or no.",
	 "文本可能有下列标签中的一些:{labels}\n"
	 "{instructions}\n"
	 "---\n"
	 "{content}\n"
	 "\n"
	 "文本有标签{label}吗?用yes或no回答。"},
	{"filter", "question content ", "question content ",
	 "Answer the question about the text with yes or no.\n"
	 "{question}\n"
	 "---\n"
	 "{content}",
	 "根据文本用yes或no回答问题。\n"
	 "{question}\n"
	 "---\n"
	 "{content}"},
	{"score", "query document ", "query document ",
	 "Does the document answer the query? Say yes or no.\n"
	 "{query}\n"
	 "---\n"
	 "{document}",
	 "文档是否回答了查询?用yes或no回答。\n"
	 "{query}\n"
	 "---\n"
	 "{document}"},
	{"sentiment", "content labels ", "content ",
	 "Classify the sentiment of the review.\n"
	 "---\n"
	 "{content}",
	 "判断评论的情感。\n"
	 "---\n"
	 "{content}"},
	{"translate", "content language from_language ", "content language ",
	 "Translate the text into {language}. Answer with the translation alone.\n"
	 "The text is written in {from_language}.\n"
	 "---\n"
	 "{content}",
	 "把文本翻译成{language}。只回答译文。\n"
	 "文本的语言是{from_language}。\n"
	 "---\n"
	 "{content}"},
	{"summarize", "content max_words ", "content ",
	 "Summarize the text. Answer with the summary alone.\n"
	 "Use at most {max_words} words.\n"
	 "---\n"
	 "{content}",
	 "概括文本的内容。只回答摘要。\n"
	 "最多用{max_words}个词。\n"
	 "---\n"
	 "{content}"},
	{"redact", "content kinds ", "content ",
	 "Find what the text says of these kinds: {kinds}\n"
	 "Answer with a JSON array of objects with kind and text, each text copied from the text "
	 "letter by letter.\n"
	 "---\n"
	 "{content}",
	 "找出文本中属于下列类别的内容:{kinds}\n"
	 "用JSON数组回答,每个对象含kind和text,text须逐字抄自文本。\n"
	 "---\n"
	 "{content}"},
	{"summarize_agg", "content ", "content ",
	 "Summarize the texts, which blank lines divide. Answer with the summary alone.\n"
	 "---\n"
	 "{content}",
	 "概括以空行分隔的各段文本。只回答摘要。\n"
	 "---\n"
	 "{content}"},
	{"summarize_agg_merge", "content ", "content ",
	 "Make one summary of these summaries, which blank lines divide. Answer with the summary "
	 "alone.\n"
	 "---\n"
	 "{content}",
	 "把以空行分隔的各段摘要合并成一段摘要。只回答摘要。\n"
	 "---\n"
	 "{content}"},
	{"agg", "content instruction ", "content instruction ",
	 "{instruction}\n"
	 "Consider all of the texts, which blank lines divide.\n"
	 "---\n"
	 "{content}",
	 "{instruction}\n"
	 "请考虑以空行分隔的所有文本。\n"
	 "---\n"
	 "{content}"},
	{"agg_merge", "content instruction ", "content instruction ",
	 "{instruction}\n"
	 "What follows are answers for parts of the texts, which blank lines divide. Make one answer "
	 "of them.\n"
	 "---\n"
	 "{content}",
	 "{instruction}\n"
	 "以下是对各部分文本的回答,以空行分隔。请合并成一个回答。\n"
	 "---\n"
	 "{content}"},
	{"reduce", "content state instruction ", "content instruction ",
	 "{instruction}\n"
	 "The answer so far: {state}\n"
	 "Answer anew, with the next text taken into account.\n"
	 "---\n"
	 "{content}",
	 "{instruction}\n"
	 "目前的回答:{state}\n"
	 "请结合下一段文本重新回答。\n"
	 "---\n"
	 "{content}"},
};

const int chatglm_n_tasks = lengthof(chatglm_tasks);

const ChatglmTask *
chatglm_find_task(const char *name)
{
	for (int i = 0; i < chatglm_n_tasks; i++)
		if (strcmp(name, chatglm_tasks[i].name) == 0)
			return &chatglm_tasks[i];
	return NULL;
}

/* What an encoding lacks is shown with a backslash, which none of the texts has. */
char *
chatglm_own_task_text(const char *name, const char *language)
{
	const ChatglmTask *task = chatglm_find_task(name);
	char			  *text;

	if (task == NULL)
		return NULL;
	if (strcmp(language, "en") == 0)
		return pstrdup(task->english);
	if (strcmp(language, "zh") != 0)
		return NULL;
	text = chatglm_shown(task->chinese);
	return strchr(text, '\\') == NULL ? text : NULL;
}
