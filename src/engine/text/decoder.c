/*
 * decoder.c - the text of one answer, token by token.
 *
 * Stages, each holding back what it cannot decide yet:
 *
 *     id -> glm_detok (bytes that may become a character)
 *        -> lead: a chat answer's empty metadata line and the blanks around it
 *        -> match: what may become a stop string
 *        -> trail: blanks that may turn out to end a chat answer -> out
 *
 * In most formats a chat answer begins with one line of metadata.  When that line is empty the
 * content follows, shown without the blanks before and after it.  When it is
 * not (a tool's name, or a model that does not keep to the form) the answer is
 * shown as it is, so that glm_answer_parse() and the user see all of it.  A raw
 * continuation is shown as it is too, with the blank its first piece may begin
 * with, as it continues a prompt.
 *
 * One chat answer may hold several turns, each begun by a token of the format's,
 * as published for text before a tool's call and for several calls.  Each goes
 * through the stages afresh.  What is shown has one newline between two turns;
 * where the reader of the answer has to know them for certain, a NUL instead, and
 * a newline, the empty metadata line, before content (glm_decoder_mark_turns()).
 *
 * A stop string ends the text where it begins; of several the one that begins
 * first, even when another is complete before it.  So what is shown depends on
 * the text alone, not on how the model cut it into tokens.  It begins and ends in
 * one turn, the newline before that included.
 *
 * A constrained answer is shown byte for byte as it was made, but for the metadata line
 * that was put in front of it (glm_decoder_exact()).
 *
 * All memory is taken at open; what is held stays below an event's payload,
 * because a run of blanks longer than BLANKS_MAX is let go.
 *
 * No locks: a decoder belongs to its sequence.
 */
#include "engine/text/pieces.h"
#include "engine/text/blank.h"
#include "engine/text/decoder.h"

#include <stdlib.h>
#include <string.h>

#define BLANKS_MAX 2048 /* blanks held back at either end of an answer */

typedef enum phase
{
	FIRST_LINE,		/* chat: nothing but blanks so far */
	BEFORE_CONTENT, /* chat: first line was empty, skipping blanks */
	CONTENT,		/* chat: blanks at the end are not shown */
	VERBATIM		/* everything is shown */
} phase;

struct glm_decoder
{
	glm_detok detok;
	phase	  phase;
	phase	  first;	 /* that turns begin in */
	int32_t	  next_turn; /* id that begins another turn; -1: there is none */
	size_t	  hidden;	 /* bytes yet to come that are not shown */
	bool	  exact;	 /* no blanks go */
	bool	  stopped;
	bool	  marked;  /* turns are, see above */
	bool	  joined;  /* match begins with a newline that a mark stands for */
	bool	  shown;   /* this turn has shown something */
	bool	  follows; /* so has one before it */
	glm_buf	  fresh;   /* text of this push */
	glm_buf	  lead;	   /* FIRST_LINE: the blanks so far */
	glm_buf	  match;   /* begins a stop string, or is yet to be looked at */
	glm_buf	  trail;   /* CONTENT: blanks that something may follow */
	char	 *stop;	   /* strings, each ended by a NUL */
	size_t	  stop_length;
};

/* ---- Opening ---------------------------------------------------------- */

/* Capacity without contents. */
static bool
preallocate(glm_buf *buf, size_t n)
{
	buf->data = malloc(n);
	buf->capacity = buf->data ? n : 0;
	return buf->data != NULL;
}

static bool
copy_stop(glm_decoder *dec, const char *stop, size_t n)
{
	dec->stop_length = n;
	if (n == 0)
		return true;
	/* the list ends with a NUL whatever the caller wrote */
	dec->stop = calloc(n + 1, 1);
	if (dec->stop != NULL)
		memcpy(dec->stop, stop, n);
	return dec->stop != NULL;
}

