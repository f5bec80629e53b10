/*
 * embed.c - glm_embed, and how alike two vectors or texts are.
 *
 * glm_similarity of two texts is that of their vectors, and its support function puts just
 * that in its place when a query is planned: then the two are calls like any others, which
 * GlmBatch has in flight.  Where no planner comes by (a call by another function), the C
 * function asks for both at a time.
 */
#include "chatglm.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "args.h"
#include "embed.h"
#include "encoding.h"
#include "function.h"
#include "options.h"
#include "sql_values.h"

/* ---- glm_embed ------------------------------------------------------------- */

static glm_pooling
read_pooling(const NullableDatum *pooling)
{
	char *name = pooling->isnull ? "mean" : TextDatumGetCString(pooling->value);

	if (strcmp(name, "mean") != 0 && strcmp(name, "last") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"pooling\" must be \"mean\" or \"last\", not \"%s\"", name)));
	return strcmp(name, "mean") == 0 ? GLM_POOL_MEAN : GLM_POOL_LAST;
}

static bool
read_embed(ChatglmCall *call, const NullableDatum *args)
{
	static const char *const keys[] = {"cache",		 "priority", "route_key",
									   "timeout_ms", "truncate", NULL};
	const NullableDatum		*normalize = &args[CHATGLM_EMBED_NORMALIZE];

	chatglm_call_defaults(call, GLM_EMBED);
	call->max_tokens = 1; /* no room is kept for an answer */
	call->pooling = read_pooling(&args[CHATGLM_EMBED_POOLING]);
	call->normalize = normalize->isnull || DatumGetBool(normalize->value);
	if (!args[CHATGLM_EMBED_OPTIONS].isnull)
		chatglm_read_some_options(call, DatumGetJsonbP(args[CHATGLM_EMBED_OPTIONS].value), keys);
	if (args[CHATGLM_EMBED_CONTENT].isnull)
		return false;
	call->text =
		chatglm_text_to_utf8(DatumGetTextPP(args[CHATGLM_EMBED_CONTENT].value), &call->text_length);
	chatglm_read_model(call, &args[CHATGLM_EMBED_MODEL]);
	return true;
}

static Datum
vector_value(const ChatglmAnswer *answer, Oid type)
{
	return PointerGetDatum(chatglm_array_of_words(FLOAT4OID, &answer->bytes));
}

/*
 * glm_embed(content text, model text, pooling text, normalized bool, options jsonb) returns real[],
 * glm_try_embed of the same, which returns glm_embed_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_embed, chatglm_try_embed, .n_args = CHATGLM_EMBED_N_ARGS,
						.model = CHATGLM_EMBED_MODEL, .read = read_embed, .value = vector_value);

/* ---- Cosine ---------------------------------------------------------------- */

/* The numbers of a vector, which has at least one and no NULLs. */
static const float *
read_vector(ArrayType *array, int *n)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a vector must have one dimension, not %d", ARR_NDIM(array))));
	if (array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("a vector must not contain NULL")));
	*n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return (const float *) chatglm_array_data(array);
}

/* In double precision and in order.  The squares of floats do not overflow there. */
static double
cosine(const float *a, const float *b, int n)
{
	double product = 0, a_square = 0, b_square = 0, result;

	for (int i = 0; i < n; i++)
	{
		product += (double) a[i] * b[i];
		a_square += (double) a[i] * a[i];
		b_square += (double) b[i] * b[i];
	}
	if (!isfinite(a_square) || !isfinite(b_square))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a vector must have finite numbers")));
	if (a_square == 0 || b_square == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a vector of zeros has no direction to compare")));
	result = product / (sqrt(a_square) * sqrt(b_square));
	return Max(-1.0, Min(1.0, result));
}

static double
similarity(ArrayType *a, ArrayType *b)
{
	int			 n_a, n_b;
	const float *vector_a = read_vector(a, &n_a);
	const float *vector_b = read_vector(b, &n_b);

	if (n_a != n_b)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("vectors of %d and %d numbers cannot be compared", n_a, n_b)));
	return cosine(vector_a, vector_b, n_a);
}

/* glm_similarity(a real[], b real[]) returns float8 */
PG_FUNCTION_INFO_V1(chatglm_similarity);
Datum
chatglm_similarity(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(similarity(PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_ARRAYTYPE_P(1)));
}

/* ---- Of texts ---------------------------------------------------------------- */

/*
 * The options by which the vectors of two texts are asked for: where a route is named, both
 * come of one of its models.
 */
