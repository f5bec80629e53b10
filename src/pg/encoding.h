/*
 * encoding.h - between UTF-8, inside the engine, and the database's encoding.
 */
#ifndef CHATGLM_ENCODING_H
#define CHATGLM_ENCODING_H

#include "chatglm.h"

/* A text as NUL-terminated UTF-8; *length (may be NULL) counts its bytes. */
extern char *chatglm_text_to_utf8(const text *value, Size *length);
/* The same for a C string in the database's encoding. */
extern char *chatglm_cstring_to_utf8(const char *value);
/*
 * A copy in which each NUL is U+FFFD.  A model with byte fallback may answer with a NUL,
 * which no text can hold; its answer should not fail for that.
 */
extern char *chatglm_without_nuls(const char *bytes, Size length);
/* From UTF-8 to the database's encoding, without NULs. */
extern text *chatglm_text_from_utf8(const char *bytes, Size length);
extern char *chatglm_cstring_from_utf8(const char *bytes, Size length);

/*
 * UTF-8 bytes in the database's encoding, whatever they are: what that cannot hold
 * becomes \uXXXX, what is no UTF-8 a question mark.  For what is shown about others,
 * and for errors; never fails for its contents.
 */
extern char *chatglm_any_to_server_lossy(const char *bytes, Size length);
extern char *chatglm_shown(const char *utf8); /* the same of a string */

#endif /* CHATGLM_ENCODING_H */
