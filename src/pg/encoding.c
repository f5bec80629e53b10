/*
 * encoding.c - between UTF-8, which the engine speaks, and the database's encoding.
 *
 * Prompts become UTF-8 and answers the database's encoding.  An answer that has no
 * equivalent there is an ERROR, as everywhere in PostgreSQL.
 *
 * Names and messages that come from sessions in other databases are shown whatever the
 * encoding is: a view must not fail because of another role's name, nor the report of an
 * error because of what it quotes.  There a character that cannot be written becomes
 * \uXXXX, as in the source of a program, and a byte that is no UTF-8 a question mark.
 */
#include "chatglm.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "encoding.h"

#define MAX_CHARACTER 4 /* bytes of one in UTF-8 */

/* ---- Prompts and answers ---------------------------------------------- */

char *
chatglm_text_to_utf8(const text *value, Size *length)
{
	char *utf8 = chatglm_cstring_to_utf8(text_to_cstring(value));

	if (length != NULL)
		*length = strlen(utf8);
	return utf8;
}

char *
chatglm_cstring_to_utf8(const char *value)
{
	return pg_server_to_any(value, strlen(value), PG_UTF8);
}

char *
chatglm_without_nuls(const char *bytes, Size length)
{
	StringInfoData clean;

	initStringInfo(&clean);
	for (Size i = 0; i < length;)
	{
		Size run = strnlen(bytes + i, length - i);

		appendBinaryStringInfo(&clean, bytes + i, run);
		i += run;
		if (i < length)
		{
			appendStringInfoString(&clean, "\xEF\xBF\xBD");
			i++;
		}
	}
	return clean.data;
}

char *
chatglm_cstring_from_utf8(const char *bytes, Size length)
{
	char *clean = chatglm_without_nuls(bytes, length);

	return pg_any_to_server(clean, strlen(clean), PG_UTF8);
}

text *
chatglm_text_from_utf8(const char *bytes, Size length)
{
	return cstring_to_text(chatglm_cstring_from_utf8(bytes, length));
}

/* ---- What is shown of others ------------------------------------------ */

/* Writes one character in the database's encoding; false when it has none. */
static bool
append_converted(StringInfo out, Oid conversion, const unsigned char *character, int length)
{
	unsigned char converted[MAX_CHARACTER * MAX_CONVERSION_GROWTH + 1];

	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
	{
		appendBinaryStringInfo(out, (const char *) character, length);
		return true;
	}
	if (!OidIsValid(conversion) ||
		chatglm_convert(conversion, PG_UTF8, GetDatabaseEncoding(), character, length, converted,
						sizeof(converted)) != length)
		return false;
	appendStringInfoString(out, (const char *) converted);
	return true;
}

static void
append_escaped(StringInfo out, const unsigned char *character)
{
	unsigned code = utf8_to_unicode(character);

	appendStringInfo(out, code > 0xFFFF ? "\\U%08x" : "\\u%04x", code);
}

char *
chatglm_any_to_server_lossy(const char *bytes, Size length)
{
	const unsigned char *at = (const unsigned char *) bytes;
	const unsigned char *end = at + length;
	Oid					 conversion = InvalidOid;
	StringInfoData		 out;
	int					 n;

	if (GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII)
		conversion = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
	initStringInfo(&out);
	for (; at < end; at += n)
	{
		n = pg_utf_mblen(at);
		if (*at != '\0' && *at < 0x80)
			appendStringInfoChar(&out, *at);
		else if (n > end - at || n > MAX_CHARACTER || *at == '\0' || !pg_utf8_islegal(at, n))
		{
			appendStringInfoChar(&out, '?');
			n = 1;
		}
		else if (!append_converted(&out, conversion, at, n))
			append_escaped(&out, at);
	}
	return out.data;
}

char *
chatglm_shown(const char *utf8)
{
	return chatglm_any_to_server_lossy(utf8, strlen(utf8));
}
