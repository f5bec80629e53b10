/*
 * catalog.h - the tables of configuration, chatglm.model above all.
 */
#ifndef CHATGLM_CATALOG_H
#define CHATGLM_CATALOG_H

#include "model_name.h"

#include "access/htup.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/*
 * A table of the schema chatglm whose first columns have these types; NULL where it is not,
 * or not as the extension made it.
 */
extern Relation chatglm_open_table(const char *name, const Oid *types, int n, LOCKMODE lock);

/* Has a table these columns? */
extern bool chatglm_has_columns(Relation table, const Oid *types, int n);

/* The row whose first n columns are this key, to be freed; NULL when there is none. */
#define CHATGLM_KEY_COLUMNS 2 /* the longest key */
extern HeapTuple chatglm_find_row(Relation table, const char *const *key, int n);

/* Columns of chatglm.model. */
#define CHATGLM_MODEL_NAME 1
#define CHATGLM_MODEL_PATH 2
#define CHATGLM_MODEL_OPTIONS 3
#define CHATGLM_MODEL_COLUMNS 3

/* chatglm.model, or NULL where it is not, or not as the extension made it. */
extern Relation chatglm_open_model_table(LOCKMODE lock);

/* Its OID; InvalidOid where there is none. */
extern Oid chatglm_model_table_oid(void);

/* Has it these columns, with these types? */
extern bool chatglm_is_model_table(Relation table);

/* The row of a name, to be freed; NULL when there is none. */
extern HeapTuple chatglm_find_model_row(Relation table, const char *name);

/* Reads the row of a name; false when there is none. */
extern bool chatglm_read_model_row(const char *name, ChatglmModelRef *ref);

/* The rows that have a name, with a path or without: a List of ChatglmModelRef *. */
extern List *chatglm_registered_models(void);

#endif /* CHATGLM_CATALOG_H */
