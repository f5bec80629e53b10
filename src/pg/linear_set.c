/*
 * linear_set.c - glm_linear_create and glm_linear_drop, and what chatglm.linear_model may hold.
 *
 * A linear model belongs to the role that made it, as a table does: its owner, and who has
 * the owner's privileges, may replace and drop it.  To make one takes EXECUTE alone,
 * no right on the table (catalog_write.c).
 */
#include "chatglm.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "catalog.h"
#include "linear_model.h"
#include "model_name.h"

PG_FUNCTION_INFO_V1(chatglm_linear_create);
PG_FUNCTION_INFO_V1(chatglm_linear_drop);
PG_FUNCTION_INFO_V1(chatglm_linear_check);

/* The lock that a write takes: what was found under it stays so until the write. */
#define WRITE_LOCK ShareRowExclusiveLock

/* ---- Owners ----------------------------------------------------------------------- */

/* The name of the owner of the model of this name, NULL: there is none. */
static char *
owner_of(const char *name, LOCKMODE lock)
{
	Relation  relation = chatglm_open_table(&chatglm_linear_table, lock);
	HeapTuple row;
	char	 *owner = NULL;

	if (relation == NULL)
		return NULL; /* who writes says what is wrong with it */
	row = chatglm_find_row(relation, &name, 1);
	if (HeapTupleIsValid(row))
	{
		bool  isnull;
		Datum value =
			heap_getattr(row, CHATGLM_LINEAR_OWNER + 1, RelationGetDescr(relation), &isnull);

		owner = isnull ? "" : pstrdup(NameStr(*DatumGetName(value)));
	}
	table_close(relation, lock == AccessShareLock ? lock : NoLock);
	return owner;
}

/*
 * The same; it must be the current user or a role of his.  A role that is not there is
 * nobody's, so what it owned is left to superusers.
 */
static char *
require_owner(const char *name, LOCKMODE lock)
{
	char *owner = owner_of(name, lock);
	Oid	  role = owner != NULL ? get_role_oid(owner, true) : GetUserId();

	if (!OidIsValid(role))
		role = BOOTSTRAP_SUPERUSERID;
	if (!has_privs_of_role(GetUserId(), role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of linear model \"%s\"", name)));
	return owner;
}

void
chatglm_linear_check_name(const char *name)
{
	chatglm_check_model_name(name);
	(void) require_owner(name, AccessShareLock);
}

/* One that is replaced stays its owner's. */
void
chatglm_linear_store(const char *name, ChatglmLink link, double bias, Jsonb *weights,
					 Jsonb *summary)
{
	Datum	 values[CHATGLM_LINEAR_COLUMNS];
	bool	 nulls[CHATGLM_LINEAR_COLUMNS] = {false};
	char	*owner = require_owner(name, WRITE_LOCK);
	NameData owner_name;

	values[CHATGLM_LINEAR_NAME] = CStringGetTextDatum(name);
	namestrcpy(&owner_name, owner != NULL ? owner : GetUserNameFromId(GetUserId(), false));
	values[CHATGLM_LINEAR_OWNER] = NameGetDatum(&owner_name);
	values[CHATGLM_LINEAR_LINK] = CStringGetTextDatum(chatglm_link_names[link]);
	values[CHATGLM_LINEAR_BIAS] = Float8GetDatum(bias);
	values[CHATGLM_LINEAR_WEIGHTS] = JsonbPGetDatum(weights);
	values[CHATGLM_LINEAR_SUMMARY] = PointerGetDatum(summary);
	nulls[CHATGLM_LINEAR_SUMMARY] = summary == NULL;
	chatglm_store_row(&chatglm_linear_table, values, nulls);
}

/* ---- Functions --------------------------------------------------------------------- */

/* glm_linear_create(name text, weights jsonb, bias float8, link text) returns void */
Datum
chatglm_linear_create(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"name", "weights", "bias", "link"};
	ChatglmLinearModel		 model;
	Jsonb					*weights;
	char					*name;

	for (int i = 0; i < (int) lengthof(names); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument \"%s\" must not be NULL", names[i])));
	PreventCommandIfReadOnly("glm_linear_create()");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	weights = PG_GETARG_JSONB_P(1);
	chatglm_read_weights(weights, &model);
	model.bias = chatglm_check_finite(PG_GETARG_FLOAT8(2), "bias");
	model.link = chatglm_read_link(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	chatglm_check_model_name(name);
	chatglm_linear_store(name, model.link, model.bias, weights, NULL);
	PG_RETURN_VOID();
}

/* glm_linear_drop(name text) returns boolean */
Datum
chatglm_linear_drop(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PreventCommandIfReadOnly("glm_linear_drop()");
	chatglm_check_model_name(name);
	(void) require_owner(name, WRITE_LOCK);
	PG_RETURN_BOOL(chatglm_delete_row(&chatglm_linear_table, name));
}

/*
 * chatglm.check_linear_model(): BEFORE INSERT OR UPDATE trigger of chatglm.linear_model.
 * That the owner is there is not asked: roles may be restored after a dump.
 */
Datum
chatglm_linear_check(PG_FUNCTION_ARGS)
{
	Datum			   values[CHATGLM_LINEAR_COLUMNS];
	bool			   nulls[CHATGLM_LINEAR_COLUMNS];
	ChatglmLinearModel model;
	HeapTuple		   row =
		chatglm_new_row(fcinfo, &chatglm_linear_table, "chatglm.check_linear_model", values, nulls);

	/* the table's own NOT NULL may be gone */
	for (int i = 0; i < CHATGLM_LINEAR_SUMMARY; i++)
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NOT_NULL_VIOLATION),
							errmsg("a linear model must not have NULLs but for its summary")));
	chatglm_check_model_name(TextDatumGetCString(values[CHATGLM_LINEAR_NAME]));
	(void) chatglm_read_link(TextDatumGetCString(values[CHATGLM_LINEAR_LINK]));
	(void) chatglm_check_finite(DatumGetFloat8(values[CHATGLM_LINEAR_BIAS]), "bias");
	chatglm_read_weights(DatumGetJsonbP(values[CHATGLM_LINEAR_WEIGHTS]), &model);
	return PointerGetDatum(row);
}
