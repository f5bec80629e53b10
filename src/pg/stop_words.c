/*
 * stop_words.c - words that a text is read without: English and Chinese ones, or the caller's.
 *
 * The lists stand here and in no file of the server, which its administrator may change:
 * an IMMUTABLE function must give the same for ever.  English ones are those of Snowball, as
 * PostgreSQL's text search has them; Chinese ones are particles, pronouns and conjunctions.
 *
 * Words are compared as UTF-8 in small letters, and with one kind of apostrophe.
 */
#include "chatglm.h"

#include "utils/formatting.h"

#include "encoding.h"
#include "options.h"
#include "stop_words.h"

struct ChatglmStopWords
{
	Oid	   collation; /* by which letters are made small */
	int	   n;
	char **words; /* [n], sorted */
};

static const char *const english[] = {
	"a",		 "about",	 "above",	   "after",		"again",	  "against", "all",
	"am",		 "an",		 "and",		   "any",		"are",		  "aren't",	 "as",
	"at",		 "be",		 "because",	   "been",		"before",	  "being",	 "below",
	"between",	 "both",	 "but",		   "by",		"can",		  "can't",	 "cannot",
	"could",	 "couldn't", "did",		   "didn't",	"do",		  "does",	 "doesn't",
	"doing",	 "don't",	 "down",	   "during",	"each",		  "few",	 "for",
	"from",		 "further",	 "had",		   "hadn't",	"has",		  "hasn't",	 "have",
	"haven't",	 "having",	 "he",		   "he'd",		"he'll",	  "he's",	 "her",
	"here",		 "here's",	 "hers",	   "herself",	"him",		  "himself", "his",
	"how",		 "how's",	 "i",		   "i'd",		"i'll",		  "i'm",	 "i've",
	"if",		 "in",		 "into",	   "is",		"isn't",	  "it",		 "it's",
	"its",		 "itself",	 "just",	   "let's",		"me",		  "more",	 "most",
	"mustn't",	 "my",		 "myself",	   "no",		"nor",		  "not",	 "now",
	"of",		 "off",		 "on",		   "once",		"only",		  "or",		 "other",
	"ought",	 "our",		 "ours",	   "ourselves", "out",		  "over",	 "own",
	"same",		 "shan't",	 "she",		   "she'd",		"she'll",	  "she's",	 "should",
	"shouldn't", "so",		 "some",	   "such",		"than",		  "that",	 "that's",
	"the",		 "their",	 "theirs",	   "them",		"themselves", "then",	 "there",
	"there's",	 "these",	 "they",	   "they'd",	"they'll",	  "they're", "they've",
	"this",		 "those",	 "through",	   "to",		"too",		  "under",	 "until",
	"up",		 "very",	 "was",		   "wasn't",	"we",		  "we'd",	 "we'll",
	"we're",	 "we've",	 "were",	   "weren't",	"what",		  "what's",	 "when",
	"when's",	 "where",	 "where's",	   "which",		"while",	  "who",	 "who's",
	"whom",		 "why",		 "why's",	   "will",		"with",		  "won't",	 "would",
	"wouldn't",	 "you",		 "you'd",	   "you'll",	"you're",	  "you've",	 "your",
	"yours",	 "yourself", "yourselves", NULL};

static const char *const chinese[] = {
	"的",	"地",	"得",	"了",	"着",	"过",	"吗",	"呢",	"吧",	"啊",	"呀",	"嘛",
	"哦",	"嗯",	"是",	"在",	"有",	"和",	"与",	"及",	"或",	"并",	"而",	"但",
	"且",	"也",	"都",	"就",	"还",	"又",	"再",	"才",	"只",	"很",	"更",	"最",
	"太",	"被",	"把",	"让",	"给",	"向",	"从",	"到",	"对",	"为",	"以",	"于",
	"由",	"由于", "之",	"其",	"此",	"这",	"那",	"哪",	"各",	"每",	"某",	"个",
	"些",	"等",	"我",	"你",	"您",	"他",	"她",	"它",	"们",	"我们", "你们", "他们",
	"她们", "它们", "咱们", "自己", "这个", "那个", "这些", "那些", "这里", "那里", "这样", "那样",
	"什么", "怎么", "因为", "所以", "如果", "虽然", "但是", "不过", "而且", "并且", "或者", "以及",
	"还是", "只是", "就是", "对于", "关于", "为了", "一个", "一些", "一样", "可以", "已经", "正在",
	"以后", "以前", NULL};

/* ---- Comparing ------------------------------------------------------------------- */

/* In small letters and with ' for U+2019. */
static char *
fold(const char *word, Size length, Oid collation)
{
	char *server = chatglm_cstring_from_utf8(word, length);
	char *small = chatglm_cstring_to_utf8(str_tolower(server, strlen(server), collation));
	char *folded = palloc(strlen(small) + 1);
	char *to = folded;

	for (const char *from = small; *from != '\0';)
	{
		bool apostrophe = strncmp(from, "\xE2\x80\x99", 3) == 0;

		*to++ = apostrophe ? '\'' : *from;
		from += apostrophe ? 3 : 1;
	}
	*to = '\0';
	return folded;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

bool
chatglm_is_stop_word(const ChatglmStopWords *words, const char *word, Size length)
{
	char *folded;
	bool  found;

	if (words == NULL)
		return false;
	folded = fold(word, length, words->collation);
	found = bsearch(&folded, words->words, words->n, sizeof(char *), compare) != NULL;
	pfree(folded);
	return found;
}

/* ---- Lists -------------------------------------------------------------------------- */

static ChatglmStopWords *
new_list(int n, Oid collation)
{
	ChatglmStopWords *words = palloc0(sizeof(*words));

	words->collation = collation;
	words->words = palloc((n + 1) * sizeof(char *));
	return words;
}

static ChatglmStopWords *
own_list(const char *const *list, Oid collation)
{
	ChatglmStopWords *words;
	int				  n = 0;

	while (list[n] != NULL)
		n++;
	words = new_list(n, collation);
	for (int i = 0; i < n; i++)
		words->words[words->n++] = unconstify(char *, list[i]);
	return words;
}

static void
bad_stop_words(void)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("argument \"options.stop_words\" must be \"en\", \"zh\", false or an "
						   "array of words")));
}

static ChatglmStopWords *
callers_list(JsonbContainer *array, Oid collation)
{
	int				  n = JsonContainerSize(array);
	ChatglmStopWords *words = new_list(n, collation);

	for (int i = 0; i < n; i++)
	{
		JsonbValue *word = getIthJsonbValueFromContainer(array, i);
		char	   *utf8;

		if (word->type != jbvString)
			bad_stop_words();
		utf8 = chatglm_cstring_to_utf8(pnstrdup(word->val.string.val, word->val.string.len));
		words->words[words->n++] = fold(utf8, strlen(utf8), collation);
	}
	return words;
}

ChatglmStopWords *
chatglm_read_stop_words(const JsonbValue *value, Oid collation)
{
	static const char *const names[] = {"en", "zh", NULL};
	int						 name = chatglm_option_choice(value, names);
	ChatglmStopWords		*words = NULL;

	if (value->type == jbvBool && !value->val.boolean)
		return NULL;
	if (name >= 0)
		words = own_list(name == 0 ? english : chinese, collation);
	else if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data))
		words = callers_list(value->val.binary.data, collation);
	else
		bad_stop_words();
	qsort(words->words, words->n, sizeof(char *), compare);
	return words;
}
