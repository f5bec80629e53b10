/*
 * encoding.c - text that must be shown whatever the database's encoding is.
 *
 * The engine speaks UTF-8, and so do names and messages that come from sessions in
 * other databases.  An answer that has no equivalent here is an ERROR, as everywhere
 * in PostgreSQL (args.c).  But a view must not fail because of somebody else's name,
 * nor a report of an error because of what it quotes: there a character that cannot
 * be written becomes \uXXXX, as in the source of a program, and a byte that is no
 * UTF-8 a question mark.
 */
#include "chatglm.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

#define MAX_CHARACTER 4 /* bytes of one in UTF-8 */

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