glm_decoder *
glm_decoder_open(const glm_tokenizer *tok, const glm_chat *chat, const char *stop,
				 size_t stop_length)
{
	glm_decoder *dec = calloc(1, sizeof(*dec));
	/* one push yields at most a piece and three bytes given up as U+FFFD */
	const size_t push_max = GLM_PIECE_MAX + 16;

	if (dec == NULL)
		return NULL;
	dec->first = chat == NULL ? VERBATIM : chat->metadata_line ? FIRST_LINE : BEFORE_CONTENT;
	dec->phase = dec->first;
	dec->next_turn =
		chat != NULL && chat->next_turn != NULL ? glm_tokenizer_special(tok, chat->next_turn) : -1;
	glm_detok_begin(&dec->detok, tok, chat != NULL);
	if (!preallocate(&dec->fresh, push_max) || !preallocate(&dec->lead, BLANKS_MAX + push_max) ||
		!preallocate(&dec->trail, BLANKS_MAX + push_max) ||
		!preallocate(&dec->match, BLANKS_MAX + push_max + stop_length) ||
		!copy_stop(dec, stop, stop_length))
	{
		glm_decoder_close(dec);
		return NULL;
	}
	return dec;
}

void
glm_decoder_mark_turns(glm_decoder *dec)
{
	dec->marked = true;
}

void
glm_decoder_exact(glm_decoder *dec, size_t hidden, bool content)
{
	dec->exact = true;
	dec->hidden = hidden;
	dec->first = content ? CONTENT : VERBATIM;
	dec->phase = dec->first;
	dec->detok.at_start = false;
}

void
glm_decoder_close(glm_decoder *dec)
{
	if (dec == NULL)
		return;
	glm_buf_free(&dec->fresh);
	glm_buf_free(&dec->lead);
	glm_buf_free(&dec->match);
	glm_buf_free(&dec->trail);
	free(dec->stop);
	free(dec);
}

/* ---- Blanks ------------------------------------------------------------ */

/* Takes the first n bytes of a buffer away. */
static void
drop_first(glm_buf *buf, size_t n)
{
	memmove(buf->data, buf->data + n, buf->length - n);
	buf->length -= n;
}

/* The newline before a turn's first text is text like any other, so it may end the answer. */
static void
join_turn(glm_decoder *dec)
{
	if (!dec->follows)
		return;
	glm_buf_add(&dec->match, "\n", 1);
	dec->joined = dec->marked;
}

/* The marks before a turn's first text are not. */
static void
mark_turn(glm_decoder *dec, glm_buf *out)
{
	if (dec->follows)
		glm_buf_add(out, "", 1);
	if (dec->phase == CONTENT)
		glm_buf_add(out, "\n", 1);
}

/* Shows text; blanks at the end of a chat answer wait for more. */
static void
show_text(glm_decoder *dec, const char *s, size_t n, glm_buf *out)
{
	size_t solid;

	if (dec->joined && n > 0)
	{
		dec->joined = false;
		s++;
		n--;
	}
	solid = n;
	if (dec->phase == CONTENT && !dec->exact)
		while (solid > 0 && glm_is_blank(s[solid - 1]))
			solid--;
	if (solid > 0)
	{
		if (!dec->shown && dec->marked)
			mark_turn(dec, out);
		dec->shown = true;
		glm_buf_add(out, dec->trail.data, dec->trail.length);
		dec->trail.length = 0;
		glm_buf_add(out, s, solid);
	}
	glm_buf_add(&dec->trail, s + solid, n - solid);
	if (dec->trail.length > BLANKS_MAX)
	{
		glm_buf_add(out, dec->trail.data, dec->trail.length);
		dec->trail.length = 0;
	}
}

/*
 * Looks at the new text of a chat answer until its content begins.  Returns
 * how many of its bytes are dealt with; the rest is content.
 */
static size_t
skip_lead(glm_decoder *dec, const char *s, size_t n)
{
	size_t at = 0;

	while (at < n && dec->phase == FIRST_LINE)
	{
		if (s[at] == '\n')
		{
			dec->phase = BEFORE_CONTENT;
			at++;
		}
		else if (glm_is_blank(s[at]) && dec->lead.length < BLANKS_MAX)
			glm_buf_add(&dec->lead, &s[at++], 1);
		else
		{
			dec->phase = VERBATIM;
			join_turn(dec);
			glm_buf_add(&dec->match, dec->lead.data, dec->lead.length);
		}
	}
	while (at < n && dec->phase == BEFORE_CONTENT)
	{
		if (glm_is_blank(s[at]))
			at++;
		else
		{
			dec->phase = CONTENT;
			join_turn(dec);
		}
	}
	return at;
}

