/*
 * pieces.h - the inside of a tokenizer: its pieces and special tokens, long texts, runs of ids.
 */
#ifndef GLM_PIECES_H
#define GLM_PIECES_H

#include "engine/text/tokenizer.h"
#include "engine/text/spm.h"

/* Most bytes of one piece; the longest of the published vocabularies has 48. */
#define GLM_PIECE_MAX 1024

typedef struct glm_piece
{
	uint32_t offset; /* of its text in glm_tokenizer.text */
	uint16_t length;
	uint8_t	 kind;	/* glm_spm_kind */
	uint8_t	 byte;	/* GLM_SPM_BYTE: which */
	bool	 blank; /* begins with a blank that decoding may drop */
} glm_piece;

/* A token that is no piece, and that no text encodes to. */
typedef struct glm_special
{
	const char *name;
	int32_t		id;
} glm_special;

typedef struct glm_bpe glm_bpe;

struct glm_tokenizer
{
	glm_spm		*spm;
	int			 size;	  /* pieces */
	int			 vocab;	  /* ids, padding included */
	glm_piece	*pieces;  /* [size] */
	glm_special *special; /* [n_special], by rising id */
	int			 n_special;
	size_t		 longest;	   /* bytes of the longest piece as it stands in the model */
	glm_buf		 text;		   /* of all pieces, as they decode */
	bool		 drops_blank;  /* decoding drops the first blank of a run ... */
	bool		 drops_blanks; /* ... or all of them */
	uint8_t		*pairs;		   /* encode.c: neighbours within pieces; NULL: never cut */
	bool		 plain_bpe;	   /* see charsmap.c */
	glm_ids		 defined;	   /* by users: pieces that stand where their text does */
	glm_bpe		*bpe;		   /* for long texts that cannot be cut; NULL: SentencePiece's affair */
	size_t		 segment;	   /* bytes of a text that are encoded at a time; changes no ids */
};

/* ---- spm_take.c: callbacks for spm.h ------------------------------------ */

extern bool glm_take_text(void *buf, const char *text, size_t n);
extern bool glm_take_id(void *ids, int32_t id);

/* ---- charsmap.c ------------------------------------------------------- */

/* Can SentencePiece follow this model's tables without leaving them? */
extern bool glm_charsmap_check(const void *bytes, size_t n);

/*
 * Does the model merge pairs of neighbours by their scores (BPE), and has it no unused
 * pieces, which have to be taken apart again?  Adds the pieces that users have defined.
 */
extern bool glm_charsmap_is_plain_bpe(const void *bytes, size_t n, glm_ids *defined);

/* ---- bpe.c ------------------------------------------------------------ */

/* Of a tokenizer whose pieces are loaded; NULL: out of memory. */
extern glm_bpe *glm_bpe_open(const glm_tokenizer *tok, glm_error *err);
extern void		glm_bpe_close(glm_bpe *bpe); /* NULL is fine */
/* Is there a piece for each byte, and are not too many defined by users? */
extern bool		glm_bpe_is_good(const glm_bpe *bpe);
/* Appends the ids of valid UTF-8 in which blanks are U+2581, with pauses. */
extern bool		glm_bpe_encode(const glm_bpe *bpe, const char *text, size_t n, glm_ids *out,
							   glm_error *err);

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
	bool				 at_start; /* no text yet: the blank that encoding put in front goes */
	int					 n_bytes;
	char				 bytes[4]; /* of byte pieces: the beginning of a character */
} glm_detok;

/* at_start: drop one leading blank of the run, as SentencePiece does. */
extern void glm_detok_begin(glm_detok *d, const glm_tokenizer *tok, bool at_start);
/* Appends the text that is certain after this id; special ids have none. */
extern void glm_detok_push(glm_detok *d, int32_t id, glm_buf *out);
/* The run is over: what was held back never becomes a character. */
extern void glm_detok_end(glm_detok *d, glm_buf *out);

#endif /* GLM_PIECES_H */
