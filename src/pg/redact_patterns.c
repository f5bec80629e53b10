/*
 * redact_patterns.c - personal data that has a form of its own: addresses of e-mail and of
 * computers, links, telephone numbers, numbers of cards and accounts.
 *
 * A model may overlook one, a pattern does not.  Where a number carries a check digit it is
 * looked at, so that not every long number is a card's.
 */
#include "chatglm.h"

#include <ctype.h>

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/builtins.h"

#include "encoding.h"
#include "redact_patterns.h"
#include "replace.h"

typedef struct Form
{
	const char *kinds;	 /* its names in UTF-8, in lower case, a bar behind each */
	const char *pattern; /* PostgreSQL's, advanced */
	bool (*check)(const char *text, int length);
} Form;

static bool is_card(const char *text, int length);
static bool is_iban(const char *text, int length);

#define OCTET "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"

static const Form forms[] = {
	{"email|e-mail|email address|邮箱|电子邮件|",
	 "[[:alnum:]._%+-]+@[[:alnum:]-]+(?:\\.[[:alnum:]-]+)+", NULL},
	{"url|link|网址|链接|", "\\mhttps?://[^[:space:]<>\"]+", NULL},
	{"ip address|ip|ip地址|", "\\m" OCTET "(?:\\." OCTET "){3}\\M", NULL},
	{"credit card|credit card number|card number|信用卡|信用卡号|银行卡号|",
	 "\\m\\d(?:[ -]?\\d){12,18}\\M", is_card},
	{"iban|bank account|account number|",
	 "\\m[A-Z]{2}\\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\\M", is_iban},
	{"phone|phone number|telephone|电话|电话号码|手机|手机号|",
	 "(?:\\+|\\m00)[1-9]\\d{0,2}(?: ?\\(\\d{1,4}\\))?(?:[ /.-]?\\d){5,12}\\M|\\m0[1-9](?:[ "
	 "/-]?\\d){5,11}\\M|"
	 "\\(\\d{3}\\) ?\\d{3}-\\d{4}\\M|\\m\\d{3}-\\d{3}-\\d{4}\\M|\\m1[3-9]\\d{9}\\M",
	 NULL},
};

/* ---- Check digits ----------------------------------------------------------------------- */

/* Luhn's: every second digit from the end counts twice. */
static bool
is_card(const char *text, int length)
{
	bool twice = false;
	int	 sum = 0;

	for (int i = length - 1; i >= 0; i--)
	{
		int digit = text[i] - '0';

		if (!isdigit((unsigned char) text[i]))
			continue;
		if (twice)
			digit = digit * 2 - (digit > 4 ? 9 : 0);
		sum += digit;
		twice = !twice;
	}
	return sum % 10 == 0;
}

/* ISO 7064: the first four characters moved to the end, letters as 10 to 35, are 1 modulo 97. */
static bool
is_iban(const char *text, int length)
{
	int rest = 0;

	for (int i = 0; i < length; i++)
	{
		char c = text[(i + 4) % length];

		if (isdigit((unsigned char) c))
			rest = (rest * 10 + (c - '0')) % 97;
		else if (isupper((unsigned char) c))
			rest = (rest * 100 + (c - 'A' + 10)) % 97;
	}
	return rest == 1;
}

/* ---- Finding ------------------------------------------------------------------------------ */

static const Form *
form_of(const char *kind)
{
	char *name = chatglm_cstring_to_utf8(kind);

	for (char *c = name; *c != '\0'; c++)
		*c = *c == '_' ? ' ' : (char) pg_ascii_tolower((unsigned char) *c);
	for (int i = 0; i < (int) lengthof(forms); i++)
		for (const char *at = forms[i].kinds; *at != '\0'; at = strchr(at, '|') + 1)
			if (strncmp(at, name, strlen(name)) == 0 && at[strlen(name)] == '|')
				return &forms[i];
	return NULL;
}

/* The content is searched for its matches, one behind the other. */
static List *
find_form(List *finds, const char *content, const char *kind, const Form *form)
{
	text	  *pattern = cstring_to_text(form->pattern);
	int		   length = strlen(content);
	pg_wchar  *wide = palloc((length + 1) * sizeof(pg_wchar));
	int		   n = pg_mb2wchar_with_len(content, wide, length);
	regex_t	  *compiled = RE_compile_and_cache(pattern, REG_ADVANCED, C_COLLATION_OID);
	regmatch_t match;
	int		   from = 0;

	while (from < n && pg_regexec(compiled, wide, n, from, NULL, 1, &match, 0) == REG_OKAY)
	{
		int			 size = (match.rm_eo - match.rm_so) * MAX_CONVERSION_GROWTH;
		char		*found = palloc(size + 1);
		ChatglmFind *find = palloc(sizeof(*find));

		CHECK_FOR_INTERRUPTS();
		size = pg_wchar2mb_with_len(wide + match.rm_so, found, match.rm_eo - match.rm_so);
		*find = (ChatglmFind){kind, found};
		if (form->check == NULL || form->check(found, size))
			finds = lappend(finds, find);
		from = Max(match.rm_eo, from + 1);
	}
	pfree(wide);
	return finds;
}

List *
chatglm_find_patterns(List *finds, const char *content, List *kinds)
{
	ListCell *cell;

	foreach(cell, kinds)
	{
		const Form *form = form_of(lfirst(cell));

		if (form != NULL)
			finds = find_form(finds, content, lfirst(cell), form);
	}
	return finds;
}
