/*
 * linear_rows.h - the rows that a linear model is fitted to.
 */
#ifndef CHATGLM_LINEAR_ROWS_H
#define CHATGLM_LINEAR_ROWS_H

#include "chatglm.h"

#include "storage/buffile.h"

/* Rows of features and a target; in a temporary file, read as often as it takes. */
typedef struct ChatglmLinearRows
{
	int		 p;		 /* features */
	char   **names;	 /* [p] of the features; NULL: known by their places */
	int64	 n;		 /* rows */
	double	*mean;	 /* [p + 1], the target's last */
	double	*square; /* [p + 1]: sums of squared differences from the mean */
	BufFile *file;
} ChatglmLinearRows;

/* In the current context, to which the names belong.  After an error nothing is left. */
extern ChatglmLinearRows *chatglm_linear_rows_begin(int p, char **names);

/* Frees the file. */
extern void chatglm_linear_rows_end(ChatglmLinearRows *rows);

/* Adds a row: its features, then its target. */
extern void chatglm_linear_rows_add(ChatglmLinearRows *rows, double *row);

/* Goes back to the first row. */
extern void chatglm_linear_rows_rewind(ChatglmLinearRows *rows);

/* Reads at most so many rows, [p + 1] each; how many it were. */
extern int chatglm_linear_rows_read(ChatglmLinearRows *rows, double *block, int most);

#endif /* CHATGLM_LINEAR_ROWS_H */
