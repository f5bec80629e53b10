/*
 * route_choice.c - which of its models a route leads a request to.
 *
 * That is a function of the request alone.  With options.route_key it is one of the
 * route's name and the key, so that a customer meets one model in all his requests,
 * sessions and servers.  Without, of the route's name and what the request says: its
 * texts, tokens and seed.  So the same request gets the same answer whatever runs beside
 * it, and different ones are spread as the weights say.
 *
 * Each model draws from an exponential distribution whose rate is its weight, and the
 * smallest draw wins: the chance of that is the model's share.  The draw is
 *
 *		-log2(u) / weight,   u = the first 8 bytes of SHA-256(D || model) / 2^64,
 *		D = SHA-256(route || 0 || key),
 *
 * with names and keys in UTF-8.  As a model's draw does not depend on the others, a key
 * changes its model only when that has lost some of its share, or another has won some:
 * of 90:10 that becomes 80:20, a ninth of the first one's keys move, and no others.
 *
 * The logarithm is made of integers, and the division is IEEE 754's, so that every
 * machine and every version of this file's arithmetic comes to the same model.
 */
#include "chatglm.h"

#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "encoding.h"
#include "model_name.h"
#include "route.h"

#define DIGEST_LENGTH 32
#define LOG_BITS 28 /* of a logarithm, behind the point */

/* ---- Draws --------------------------------------------------------------------- */

/* Appends the SHA-256 of the bytes. */
static void
append_digest(StringInfo out, const StringInfoData *bytes)
{
	bytea *data = cstring_to_text_with_len(bytes->data, bytes->len);
	bytea *digest = DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(data)));

	appendBinaryStringInfo(out, VARDATA_ANY(digest), DIGEST_LENGTH);
	pfree(data);
}

/*
 * -log2(u / 2^64) in units of 2^-LOG_BITS.  A number from 1 to 2 that is squared leaves
 * that range when the next bit of its logarithm is 1.
 */
static int64
negative_log2(uint64 u)
{
	int	   whole = pg_leftmost_one_pos64(Max(u, 1));
	uint64 number = (Max(u, 1) << (63 - whole)) >> 32; /* 31 bits behind the point */
	int64  fraction = 0;

	for (int i = 0; i < LOG_BITS; i++)
	{
		number = number * number >> 31;
		fraction <<= 1;
		if (number >> 32 != 0)
		{
			number >>= 1;
			fraction |= 1;
		}
	}
	return ((int64) (64 - whole) << LOG_BITS) - fraction;
}

/* What a model draws; D is the digest of the request. */
static double
draw(const StringInfoData *digest, const ChatglmShare *share)
{
	StringInfoData bytes;
	StringInfoData drawn;
	uint64		   u = 0;

	initStringInfo(&bytes);
	initStringInfo(&drawn);
	appendBinaryStringInfo(&bytes, digest->data, digest->len);
	appendStringInfoString(&bytes, chatglm_cstring_to_utf8(share->model));
	append_digest(&drawn, &bytes);
	for (int i = 0; i < 8; i++)
		u = u << 8 | (unsigned char) drawn.data[i];
	pfree(bytes.data);
	pfree(drawn.data);
	return (double) negative_log2(u) / share->weight;
}

/* ---- What is drawn for ----------------------------------------------------------- */

static void
append_number(StringInfo out, uint64 number)
{
	for (int shift = 56; shift >= 0; shift -= 8)
		appendStringInfoChar(out, (char) (number >> shift & 255));
}

/* Its length, then the bytes; one that is absent has a length that no text has. */
static void
append_part(StringInfo out, const void *bytes, Size length)
{
	append_number(out, bytes != NULL ? length : PG_UINT64_MAX);
	if (bytes != NULL)
		appendBinaryStringInfo(out, bytes, (int) length);
}

static void
append_text(StringInfo out, const char *text)
{
	append_part(out, text, text != NULL ? strlen(text) : 0);
}

/* All that the model would be told. */
static void
append_contents(StringInfo out, const ChatglmCall *call)
{
	append_part(out, call->text, call->text_length);
	append_text(out, call->system);
	append_text(out, call->tools);
	append_part(out, call->tokens, call->n_tokens * sizeof(int32));
	append_number(out, call->seed);
	if (call->continuation != NULL)
		append_text(out, call->continuation);
}

static StringInfoData
digest_of(const ChatglmCall *call)
{
	StringInfoData bytes;
	StringInfoData digest;

	initStringInfo(&bytes);
	initStringInfo(&digest);
	appendStringInfoString(&bytes, chatglm_cstring_to_utf8(call->route->name));
	appendStringInfoChar(&bytes, '\0');
	if (call->route_key != NULL)
		appendStringInfoString(&bytes, call->route_key);
	else
		append_contents(&bytes, call);
	append_digest(&digest, &bytes);
	pfree(bytes.data);
	return digest;
}

/* ---- The choice ------------------------------------------------------------------- */

static const char *
choose(const ChatglmCall *call)
{
	StringInfoData digest = digest_of(call);
	const char	  *chosen = NULL;
	double		   least = 0;

	for (int i = 0; i < call->route->n_shares; i++)
	{
		const ChatglmShare *share = &call->route->share[i];
		double				drawn;

		if (share->weight == 0)
			continue;
		drawn = draw(&digest, share);
		if (chosen == NULL || drawn < least)
		{
			chosen = share->model;
			least = drawn;
		}
	}
	pfree(digest.data);
	return chosen;
}

void
chatglm_choose_model(ChatglmCall *call)
{
	ChatglmModelRef ref;

	if (call->route == NULL || call->model != NULL)
		return;
	ref = chatglm_resolve_routed(choose(call), call->route->name);
	chatglm_call_model(call, &ref);
}
