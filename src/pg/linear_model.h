/*
 * linear_model.h - linear models: weights by name or by place, a bias and a link.
 */
#ifndef CHATGLM_LINEAR_MODEL_H
#define CHATGLM_LINEAR_MODEL_H

#include "chatglm.h"

#include "storage/itemptr.h"

/* What becomes of the sum. */
typedef enum ChatglmLink
{
	CHATGLM_LINK_IDENTITY,
	CHATGLM_LINK_LOGISTIC /* 1 / (1 + exp(-z)) */
} ChatglmLink;

extern const char *const chatglm_link_names[]; /* by number; NULL at the end */

/* A weight, and the feature that it is of. */
typedef struct ChatglmWeight
{
	char  *name; /* NULL: known by its place */
	int	   length;
	double weight;
} ChatglmWeight;

typedef struct ChatglmLinearModel
{
	ChatglmLink	   link;
	double		   bias;
	bool		   named; /* else by place */
	int			   n;
	ChatglmWeight *weights; /* [n] */
} ChatglmLinearModel;

/* Columns of chatglm.linear_model. */
enum
{
	CHATGLM_LINEAR_NAME,
	CHATGLM_LINEAR_OWNER,
	CHATGLM_LINEAR_LINK,
	CHATGLM_LINEAR_BIAS,
	CHATGLM_LINEAR_WEIGHTS,
	CHATGLM_LINEAR_SUMMARY,
	CHATGLM_LINEAR_COLUMNS
};

/* ---- linear_model.c ------------------------------------------------------- */

/* Reads weights, a link and a bias into *model, in the current context.  ERROR 22023. */
extern void		   chatglm_read_weights(Jsonb *weights, ChatglmLinearModel *model);
extern ChatglmLink chatglm_read_link(const char *name);
extern double	   chatglm_check_finite(double number, const char *argument);

/* The model of this name, until the next call.  ERROR 42704 when there is none. */
extern const ChatglmLinearModel *chatglm_linear_model(const char *name, Size length);

/* ---- linear_set.c ---------------------------------------------------------- */

/* ERROR 42602 for what is no name, 42501 when the model of this name is another's. */
extern void chatglm_linear_check_name(const char *name);

/*
 * Makes the model, or replaces it if it is the current user's; summary NULL: it was not
 * fitted.  Nobody else writes to the table until the transaction ends.
 */
extern void chatglm_linear_store(const char *name, ChatglmLink link, double bias, Jsonb *weights,
								 Jsonb *summary);

#endif /* CHATGLM_LINEAR_MODEL_H */
