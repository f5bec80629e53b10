/*
 * labels.c - the labels among which a text is classified.
 *
 * A model may begin an answer with a capital, or write all of it in capitals; all of these
 * say the label.  Only ASCII letters are changed, so that what a label is said by depends on no
 * locale.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "encoding.h"
#include "labels.h"

#define MAX_LABELS 1000 /* of a request */

static void
refuse_label(const char *rule)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("argument \"labels\" must not %s", rule)));
}

static void
check_label(const ChatglmLabels *labels, const char *name)
{
	if (name[strspn(name, " \t\r\n")] == '\0')
		refuse_label("contain an empty label, or one of blanks alone");
	if (chatglm_find_label(labels, name) >= 0)
		refuse_label(psprintf("contain \"%s\" twice", name));
}

void
chatglm_read_labels(ChatglmLabels *labels, const NullableDatum *arg)
{
	Datum *elements;
	bool  *nulls;
	int	   n;

	if (arg->isnull)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"labels\" must not be NULL")));
	deconstruct_array(DatumGetArrayTypeP(arg->value), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	if (n == 0)
		refuse_label("be empty");
	if (n > MAX_LABELS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("argument \"labels\" has %d labels, more than %d", n, MAX_LABELS)));
	labels->names = palloc(n * sizeof(*labels->names));
	for (labels->n = 0; labels->n < n; labels->n++)
	{
		const char *name;

		if (nulls[labels->n])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument \"labels\" must not contain NULL")));
		name = TextDatumGetCString(elements[labels->n]);
		check_label(labels, name);
		labels->names[labels->n] = name;
	}
}

int
chatglm_find_label(const ChatglmLabels *labels, const char *name)
{
	for (int i = 0; i < labels->n; i++)
		if (strcmp(labels->names[i], name) == 0)
			return i;
	return -1;
}

char *
chatglm_list_labels(const ChatglmLabels *labels)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < labels->n; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", labels->names[i]);
	return list.data;
}

/* ---- How a label may be said -------------------------------------------------------- */

/* A copy with the first `n` bytes in capitals. */
static char *
with_capitals(const char *name, Size n)
{
	char *copy = pstrdup(name);

	for (Size i = 0; i < n && copy[i] != '\0'; i++)
		copy[i] = (char) pg_ascii_toupper((unsigned char) copy[i]);
	return copy;
}

/* All labels in capitals. */
static char **
all_in_capitals(const ChatglmLabels *labels)
{
	char **capitals = palloc(labels->n * sizeof(*capitals));

	for (int i = 0; i < labels->n; i++)
		capitals[i] = with_capitals(labels->names[i], SIZE_MAX);
	return capitals;
}

/* Is another label the same but for the case of its letters? */
static bool
has_twin(char *const *capitals, int n, int label)
{
	for (int i = 0; i < n; i++)
		if (i != label && strcmp(capitals[label], capitals[i]) == 0)
			return true;
	return false;
}

char *
chatglm_labels_json(const ChatglmLabels *labels, bool cases)
{
	char		 **capitals = all_in_capitals(labels);
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < labels->n; i++)
	{
		appendStringInfoString(&json, i > 0 ? ", [" : "[[");
		escape_json(&json, labels->names[i]);
		/* the same text twice is the same as once */
		if (cases && !has_twin(capitals, labels->n, i))
		{
			appendStringInfoString(&json, ", ");
			escape_json(&json, with_capitals(labels->names[i], 1));
			appendStringInfoString(&json, ", ");
			escape_json(&json, capitals[i]);
		}
		appendStringInfoChar(&json, ']');
	}
	appendStringInfoChar(&json, ']');
	return chatglm_cstring_to_utf8(json.data);
}
