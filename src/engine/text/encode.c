/*
 * encode.c - text to ids.
 *
 * SentencePiece does it; what is ours is bounding its memory, some 220 bytes
 * for each byte of text, and its time, since a call of it cannot be ended.  A
 * long text is encoded in segments of about SEGMENT_SIZE bytes, which take some
 * milliseconds, with a pause (pause.c) after each.  It is cut where it cannot
 * show: between two characters that no piece of the vocabulary has side by
 * side.  No piece spans such a cut, and how one side merges into pieces never
 * depends on the other.
 *
 * SentencePiece puts a blank in front of whatever it is given.  So all segments
 * but the first are encoded behind a newline, itself a byte piece that joins
 * nothing, and the two ids of blank and newline are dropped.
 *
 * All of that holds only for models that leave text as it is (no Unicode
 * normalization, no squeezing of blanks) and fall back to bytes, as ChatGLM's
 * do.  glm_encode_prepare() tries whether it does; for other models, and for
 * runs without a place to cut, a text is encoded whole up to WHOLE_MAX bytes.
 * Where such a run is long, bpe.c takes over, which gives the same ids and can be
 * ended.
 *
 * No locks: a tokenizer is immutable once opened.
 */
#include "engine/text/pieces.h"

#include <stdlib.h>
#include <string.h>

#define SEGMENT_SIZE (8u << 10)
#define WHOLE_MAX (4u << 20)
#define CALL_MAX (64u << 10) /* bytes that one call of SentencePiece may take: 20 ms */
#define BLANK "\xE2\x96\x81" /* U+2581 */
#define PAIR_BITS 20		 /* of the hash of a pair of characters */

/* ---- Pairs of neighbours ----------------------------------------------- */

/*
 * A set of pairs as a bitmap over their hashes.  Two pairs with one hash cost a
 * place to cut, nothing else.
 */
static uint32_t
pair_hash(uint32_t a, uint32_t b)
{
	uint32_t h = a * 0x9E3779B1u + b * 0x85EBCA6Bu;

	h = (h ^ h >> 15) * 0xC2B2AE35u;
	return h >> (32 - PAIR_BITS);
}

/* The bytes of a character as one number; U+2581 is a blank to SentencePiece. */
static uint32_t
character(const char *s, int length)
{
	uint32_t c = 0;

	for (int i = 0; i < length; i++)
		c = c << 8 | (unsigned char) s[i];
	return c == 0xE29681 ? ' ' : c;
}

static void
add_pairs(uint8_t *pairs, const char *s, size_t n)
{
	uint32_t last = 0;

	for (size_t at = 0; at < n;)
	{
		int		 length = glm_utf8_length(s + at, n - at);
		uint32_t c = character(s + at, length);
		uint32_t h = pair_hash(last, c);

		if (at > 0)
			pairs[h / 8] |= 1 << h % 8;
		last = c;
		at += length;
	}
}

/* ---- Preparing --------------------------------------------------------- */

/* Does text come back as it was?  Normalization would change these. */
static glm_spm_status
probe_identity(const glm_tokenizer *tok, bool *identity)
{
	/* full-width A, ligature fi, circled 1, e with an accent apart, wide blanks */
	static const char text[] = "A  b\t\xEF\xBC\xA1 \xEF\xAC\x81 \xE2\x91\xA0 e\xCC\x81 "
							   "\xC2\xA0\xE3\x80\x80 \r\n \n";
	glm_ids			  ids = {0};
	glm_buf			  back = {0};
	glm_spm_status	  status = glm_spm_encode(tok->spm, text, strlen(text), glm_take_id, &ids);

	if (status == GLM_SPM_OK)
		status = glm_spm_decode(tok->spm, ids.data, ids.length, glm_take_text, &back);
	*identity = status == GLM_SPM_OK && back.length == strlen(text) &&
				memcmp(back.data, text, back.length) == 0;
	glm_ids_free(&ids);
	glm_buf_free(&back);
	return status;
}

/* Is a newline a byte piece, behind the blank that comes before all text? */
static glm_spm_status
probe_newline(const glm_tokenizer *tok, bool *alone)
{
	glm_ids		   ids = {0};
	glm_spm_status status = glm_spm_encode(tok->spm, "\n", 1, glm_take_id, &ids);

	*alone = status == GLM_SPM_OK && ids.length == 2 &&
			 tok->pieces[ids.data[1]].kind == GLM_SPM_BYTE &&
			 tok->pieces[ids.data[1]].byte == '\n' &&
			 memchr(tok->text.data, '\n', tok->text.length) == NULL;
	glm_ids_free(&ids);
	return status;
}

/* For what cannot be cut, if the model is one that bpe.c can take over for. */
static bool
open_bpe(glm_tokenizer *tok, glm_error *err)
{
	if (!tok->plain_bpe)
		return true;
	tok->bpe = glm_bpe_open(tok, err);
	if (tok->bpe == NULL)
		return false;
	if (!glm_bpe_is_good(tok->bpe))
	{
		glm_bpe_close(tok->bpe);
		tok->bpe = NULL;
	}
	return true;
}

bool
glm_encode_prepare(glm_tokenizer *tok, const char *path, glm_error *err)
{
	bool		   identity = false;
	bool		   alone = false;
	glm_spm_status status;

	tok->segment = SEGMENT_SIZE;
	status = probe_identity(tok, &identity);

	if (status == GLM_SPM_OK)
		status = probe_newline(tok, &alone);
	if (status == GLM_SPM_FAILED)
		return glm_fail(err, GLM_BAD_FILE, "\"%s\" cannot encode text", path);
	if (status == GLM_SPM_OK && !(identity && alone))
		return true;
	if (status == GLM_SPM_OK)
		tok->pairs = calloc((1u << PAIR_BITS) / 8, 1);
	if (tok->pairs == NULL)
		return glm_no_memory(err);
	for (int id = 0; id < tok->size; id++)
	{
		add_pairs(tok->pairs, tok->text.data + tok->pieces[id].offset, tok->pieces[id].length);
		if (id % 1024 == 0 && !glm_pause(err))
			return false;
	}
	return open_bpe(tok, err);
}

