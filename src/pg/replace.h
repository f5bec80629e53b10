/*
 * replace.h - parts of a text replaced by what kind they are of.
 */
#ifndef CHATGLM_REPLACE_H
#define CHATGLM_REPLACE_H

#include "chatglm.h"

#include "nodes/pg_list.h"

/* Something that must not be shown, and what it is: both in the database's encoding. */
typedef struct ChatglmFind
{
	const char *kind;
	const char *text; /* not empty */
} ChatglmFind;

/*
 * The content with [KIND] in the place of each find (a List of ChatglmFind *); the longer ones first, so that one
 * within another does not split it and of two that overlap none is shown in part.  All else is the content's, byte by byte.
 *
 * A find is replaced wherever it stands between words; where it does so nowhere, within
 * words too, and where it is not there at all, in upper or lower case.
 */
extern char *chatglm_replace_finds(const char *content, List *finds);

#endif /* CHATGLM_REPLACE_H */
