/*
 * tokenizer.h - what the files of the tokenizer share.
 *
 * tokenizer.c opens a model and decodes, encode.c encodes, charsmap.c checks a
 * model's bytes, decoder.c decodes the stream of an answer.
 */
#ifndef GLM_TOKENIZER_H
#define GLM_TOKENIZER_H

#include "internal.h"
#include "spm.h"

/* Most bytes of one piece; the longest of the published vocabularies has 48. */
#define GLM_PIECE_MAX 1024

typedef struct glm_piece
{
	uint32_t	offset;			/* of its text in glm_tokenizer.text */
	uint16_t	length;
	uint8_t		kind;			/* glm_spm_kind */
	uint8_t		byte;			/* GLM_SPM_BYTE: which */
	bool		blank;			/* begins with a blank that decoding may drop */
} glm_piece;

struct glm_tokenizer
{
	glm_spm    *spm;
	int			size;			/* pieces */
	int			vocab;			/* ids, padding included */
	glm_piece  *pieces;			/* [size] */
	size_t		longest;		/* bytes of the longest piece as it stands in the model */
	glm_buf		text;			/* of all pieces, as they decode */
	bool		drops_blank;	/* decoding drops the first blank of a run ... */
	bool		drops_blanks;	/* ... or all of them */
	uint8_t    *pairs;			/* encode.c: neighbours within pieces; NULL: never cut */
	size_t		part;			/* bytes of a text that are encoded at a time; changes no ids */
};

/* Callbacks for spm.h: into a glm_buf, into a glm_ids. */
extern bool glm_take_text(void *buf, const char *text, size_t n);
extern bool glm_take_id(void *ids, int32_t id);

/* ---- charsmap.c ------------------------------------------------------- */

/* Can SentencePiece follow this model's tables without leaving them? */
extern bool glm_charsmap_check(const void *bytes, size_t n);

/* ---- encode.c --------------------------------------------------------- */

/* Finds out where long texts may be cut; the pieces are loaded. */
extern bool glm_encode_prepare(glm_tokenizer *tok, const char *path, glm_error *err);

/* ---- tokenizer.c: a run of ids, decoded one by one -------------------- */

/*
 * Both the decoding of a whole list and the stream of an answer go through
 * this, so they cannot disagree.
 */
typedef struct glm_detok
{
	const glm_tokenizer *tok;
	bool		at_start;		/* no text yet: the blank that encoding put in front goes */
	int			n_bytes;
	char		bytes[4];		/* of byte pieces: the beginning of a character */
} glm_detok;

/* at_start: drop one leading blank of the run, as SentencePiece does. */
extern void glm_detok_begin(glm_detok *d, const glm_tokenizer *tok, bool at_start);
/* Appends the text that is certain after this id; special ids have none. */
extern void glm_detok_push(glm_detok *d, int32_t id, glm_buf *out);
/* The run is over: what was held back never becomes a character. */
extern void glm_detok_end(glm_detok *d, glm_buf *out);

#endif							/* GLM_TOKENIZER_H */
