/*
 * catalog.h - the tables of configuration, chatglm.model above all.
 */
#ifndef CHATGLM_CATALOG_H
#define CHATGLM_CATALOG_H

#include "model_name.h"

#include "access/htup.h"
#include "fmgr.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* Columns of chatglm.model. */
#define CHATGLM_MODEL_NAME 1
#define CHATGLM_MODEL_PATH 2
#define CHATGLM_MODEL_OPTIONS 3
#define CHATGLM_MODEL_COLUMNS 3

#define CHATGLM_MAX_COLUMNS 10
#define CHATGLM_KEY_COLUMNS 2 /* of the longest key */

/* A table of configuration, in schema chatglm, whose first columns, of type text, are its key. */
typedef struct ChatglmTable
{
	const char *name;
	const char *trigger; /* the C function of the trigger that the extension puts on it */
	int			n_columns;
	Oid			types[CHATGLM_MAX_COLUMNS];
} ChatglmTable;

extern const ChatglmTable chatglm_model_table;	/* chatglm.model */
extern const ChatglmTable chatglm_route_table;	/* chatglm.route */
extern const ChatglmTable chatglm_linear_table; /* chatglm.linear_model */

/* The table, or NULL where it is not, or not as the extension made it. */
extern Relation chatglm_open_table(const ChatglmTable *table, LOCKMODE lock);

/* Its OID; InvalidOid where there is none. */
extern Oid chatglm_table_oid(const ChatglmTable *table);

/* Has the relation these columns, with these types? */
extern bool chatglm_is_table(const ChatglmTable *table, Relation relation);

/* The row whose first n columns are this key, to be freed; NULL when there is none. */
extern HeapTuple chatglm_find_row(Relation relation, const char *const *key, int n);

/* ---- catalog_write.c ---------------------------------------------------- */

/*
 * Inserts or updates the row of values[0], a name that is all of the key, and deletes the one of a name: false when
 * there was none.  ERROR 55000 when others have put something on the table.
 */
extern void chatglm_store_row(const ChatglmTable *table, Datum *values, bool *nulls);
extern bool chatglm_delete_row(const ChatglmTable *table, const char *name);

/*
 * Of a BEFORE INSERT OR UPDATE row trigger, which `name` is: the row that is to be, and its
 * columns.  ERROR 39P01 when it was called as something else, 55000 for another table.
 */
extern HeapTuple chatglm_new_row(FunctionCallInfo fcinfo, const ChatglmTable *table,
								 const char *name, Datum *values, bool *nulls);

/* ---- chatglm.model ------------------------------------------------------- */

/* Reads the row of a name; false when there is none. */
extern bool chatglm_read_model_row(const char *name, ChatglmModelRef *ref);

/* The rows that have a name, with a path or without: a List of ChatglmModelRef *. */
extern List *chatglm_registered_models(void);

#endif /* CHATGLM_CATALOG_H */