/* ---- Encoding ---------------------------------------------------------- */

/* How many bytes to encode next: all, or up to a place to cut. */
static size_t
segment_length(const glm_tokenizer *tok, const char *text, size_t n)
{
	uint32_t last = 0;
	size_t	 at = tok->segment;

	if (tok->pairs == NULL || n <= 2 * tok->segment)
		return n;
	while (glm_utf8_length(text + at, n - at) < 0) /* inside a character */
		at++;
	for (int length; at < n; at += length)
	{
		uint32_t c;
		uint32_t h;

		length = glm_utf8_length(text + at, n - at);
		c = character(text + at, length);
		h = pair_hash(last, c);
		if (last != 0 && (tok->pairs[h / 8] >> h % 8 & 1) == 0)
			return at;
		last = c;
	}
	return n;
}

/* Ids on their way to a list, but for the first few. */
typedef struct sink
{
	glm_ids *ids;
	int		 skip;
} sink;

static bool
take_id(void *arg, int32_t id)
{
	sink *s = arg;

	if (s->skip > 0)
	{
		s->skip--;
		return true;
	}
	return glm_ids_add(s->ids, id, NULL);
}

/* By bpe.c, which can be ended meanwhile; blanks are written as SentencePiece sees them. */
static bool
encode_whole(const glm_tokenizer *tok, const char *text, size_t n, bool first, glm_ids *out,
			 glm_error *err)
{
	glm_buf escaped = {0};
	bool	ok;

	if (first)
		glm_buf_puts(&escaped, BLANK);
	for (size_t at = 0, run; at < n; at += run)
	{
		const char *blank = memchr(text + at, ' ', n - at);

		run = blank != NULL ? (size_t) (blank - text) - at : n - at;
		glm_buf_add(&escaped, text + at, run);
		if (blank != NULL)
		{
			glm_buf_puts(&escaped, BLANK);
			run++;
		}
	}
	ok = escaped.failed ? glm_no_memory(err)
						: glm_bpe_encode(tok->bpe, escaped.data, escaped.length, out, err);
	glm_buf_free(&escaped);
	return ok;
}

static bool
encode_segment(const glm_tokenizer *tok, const char *text, size_t n, bool first, glm_ids *out,
			   glm_error *err)
{
	sink		   s = {out, first ? 0 : 2};
	glm_buf		   led = {0};
	glm_spm_status status = GLM_SPM_NO_MEMORY;

	if (n > WHOLE_MAX)
		return glm_fail(err, GLM_TOO_LONG,
						"text has %zu bytes that can only be tokenized together, more than %u", n,
						WHOLE_MAX);
	if (n > CALL_MAX && tok->bpe != NULL)
		return encode_whole(tok, text, n, first, out, err);
	if (!first)
	{
		glm_buf_add(&led, "\n", 1);
		glm_buf_add(&led, text, n);
	}
	if (first)
		status = glm_spm_encode(tok->spm, text, n, take_id, &s);
	else if (!led.failed)
		status = glm_spm_encode(tok->spm, led.data, led.length, take_id, &s);
	glm_buf_free(&led);
	if (status == GLM_SPM_NO_MEMORY)
		return glm_no_memory(err);
	if (status != GLM_SPM_OK)
		return glm_fail(err, GLM_INTERNAL, "text of %zu bytes cannot be tokenized", n);
	return true;
}

/* Is it UTF-8 without a NUL? */
static bool
check_plain_text(const char *text, size_t n, glm_error *err)
{
	ptrdiff_t	bad;
	const char *nul = n > 0 ? memchr(text, '\0', n) : NULL;

	if (!glm_utf8_check_long(text, n, &bad, err))
		return false;
	if (bad >= 0)
		return glm_fail(err, GLM_BAD_TEXT, "text is not valid UTF-8 at byte %td", bad);
	if (nul != NULL)
		return glm_fail(err, GLM_BAD_TEXT, "text holds a NUL at byte %td", nul - text);
	return true;
}

bool
glm_tokenizer_encode_most(const glm_tokenizer *tok, const char *text, size_t n, size_t most,
						  bool *stopped, glm_ids *out, glm_error *err)
{
	*stopped = false;
	if (!check_plain_text(text, n, err))
		return false;
	for (size_t at = 0, length; at < n; at += length)
	{
		if (out->length > most)
		{
			*stopped = true;
			return true;
		}
		length = segment_length(tok, text + at, n - at);
		if (!encode_segment(tok, text + at, length, at == 0, out, err) || !glm_pause(err))
			return false;
	}
	return true;
}

bool
glm_tokenizer_encode_inner(const glm_tokenizer *tok, const char *text, size_t n, glm_ids *out,
						   glm_error *err)
{
	if (tok->pairs == NULL)
		return glm_fail(err, GLM_UNSUPPORTED, "text cannot be tokenized apart from its beginning");
	return check_plain_text(text, n, err) && encode_segment(tok, text, n, false, out, err);
}

bool
glm_tokenizer_encode(const glm_tokenizer *tok, const char *text, size_t n, glm_ids *out,
					 glm_error *err)
{
	bool stopped;

	return glm_tokenizer_encode_most(tok, text, n, SIZE_MAX, &stopped, out, err);
}
