/*
 * replace.c - parts of a text replaced by what kind they are of.
 */
#include "chatglm.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "replace.h"

/* Where a find may stand, from the strictest to the laxest. */
typedef enum Strictness
{
	BETWEEN_WORDS,
	ANYWHERE,
	IN_ANY_CASE
} Strictness;

/* Letters and digits of ASCII; of other scripts it is not known where words end. */
static bool
is_word(char c)
{
	return !IS_HIGHBIT_SET(c) && isalnum((unsigned char) c);
}

static bool
stands_at(const char *content, const char *at, const char *text, Size length, Strictness how)
{
	if (how == IN_ANY_CASE)
		return pg_strncasecmp(at, text, length) == 0;
	if (strncmp(at, text, length) != 0)
		return false;
	return how == ANYWHERE || !((at > content && is_word(at[-1]) && is_word(at[0])) ||
								(is_word(at[length - 1]) && is_word(at[length])));
}

/* Marks what is not marked yet where the find stands; false: it stands nowhere. */
static bool
mark(const char *content, const ChatglmFind *find, int number, int *marks, Strictness how)
{
	Size length = strlen(find->text);
	Size size = strlen(content);
	bool found = false;

	for (const char *at = content; at + length <= content + size; at += pg_mblen(at))
	{
		if (!stands_at(content, at, find->text, length, how))
			continue;
		found = true;
		for (Size i = at - content; i < at - content + length; i++)
			if (marks[i] == 0)
				marks[i] = number;
	}
	return found;
}

/* [KIND]: blanks and the like become underscores. */
static void
append_kind(StringInfo out, const char *kind)
{
	appendStringInfoChar(out, '[');
	for (const char *c = kind; *c != '\0'; c++)
		appendStringInfoChar(out, IS_HIGHBIT_SET(*c) ? *c
								  : is_word(*c)		 ? (char) toupper((unsigned char) *c)
													 : '_');
	appendStringInfoChar(out, ']');
}

static int
longer_first(const void *a, const void *b)
{
	const ChatglmFind *left = a;
	const ChatglmFind *right = b;
	Size			   n = strlen(left->text);
	Size			   m = strlen(right->text);

	if (n != m)
		return n > m ? -1 : 1;
	n = strcmp(left->text, right->text);
	return n != 0 ? (int) n : strcmp(left->kind, right->kind);
}

char *
chatglm_replace_finds(const char *content, List *finds)
{
	int	 n = list_length(finds);
	Size size = strlen(content);
	int *marks = palloc_extended((size + 1) * sizeof(int), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	ChatglmFind	  *sorted = palloc((n + 1) * sizeof(*sorted));
	StringInfoData out;

	for (int i = 0; i < n; i++)
		sorted[i] = *(ChatglmFind *) list_nth(finds, i);
	qsort(sorted, n, sizeof(*sorted), longer_first);
	for (int i = 0; i < n; i++)
		for (Strictness how = BETWEEN_WORDS; how <= IN_ANY_CASE; how++)
		{
			CHECK_FOR_INTERRUPTS();
			if (mark(content, &sorted[i], i + 1, marks, how))
				break;
		}
	initStringInfo(&out);
	for (Size at = 0; at < size;)
	{
		Size end = at + 1;

		while (end < size && marks[end] == marks[at])
			end++;
		if (marks[at] == 0)
			appendBinaryStringInfo(&out, content + at, end - at);
		else
			append_kind(&out, sorted[marks[at] - 1].kind);
		at = end;
	}
	pfree(marks);
	pfree(sorted);
	return out.data;
}
