/*
 * model_explain.h - what EXPLAIN says of models and routes.
 */
#ifndef CHATGLM_MODEL_EXPLAIN_H
#define CHATGLM_MODEL_EXPLAIN_H

#include "ask.h"

#include "commands/explain.h"

/* The name of the model or route that a call is sure to ask; NULL when that cannot be told. */
extern const char *chatglm_model_of_call(const ChatglmFunction *function, const FuncExpr *call);

/* "Model", or "Route" with its models and shares. */
extern void chatglm_explain_model(const char *name, ExplainState *es);

/* Counts a request that a route has led to this model (UTF-8); the list is in this context. */
extern void chatglm_count_model(List **models, MemoryContext context, const char *model);

/* How many requests routes have led to which model, if there were any. */
extern void chatglm_explain_models(const List *models, ExplainState *es);

#endif /* CHATGLM_MODEL_EXPLAIN_H */
