/*
 * tokenizer.c - opening a tokenizer, and ids to text.
 *
 * The pieces are SentencePiece's (spm.cc).  The special ids, [gMASK], <|user|>
 * and so on, are no pieces of its vocabulary but follow it; so no text that
 * anyone types ever encodes to one of them, which is the defence against
 * prompts that try to end their own turn.
 *
 * Decoding is done here from a table of the pieces, because it must also work
 * token by token (decoder.c) and SentencePiece decodes whole lists only.  It
 * gives what SentencePiece gives: control pieces have no text, one blank at
 * the start of a run goes, each byte that is not part of valid UTF-8 becomes
 * one U+FFFD.  One difference: a NUL byte becomes U+FFFD too, as PostgreSQL's
 * text cannot hold it.
 *
 * No locks: a tokenizer is immutable once opened.
 */
#include "engine/text/pieces.h"
#include "engine/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_FILE_MAX (64u << 20) /* bytes of tokenizer.model; the published has 1 MB */

#define DECODE_SLICE 8192 /* ids between two pauses */

#define BLANK "\xE2\x96\x81"	   /* U+2581, how pieces write a blank */
#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* ChatGLM's special tokens, in the order in which they follow the pieces; no file lists them. */
static const char *const special_names[] = {"[MASK]",	"[gMASK]",		 "[sMASK]",
											"sop",		"eop",			 "<|system|>",
											"<|user|>", "<|assistant|>", "<|observation|>"};

#define N_SPECIAL ((int) (sizeof(special_names) / sizeof(special_names[0])))

static bool load_pieces(glm_tokenizer *tok, const char *path, glm_error *err);
static bool probe_blanks(glm_tokenizer *tok, glm_error *err);

/* ---- Opening ---------------------------------------------------------- */

static bool
open_spm(glm_tokenizer *tok, const char *path, glm_error *err)
{
	glm_buf		   file = {0};
	char		   why[200];
	glm_spm_status status;

	if (!glm_file_read(&file, path, MODEL_FILE_MAX, err))
	{
		glm_buf_free(&file);
		return false;
	}
	if (!glm_charsmap_check(file.data, file.length))
	{
		glm_buf_free(&file);
		return glm_fail(err, GLM_BAD_FILE, "\"%s\" is not a SentencePiece model", path);
	}
	tok->plain_bpe =
		file.length > 0 && glm_charsmap_is_plain_bpe(file.data, file.length, &tok->defined);
	status = glm_spm_open(file.data, file.length, &tok->spm, why, sizeof(why));
	glm_buf_free(&file);
	if (status == GLM_SPM_NO_MEMORY)
		return glm_no_memory(err);
	if (status != GLM_SPM_OK)
		return glm_fail(err, GLM_BAD_FILE, "\"%s\" is not a SentencePiece model: %s", path, why);
	tok->size = glm_spm_size(tok->spm);
	if (tok->size < 1 || tok->size > tok->vocab - N_SPECIAL)
		return glm_fail(err, GLM_BAD_FILE,
						"\"%s\" has %d pieces, which with %d special tokens "
						"do not fit a vocabulary of %d",
						path, tok->size, N_SPECIAL, tok->vocab);
	return true;
}

static bool
number_special(glm_tokenizer *tok, glm_error *err)
{
	tok->special = calloc(N_SPECIAL, sizeof(*tok->special));
	if (tok->special == NULL)
		return glm_no_memory(err);
	tok->n_special = N_SPECIAL;
	for (int i = 0; i < N_SPECIAL; i++)
		tok->special[i] = (glm_special){special_names[i], tok->size + i};
	return true;
}

glm_tokenizer *
glm_tokenizer_open(const char *dir, int vocab, glm_error *err)
{
	glm_tokenizer *tok = calloc(1, sizeof(*tok));
	char		  *path = NULL;

	if (tok == NULL || asprintf(&path, "%s/tokenizer.model", dir) < 0)
	{
		glm_no_memory(err);
		free(tok);
		return NULL;
	}
	tok->vocab = vocab;
	if (!open_spm(tok, path, err) || !number_special(tok, err) || !load_pieces(tok, path, err) ||
		!probe_blanks(tok, err) || !glm_encode_prepare(tok, path, err))
	{
		glm_tokenizer_close(tok);
		tok = NULL;
	}
	free(path);
	return tok;
}

void
glm_tokenizer_close(glm_tokenizer *tok)
{
	if (tok == NULL)
		return;
	glm_spm_close(tok->spm);
	glm_buf_free(&tok->text);
	free(tok->pieces);
	free(tok->special);
	free(tok->pairs);
	glm_bpe_close(tok->bpe);
	glm_ids_free(&tok->defined);
	free(tok);
}

