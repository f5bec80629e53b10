/*
 * linear_predict.c - glm_predict: a linear model on one row of features.
 *
 * Products are added in the order of the weights, the bias last.  Features that the model
 * does not know are no fault: a row of a table may have more than it takes.
 */
#include "chatglm.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "linear_model.h"
#include "options.h"
#include "sql_values.h"

PG_FUNCTION_INFO_V1(chatglm_predict);
PG_FUNCTION_INFO_V1(chatglm_predict_text);
PG_FUNCTION_INFO_V1(chatglm_predict_array);

static const ChatglmLinearModel *
model_of(PG_FUNCTION_ARGS)
{
	text *name = PG_GETARG_TEXT_PP(0);

	return chatglm_linear_model(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

static double
apply_link(const ChatglmLinearModel *model, double sum)
{
	double z = sum + model->bias;

	if (isnan(z) || (isinf(z) && model->link == CHATGLM_LINK_IDENTITY))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("the prediction is out of range")));
	if (model->link == CHATGLM_LINK_IDENTITY)
		return z;
	/* written so that neither overflows */
	return z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z));
}

/* ---- By name --------------------------------------------------------------------- */

static void
bad_feature(const char *name, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("feature \"%s\" %s", name, what)));
}

static double
feature_named(Jsonb *features, const ChatglmWeight *weight)
{
	JsonbValue value;
	double	   number;

	if (getKeyJsonValueFromContainer(&features->root, weight->name, weight->length, &value) == NULL)
		bad_feature(weight->name, "is missing");
	if (value.type != jbvNumeric)
		bad_feature(weight->name, "must be a number");
	number = DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value.val.numeric)));
	if (!isfinite(number))
		bad_feature(weight->name, "must be a finite number");
	return number;
}

static double
sum_named(const ChatglmLinearModel *model, Jsonb *features)
{
	double sum = 0;

	for (int i = 0; i < model->n; i++)
		sum += model->weights[i].weight * feature_named(features, &model->weights[i]);
	return sum;
}

static void
refuse_form(const ChatglmLinearModel *model)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					model->named ? errmsg("the model knows its features by name")
								 : errmsg("the model knows its features by place"),
					model->named ? errhint("Give an object of numbers.")
								 : errhint("Give an array of type real[].")));
}

static double
predict_named(const ChatglmLinearModel *model, Jsonb *features)
{
	if (!JB_ROOT_IS_OBJECT(features))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"features\" must be an object, not %s",
							   chatglm_show_json(features))));
	if (!model->named)
		refuse_form(model);
	return apply_link(model, sum_named(model, features));
}

/* glm_predict(name text, features jsonb) returns float8 */
Datum
chatglm_predict(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(predict_named(model_of(fcinfo), PG_GETARG_JSONB_P(1)));
}

/*
 * glm_predict(name text, features text) returns float8: for a literal without a type, which
 * would be as good an array as an object.
 */
Datum
chatglm_predict_text(PG_FUNCTION_ARGS)
{
	char *json = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Datum features = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));

	PG_RETURN_FLOAT8(predict_named(model_of(fcinfo), DatumGetJsonbP(features)));
}

/* ---- By place ---------------------------------------------------------------------- */

static double
sum_placed(const ChatglmLinearModel *model, ArrayType *features)
{
	const float *feature = (const float *) chatglm_array_data(features);
	int			 n = ArrayGetNItems(ARR_NDIM(features), ARR_DIMS(features));
	double		 sum = 0;

	if (array_contains_nulls(features))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"features\" must not contain NULL")));
	if (n != model->n)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the model has %d features, not %d", model->n, n)));
	for (int i = 0; i < n; i++)
	{
		if (!isfinite(feature[i]))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("feature %d must be a finite number", i + 1)));
		sum += model->weights[i].weight * feature[i];
	}
	return sum;
}

/* glm_predict(name text, features real[]) returns float8 */
Datum
chatglm_predict_array(PG_FUNCTION_ARGS)
{
	const ChatglmLinearModel *model = model_of(fcinfo);

	if (model->named)
		refuse_form(model);
	PG_RETURN_FLOAT8(apply_link(model, sum_placed(model, PG_GETARG_ARRAYTYPE_P(1))));
}
