/*
 * linear_rows.c - the rows that a linear model is fitted to, in a temporary file.
 *
 * The query that gives them may ask a model for each, so it runs once, while a fit reads
 * the rows several times.  Memory is that of one row, whatever the query returns; the file
 * counts towards temp_file_limit.
 */
#include "chatglm.h"

#include "linear_rows.h"

ChatglmLinearRows *
chatglm_linear_rows_begin(int p, char **names)
{
	ChatglmLinearRows *rows = palloc0(sizeof(*rows));

	rows->p = p;
	rows->names = names;
	rows->mean = palloc0((p + 1) * sizeof(double));
	rows->square = palloc0((p + 1) * sizeof(double));
	rows->file = BufFileCreateTemp(false);
	return rows;
}

void
chatglm_linear_rows_end(ChatglmLinearRows *rows)
{
	BufFileClose(rows->file);
	rows->file = NULL;
}

/* Means and squares by Welford's method, which loses nothing where the mean is large. */
void
chatglm_linear_rows_add(ChatglmLinearRows *rows, double *row)
{
	rows->n++;
	for (int i = 0; i <= rows->p; i++)
	{
		double before = row[i] - rows->mean[i];

		rows->mean[i] += before / rows->n;
		rows->square[i] += before * (row[i] - rows->mean[i]);
	}
	BufFileWrite(rows->file, row, (rows->p + 1) * sizeof(double));
}

void
chatglm_linear_rows_rewind(ChatglmLinearRows *rows)
{
	if (BufFileSeek(rows->file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not rewind temporary file")));
}

int
chatglm_linear_rows_read(ChatglmLinearRows *rows, double *block, int most)
{
	size_t size = (rows->p + 1) * sizeof(double);
	size_t got = BufFileRead(rows->file, block, size * most);

	if (got % size != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read from temporary file: a row has ended early")));
	return got / size;
}