/* The text of an unknown piece is an option of the model, " ⁇ " by default. */
static bool
piece_text(const glm_tokenizer *tok, int32_t id, glm_spm_kind *kind, glm_buf *text)
{
	glm_spm_status status = glm_spm_piece(tok->spm, id, kind, glm_take_text, text);

	if (status == GLM_SPM_OK && *kind == GLM_SPM_UNKNOWN)
	{
		text->length = 0;
		status = glm_spm_decode(tok->spm, &id, 1, glm_take_text, text);
	}
	return status == GLM_SPM_OK;
}

/* Adds what the piece decodes to, each BLANK a space. */
static void
add_unblanked(glm_buf *out, const char *s, size_t n)
{
	const size_t width = strlen(BLANK);
	const char	*end = s + n;

	while (s < end)
	{
		const char *blank = memmem(s, end - s, BLANK, width);

		glm_buf_add(out, s, (blank ? blank : end) - s);
		if (blank == NULL)
			return;
		glm_buf_add(out, " ", 1);
		s = blank + width;
	}
}

static bool
load_piece(glm_tokenizer *tok, int32_t id, glm_buf *text, const char *path, glm_error *err)
{
	glm_piece	*p = &tok->pieces[id];
	glm_spm_kind kind = GLM_SPM_TEXT;
	unsigned	 byte = 0;

	text->length = 0;
	if (!piece_text(tok, id, &kind, text) || text->failed)
		return glm_no_memory(err);
	if (text->length > GLM_PIECE_MAX || strlen(text->data) != text->length ||
		glm_utf8_check(text->data, text->length) >= 0)
		return glm_fail(err, GLM_BAD_FILE, "\"%s\": piece %d is not UTF-8 of at most %d bytes",
						path, id, GLM_PIECE_MAX);
	if (kind == GLM_SPM_BYTE && sscanf(text->data, "<0x%2X>", &byte) != 1)
		return glm_fail(err, GLM_BAD_FILE, "\"%s\": piece %d names no byte", path, id);

	if (text->length > tok->longest)
		tok->longest = text->length;
	p->kind = kind;
	p->byte = byte;
	p->offset = tok->text.length;
	if (kind == GLM_SPM_TEXT)
	{
		p->blank = text->length >= strlen(BLANK) && memcmp(text->data, BLANK, strlen(BLANK)) == 0;
		add_unblanked(&tok->text, text->data, text->length);
	}
	else if (kind == GLM_SPM_UNKNOWN)
		glm_buf_add(&tok->text, text->data, text->length);
	p->length = tok->text.length - p->offset;
	return tok->text.failed ? glm_no_memory(err) : true;
}

static bool
load_pieces(glm_tokenizer *tok, const char *path, glm_error *err)
{
	glm_buf text = {0};
	bool	ok = true;

	tok->pieces = calloc(tok->size, sizeof(glm_piece));
	glm_buf_add(&tok->text, "", 0);
	if (tok->pieces == NULL || tok->text.failed)
		return glm_no_memory(err);
	for (int32_t id = 0; ok && id < tok->size; id++)
		ok = load_piece(tok, id, &text, path, err) && (id % 1024 != 0 || glm_pause(err));
	glm_buf_free(&text);
	return ok;
}

/* ---- How this model treats blanks -------------------------------------- */

/* The shortest piece that begins with a blank, -1 when there is none. */
static int32_t
blank_piece(const glm_tokenizer *tok)
{
	int32_t found = -1;

	for (int32_t id = 0; id < tok->size; id++)
		if (tok->pieces[id].blank &&
			(found < 0 || tok->pieces[id].length < tok->pieces[found].length))
			found = id;
	return found;
}

/*
 * Whether a leading blank goes depends on two options of the model that
 * SentencePiece's interface does not show; so look at what it does.
 */
static bool
probe_blanks(glm_tokenizer *tok, glm_error *err)
{
	int32_t id = blank_piece(tok);
	int32_t twice[2] = {id, id};
	glm_buf one = {0};
	glm_buf two = {0};
	bool	ok = true;

	if (id >= 0)
	{
		ok = glm_spm_decode(tok->spm, twice, 1, glm_take_text, &one) == GLM_SPM_OK &&
			 glm_spm_decode(tok->spm, twice, 2, glm_take_text, &two) == GLM_SPM_OK;
		tok->drops_blank = ok && one.length < tok->pieces[id].length;
		tok->drops_blanks =
			tok->drops_blank && two.length < 2 * (size_t) tok->pieces[id].length - 1;
	}
	glm_buf_free(&one);
	glm_buf_free(&two);
	return ok ? true : glm_no_memory(err);
}

/* ---- Small things ------------------------------------------------------ */

int
glm_tokenizer_size(const glm_tokenizer *tok)
{
	return tok->size + tok->n_special;
}

