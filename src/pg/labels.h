/*
 * labels.h - the labels among which a text is classified.
 */
#ifndef CHATGLM_LABELS_H
#define CHATGLM_LABELS_H

#include "chatglm.h"

typedef struct ChatglmLabels
{
	int			 n;
	const char **names; /* in the database's encoding, none twice, none blank */
} ChatglmLabels;

/* Reads an argument "labels" text[].  ERROR 22004, 22023: it is not what labels are. */
extern void chatglm_read_labels(ChatglmLabels *labels, const NullableDatum *arg);

/* The number of the label of this name; -1: there is none. */
extern int chatglm_find_label(const ChatglmLabels *labels, const char *name);

/* One behind the other, as a prompt lists them. */
extern char *chatglm_list_labels(const ChatglmLabels *labels);

/*
 * Labels as GLM_SCORE has them, UTF-8.  With `cases`, "Label" and "LABEL" say the label too,
 * where no other label is the same but for that.
 */
extern char *chatglm_labels_json(const ChatglmLabels *labels, bool cases);

#endif /* CHATGLM_LABELS_H */