static Datum
pair_options(void)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum("{\"route_key\": \"glm_similarity\"}"));
}

/* Asks for the vector of one of the texts. */
static void
ask_for_vector(FunctionCallInfo fcinfo, int text, ChatglmAnswer *answer)
{
	NullableDatum args[CHATGLM_EMBED_N_ARGS];

	for (int i = 0; i < CHATGLM_EMBED_N_ARGS; i++)
		args[i].isnull = true;
	args[CHATGLM_EMBED_CONTENT] = fcinfo->args[text];
	args[CHATGLM_EMBED_MODEL] = fcinfo->args[2];
	args[CHATGLM_EMBED_OPTIONS].value = pair_options();
	args[CHATGLM_EMBED_OPTIONS].isnull = false;
	chatglm_ask(&chatglm_embed_function, args, CHATGLM_PRIORITY_INTERACTIVE, answer);
}

static ArrayType *
take_vector(ChatglmAnswer *answer)
{
	bool  isnull;
	Datum vector = chatglm_answer_value(&chatglm_embed_function, answer, FLOAT4ARRAYOID, &isnull);

	return DatumGetArrayTypeP(vector);
}

/* glm_similarity(a text, b text, model text) returns float8 */
PG_FUNCTION_INFO_V1(chatglm_text_similarity);
Datum
chatglm_text_similarity(PG_FUNCTION_ARGS)
{
	ChatglmAnswer answers[2];
	ArrayType	 *a;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	ask_for_vector(fcinfo, 0, &answers[0]);
	ask_for_vector(fcinfo, 1, &answers[1]);
	a = take_vector(&answers[0]);
	PG_RETURN_FLOAT8(similarity(a, take_vector(&answers[1])));
}

/* ---- The planner's part -------------------------------------------------------- */

/* The function of this name and these arguments beside another; InvalidOid: the caller may not. */
static Oid
sibling(Oid function, const char *name, int n_args, const Oid *types)
{
	Oid found = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
								PointerGetDatum(buildoidvector(types, n_args)),
								ObjectIdGetDatum(get_func_namespace(function)));

	if (!OidIsValid(found) || !chatglm_is_own_function(found) ||
		chatglm_function_aclcheck(found, GetUserId()) != ACLCHECK_OK)
		return InvalidOid;
	return found;
}

static Node *
make_embed_call(Oid embed, Node *content, Node *model, Oid collation)
{
	List *args =
		list_make5(content, model, makeNullConst(TEXTOID, -1, collation),
				   makeNullConst(BOOLOID, -1, InvalidOid), makeNullConst(JSONBOID, -1, InvalidOid));

	return (Node *) makeFuncExpr(embed, FLOAT4ARRAYOID, args, InvalidOid, collation,
								 COERCE_EXPLICIT_CALL);
}

/* glm_similarity(a, b, model) as glm_similarity(glm_embed(a, model), glm_embed(b, model)). */
static Node *
simplify_similarity(const FuncExpr *call)
{
	static const Oid embed_types[] = {TEXTOID, TEXTOID, TEXTOID, BOOLOID, JSONBOID};
	static const Oid vector_types[] = {FLOAT4ARRAYOID, FLOAT4ARRAYOID};
	Oid				 embed, vectors;
	Node			*model;
	List			*args;

	if (list_length(call->args) != 3 ||
		chatglm_function_aclcheck(call->funcid, GetUserId()) != ACLCHECK_OK)
		return NULL;
	model = lthird(call->args);
	/* it stands there twice afterwards */
	if (contain_volatile_functions(model) || contain_subplans(model))
		return NULL;
	embed = sibling(call->funcid, "glm_embed", lengthof(embed_types), embed_types);
	vectors = sibling(call->funcid, "glm_similarity", lengthof(vector_types), vector_types);
	if (!OidIsValid(embed) || !OidIsValid(vectors))
		return NULL;
	args = list_make2(
		make_embed_call(embed, linitial(call->args), model, call->inputcollid),
		make_embed_call(embed, lsecond(call->args), copyObject(model), call->inputcollid));
	return (Node *) makeFuncExpr(vectors, FLOAT8OID, args, InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

/* chatglm.similarity_support(internal) returns internal */
PG_FUNCTION_INFO_V1(chatglm_similarity_support);
Datum
chatglm_similarity_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	Node *simplified = NULL;

	if (IsA(request, SupportRequestSimplify))
		simplified = simplify_similarity(((SupportRequestSimplify *) request)->fcall);
	PG_RETURN_POINTER(simplified);
}