size_t
glm_tokenizer_longest(const glm_tokenizer *tok)
{
	return tok->longest;
}

int32_t
glm_tokenizer_special(const glm_tokenizer *tok, const char *name)
{
	for (int i = 0; i < tok->n_special; i++)
		if (strcmp(tok->special[i].name, name) == 0)
			return tok->special[i].id;
	return -1;
}

const char *
glm_tokenizer_name(const glm_tokenizer *tok, int32_t id)
{
	if (tok->n_special == 0 || id < tok->special[0].id)
		return NULL;
	for (int i = 0; i < tok->n_special; i++)
		if (tok->special[i].id == id)
			return tok->special[i].name;
	return NULL;
}

const char *
glm_tokenizer_bytes(const glm_tokenizer *tok, int32_t id, size_t *n)
{
	const glm_piece *p = id >= 0 && id < tok->size ? &tok->pieces[id] : NULL;

	*n = 0;
	if (p == NULL || (p->kind != GLM_SPM_TEXT && p->kind != GLM_SPM_BYTE))
		return NULL;
	if (p->kind == GLM_SPM_BYTE && p->byte != 0)
	{
		*n = 1;
		return (const char *) &p->byte;
	}
	*n = p->length;
	return p->length > 0 ? tok->text.data + p->offset : NULL;
}

const char *
glm_tokenizer_lead(const glm_tokenizer *tok)
{
	return tok->drops_blank ? " " : "";
}

/* ---- Decoding ---------------------------------------------------------- */

/* A byte that is or begins no character; NULs count as such, see above. */
static void
add_character(glm_buf *out, const char *bytes, int length)
{
	if (length <= 0 || bytes[0] == '\0')
		glm_buf_puts(out, REPLACEMENT);
	else
		glm_buf_add(out, bytes, length);
}

/* Takes the first n of the held bytes away. */
static void
drop_bytes(glm_detok *d, int n)
{
	d->n_bytes -= n;
	memmove(d->bytes, d->bytes + n, d->n_bytes);
}

static void
push_byte(glm_detok *d, uint8_t byte, glm_buf *out)
{
	int length;

	d->at_start = false;
	d->bytes[d->n_bytes++] = (char) byte;
	/* a byte that fits no longer may begin a character of its own: look again */
	while (d->n_bytes > 0 && (length = glm_utf8_length(d->bytes, d->n_bytes)) != 0)
	{
		add_character(out, d->bytes, length);
		drop_bytes(d, length > 0 ? length : 1);
	}
}

static void
push_text(glm_detok *d, const glm_piece *p, glm_buf *out)
{
	const char *text = d->tok->text.data + p->offset;
	bool		drop = d->at_start && p->blank && d->tok->drops_blank;

	if (p->length == 0)
		return;
	glm_buf_add(out, text + drop, p->length - drop);
	if (!drop || p->length > 1 || !d->tok->drops_blanks)
		d->at_start = false;
}

void
glm_detok_begin(glm_detok *d, const glm_tokenizer *tok, bool at_start)
{
	d->tok = tok;
	d->at_start = at_start;
	d->n_bytes = 0;
}

void
glm_detok_push(glm_detok *d, int32_t id, glm_buf *out)
{
	const glm_piece *p;

	if (id < 0 || id >= d->tok->size)
		return;
	p = &d->tok->pieces[id];
	if (p->kind == GLM_SPM_BYTE)
		push_byte(d, p->byte, out);
	else
	{
		glm_detok_end(d, out);
		push_text(d, p, out);
	}
}

void
glm_detok_end(glm_detok *d, glm_buf *out)
{
	for (int i = 0; i < d->n_bytes; i++)
		add_character(out, d->bytes + i, -1);
	d->n_bytes = 0;
}

bool
glm_tokenizer_decode(const glm_tokenizer *tok, const int32_t *ids, size_t n, glm_buf *out,
					 glm_error *err)
{
	glm_detok run;

	glm_detok_begin(&run, tok, true);
	for (size_t i = 0; i < n; i++)
	{
		const char *special = glm_tokenizer_name(tok, ids[i]);

		if (ids[i] < 0 || ids[i] >= tok->vocab)
			return glm_fail(err, GLM_BAD_ARGUMENT, "token id %d is not between 0 and %d", ids[i],
							tok->vocab - 1);
		if (i % DECODE_SLICE == 0 && !glm_pause(err))
			return false;
		glm_detok_push(&run, ids[i], out);
		if (special != NULL)
		{
			/* the published tokenizer decodes what lies between them run by run */
			glm_detok_end(&run, out);
			glm_buf_puts(out, special);
			glm_detok_begin(&run, tok, true);
		}
	}
	glm_detok_end(&run, out);
	return out->failed ? glm_no_memory(err) : true;
}
