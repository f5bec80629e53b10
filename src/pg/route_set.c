/*
 * route_set.c - glm_route_set and glm_route_drop, and what chatglm.route may hold.
 *
 * As with chatglm.model, callers need EXECUTE and no right on the table, and whoever has
 * one can write to it by plain SQL, where the trigger below sees to what a row holds.  That
 * its models are there is asked by glm_route_set alone, so that a dump can be restored
 * before they are.
 */
#include "chatglm.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "catalog.h"
#include "model_name.h"
#include "route.h"

PG_FUNCTION_INFO_V1(chatglm_route_set);
PG_FUNCTION_INFO_V1(chatglm_route_drop);
PG_FUNCTION_INFO_V1(chatglm_route_check);

/* A name means one thing. */
static void
check_free_name(const char *name)
{
	chatglm_check_model_name(name);
	if (chatglm_model_exists(name))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("\"%s\" is a model's name already", name),
						errhint("Give the route another name.")));
}

static void
check_models(const ChatglmRoute *route)
{
	for (int i = 0; i < route->n_shares; i++)
	{
		const char *model = route->share[i].model;

		if (strcmp(model, route->name) == 0 || chatglm_route_exists(model))
			ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
							errmsg("\"%s\" is a route, not a model", model),
							errhint("Routes lead to models only.")));
		(void) chatglm_resolve_routed(model, route->name);
	}
}

/* glm_route_set(name text, weights jsonb) returns void */
Datum
chatglm_route_set(PG_FUNCTION_ARGS)
{
	char *name;
	Datum values[2];
	bool  nulls[2] = {false, false};

	for (int i = 0; i < 2; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not be NULL", i == 0 ? "name" : "weights")));
	PreventCommandIfReadOnly("glm_route_set()");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check_free_name(name);
	check_models(chatglm_read_route(name, PG_GETARG_JSONB_P(1)));
	values[0] = CStringGetTextDatum(name);
	values[1] = PG_GETARG_DATUM(1);
	chatglm_store_row(&chatglm_route_table, values, nulls);
	PG_RETURN_VOID();
}

/* glm_route_drop(name text) returns boolean */
Datum
chatglm_route_drop(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	chatglm_check_model_name(name);
	PreventCommandIfReadOnly("glm_route_drop()");
	PG_RETURN_BOOL(chatglm_delete_row(&chatglm_route_table, name));
}

/* chatglm.check_route(): BEFORE INSERT OR UPDATE trigger of chatglm.route. */
Datum
chatglm_route_check(PG_FUNCTION_ARGS)
{
	Datum	  values[2];
	bool	  nulls[2];
	HeapTuple row =
		chatglm_new_row(fcinfo, &chatglm_route_table, "chatglm.check_route", values, nulls);
	char *name;

	/* the table's own NOT NULL may be gone */
	if (nulls[0] || nulls[1])
		ereport(ERROR, (errcode(ERRCODE_NOT_NULL_VIOLATION),
						errmsg("a route's name and weights must not be NULL")));
	name = TextDatumGetCString(values[0]);
	chatglm_check_model_name(name);
	(void) chatglm_read_route(name, DatumGetJsonbP(values[1]));
	return PointerGetDatum(row);
}
