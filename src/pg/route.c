/*
 * route.c - routes as chatglm.route has them.
 *
 * A route is looked up for every request, as a model is (catalog.c), with a snapshot of
 * its own: a change counts from the next request on, in all sessions, in prepared
 * statements and in the middle of a statement, and nothing is kept that could be out of
 * date.
 *
 * Names.  A route's name comes before a model's, so that a directory that appears under
 * chatglm.model_dir does not take its requests away; glm_route_set and glm_model_load
 * refuse to make one name mean both.  The names in a route mean models only, so routes
 * cannot lead to routes, nor in circles.
 */
#include "chatglm.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "common/shortest_dec.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"

#include "catalog.h"
#include "model_name.h"
#include "options.h"
#include "route.h"

#define MAX_SHARES 100

/* ---- Weights --------------------------------------------------------------------- */

static void
bad_weights(const char *name, const char *why)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("weights of route \"%s\" %s", name, why),
					errhint("Weights are an object of models and numbers, like {\"model-a\": 90, "
							"\"model-b\": 10}.")));
}

/* A weight; what is too large for a double becomes infinite, and is refused. */
static double
read_weight(const char *name, const char *model, const JsonbValue *value)
{
	double weight = -1;

	if (value->type == jbvNumeric)
		weight = DatumGetFloat8(
			DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!isfinite(weight) || weight < 0)
		bad_weights(
			name,
			psprintf("give model \"%s\" none: a weight is a finite number not below 0", model));
	return weight;
}

static void
add_share(ChatglmRoute *route, const JsonbValue *key, const JsonbValue *value)
{
	ChatglmShare *share = &route->share[route->n_shares++];

	share->model = pnstrdup(key->val.string.val, key->val.string.len);
	chatglm_check_model_name(share->model);
	share->weight = read_weight(route->name, share->model, value);
}

ChatglmRoute *
chatglm_read_route(const char *name, Jsonb *weights)
{
	ChatglmRoute	  *route = palloc0(sizeof(*route));
	JsonbIterator	  *it;
	JsonbIteratorToken token;
	JsonbValue		   key;
	JsonbValue		   value;
	double			   sum = 0;

	route->name = pstrdup(name);
	if (!JB_ROOT_IS_OBJECT(weights))
		bad_weights(name, "are no JSON object");
	if (JB_ROOT_COUNT(weights) < 1 || JB_ROOT_COUNT(weights) > MAX_SHARES)
		bad_weights(name, psprintf("name %d models, not 1 to %d", (int) JB_ROOT_COUNT(weights),
								   MAX_SHARES));
	route->share = palloc0(JB_ROOT_COUNT(weights) * sizeof(ChatglmShare));
	it = JsonbIteratorInit(&weights->root);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		add_share(route, &key, &value);
		sum += route->share[route->n_shares - 1].weight;
	}
	if (!(sum > 0) || !isfinite(sum))
		bad_weights(name, "must have a finite sum above 0");
	return route;
}

static char *
show_percent(double share)
{
	char *shown = palloc(FLOAT_SHORTEST_DECIMAL_LEN);

	float_to_shortest_decimal_buf((float) (100 * share), shown);
	return shown;
}

char *
chatglm_show_route(const ChatglmRoute *route)
{
	StringInfoData shown;
	double		   sum = 0;

	for (int i = 0; i < route->n_shares; i++)
		sum += route->share[i].weight;
	initStringInfo(&shown);
	appendStringInfo(&shown, "%s (", route->name);
	for (int i = 0; i < route->n_shares; i++)
		appendStringInfo(&shown, "%s%s %s%%", i > 0 ? ", " : "", route->share[i].model,
						 show_percent(route->share[i].weight / sum));
	appendStringInfoChar(&shown, ')');
	return shown.data;
}

/* ---- The table --------------------------------------------------------------------- */

/* The weights of a name, NULL when there is no row, or one without any. */
static Jsonb *
find_weights(const char *name)
{
	Relation  table = chatglm_open_table(&chatglm_route_table, AccessShareLock);
	HeapTuple row = table != NULL ? chatglm_find_row(table, &name, 1) : NULL;
	Jsonb	 *weights = NULL;

	if (HeapTupleIsValid(row))
	{
		bool  isnull;
		Datum value = heap_getattr(row, 2, RelationGetDescr(table), &isnull);

		if (!isnull)
			weights = DatumGetJsonbPCopy(value);
		heap_freetuple(row);
	}
	if (table != NULL)
		table_close(table, AccessShareLock);
	return weights;
}

bool
chatglm_route_exists(const char *name)
{
	return find_weights(name) != NULL;
}

ChatglmRoute *
chatglm_find_route(const char *name)
{
	Jsonb *weights = find_weights(name);

	return weights != NULL ? chatglm_read_route(name, weights) : NULL;
}

void
chatglm_refuse_route(const char *name)
{
	ChatglmRoute *route = chatglm_find_route(name);

	if (route != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is a route, not a model", name),
				 errhint("Name one of its models: %s.", chatglm_show_route(route))));
}
