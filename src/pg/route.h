/*
 * route.h - routes: names that stand for one of several models, each with a share of the
 * requests.
 */
#ifndef CHATGLM_ROUTE_H
#define CHATGLM_ROUTE_H

#include "call.h"

/* A model of a route; its share is its weight in the sum of all. */
typedef struct ChatglmShare
{
	char  *model;
	double weight; /* finite, at least 0 */
} ChatglmShare;

typedef struct ChatglmRoute
{
	char		 *name;
	int			  n_shares; /* at least 1, of which one has a weight above 0 */
	ChatglmShare *share;	/* in the order of jsonb's keys */
} ChatglmRoute;

/* ---- route.c ------------------------------------------------------------ */

/* Reads weights: {"model": weight, ...}.  ERROR 22023 for what is no such thing. */
extern ChatglmRoute *chatglm_read_route(const char *name, Jsonb *weights);

/* The route of this name, NULL: there is none.  ERROR 22023 when its row is not sound. */
extern ChatglmRoute *chatglm_find_route(const char *name);

/* Is there one of this name, sound or not? */
extern bool chatglm_route_exists(const char *name);

/* ERROR 42809, where only a model will do, when this is the name of a route. */
extern void chatglm_refuse_route(const char *name);

/* Its models and shares, as EXPLAIN shows them. */
extern char *chatglm_show_route(const ChatglmRoute *route);

/* ---- route_choice.c ----------------------------------------------------- */

/*
 * Puts a model in the place of call->route, unless that has been done: the same for the
 * same key, or, where the call has none, for the same texts and seed.
 */
extern void chatglm_choose_model(ChatglmCall *call);

#endif /* CHATGLM_ROUTE_H */