/* How many of the first n bytes belong to what is not shown. */
static size_t
skip_hidden(glm_decoder *dec, size_t n)
{
	size_t skipped = n < dec->hidden ? n : dec->hidden;

	dec->hidden -= skipped;
	return skipped;
}

/* ---- Stop strings ------------------------------------------------------ */

typedef enum verdict
{
	NO_STOP,
	STOP_HERE, /* a whole stop string */
	MAYBE_STOP /* the text ends within one */
} verdict;

static verdict
look_at(const glm_decoder *dec, const char *s, size_t n)
{
	verdict found = NO_STOP;
	size_t	length;

	for (size_t at = 0; at < dec->stop_length; at += length + 1)
	{
		const char *stop = dec->stop + at;

		length = strlen(stop);
		if (length == 0 || memcmp(s, stop, length < n ? length : n) != 0)
			continue;
		if (length <= n)
			return STOP_HERE;
		found = MAYBE_STOP;
	}
	return found;
}

/* Shows what of `match` is certain; at the end a beginning is no match. */
static void
scan_for_stops(glm_decoder *dec, bool at_end, glm_buf *out)
{
	glm_buf *match = &dec->match;
	size_t	 n = dec->stop_length > 0 ? 0 : match->length;

	for (; n < match->length; n++)
	{
		verdict v = look_at(dec, match->data + n, match->length - n);

		dec->stopped = v == STOP_HERE;
		if (v == STOP_HERE || (v == MAYBE_STOP && !at_end))
			break;
	}
	show_text(dec, match->data, n, out);
	drop_first(match, n);
}

/* ---- Pushing ----------------------------------------------------------- */

static bool
run_stages(glm_decoder *dec, bool at_end, glm_buf *out)
{
	size_t skipped = dec->exact ? skip_hidden(dec, dec->fresh.length)
								: skip_lead(dec, dec->fresh.data, dec->fresh.length);

	glm_buf_add(&dec->match, dec->fresh.data + skipped, dec->fresh.length - skipped);
	dec->fresh.length = 0;
	scan_for_stops(dec, at_end, out);
	return !out->failed && !dec->fresh.failed && !dec->lead.failed && !dec->match.failed &&
		   !dec->trail.failed;
}

/* Shows all of a turn that is over, and makes ready for the next. */
static bool
end_turn(glm_decoder *dec, glm_buf *out)
{
	bool ok;

	glm_detok_end(&dec->detok, &dec->fresh);
	ok = run_stages(dec, true, out);
	if (dec->stopped)
		return ok;
	dec->phase = dec->first;
	dec->lead.length = 0;
	dec->trail.length = 0;
	dec->follows = dec->follows || dec->shown;
	dec->shown = false;
	glm_detok_begin(&dec->detok, dec->detok.tok, true);
	return ok;
}

void
glm_decoder_skip(glm_decoder *dec, const int32_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		glm_detok_push(&dec->detok, ids[i], &dec->fresh);
		(void) (dec->exact ? skip_hidden(dec, dec->fresh.length)
						   : skip_lead(dec, dec->fresh.data, dec->fresh.length));
		dec->fresh.length = 0;
	}
	dec->match.length = 0;
	/* a turn that follows begins on a new line; where turns are marked, this one has no mark yet */
	dec->shown = n > 0 && dec->phase != FIRST_LINE && dec->phase != BEFORE_CONTENT && !dec->marked;
}

bool
glm_decoder_push(glm_decoder *dec, int32_t id, glm_buf *out, bool *stopped)
{
	bool ok = true;

	if (!dec->stopped && id >= 0 && id == dec->next_turn)
		ok = end_turn(dec, out);
	else if (!dec->stopped)
	{
		glm_detok_push(&dec->detok, id, &dec->fresh);
		ok = run_stages(dec, false, out);
	}
	*stopped = dec->stopped;
	return ok;
}

bool
glm_decoder_finish(glm_decoder *dec, glm_buf *out)
{
	if (dec->stopped)
		return !out->failed;
	glm_detok_end(&dec->detok, &dec->fresh);
	/* an answer of nothing but blanks is an empty one: `lead` is not shown */
	return run_stages(dec, true, out);
}
