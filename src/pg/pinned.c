/*
 * pinned.c - glm_model_hash, and glm_generate_det, whose answers never change.
 *
 * An IMMUTABLE function must give the same value for ever, as an index or a generated
 * column has been computed with it.  An answer depends on the model, the prompt and the
 * parameters, so the model is given by its hash and not by a name, with the version of the
 * arithmetic, and the parameters are fixed: the chat template without a system message,
 * greedy, no settings.  What cannot be had like that is an error: another answer would be
 * a corrupt index.
 *
 * The hash is that of a model which has a name here.  That the worker computes with these
 * very files is its own look-out: it gets their identity with the request, and opens the
 * model anew where it has others (models.c).  chatglm.kv_cache_type is the one setting of
 * the server that changes answers, so it has to be what it is by default.
 */
#include "chatglm.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "call.h"
#include "encoding.h"
#include "errors.h"
#include "model_hashes.h"
#include "model_name.h"
#include "paths.h"
#include "pinned.h"
#include "privileges.h"
#include "route.h"
#include "settings.h"
#include "shared.h"
#include "sql_values.h"

#define HASH_LENGTH (GLM_MODEL_HASH - 1)

PG_FUNCTION_INFO_V1(chatglm_model_hash);

/* ---- glm_model_hash ------------------------------------------------------------------ */

/* What is wrong with the files, without their directory where that is not for the user. */
static void
throw_file_error(const glm_error *err, const ChatglmModelRef *ref)
{
	const char *message = err->message;

	if (!chatglm_may_see_paths())
		message = chatglm_hide_path(message, ref->path, chatglm_cstring_to_utf8(ref->name));
	chatglm_ereport(ERROR, err->status, message, err->hint);
}

/* glm_model_hash(name text) returns text */
Datum
chatglm_model_hash(PG_FUNCTION_ARGS)
{
	char			*name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ChatglmModelRef	 ref;
	ChatglmModelHash found;
	glm_error		 err = {0};

	chatglm_require_preload();
	chatglm_check_model_name(name);
	chatglm_refuse_route(name);
	ref = chatglm_resolve_model(name);
	if (!chatglm_compute_hash(&ref, &found, &err))
		throw_file_error(&err, &ref);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s:%d", found.hash, GLM_ARITHMETIC)));
}

/* ---- The model of a hash ---------------------------------------------------------------- */

/* Cuts "hash:arithmetic" in two; ERROR 22023 for what is no such thing. */
static char *
read_pin(const char *pin, int *arithmetic)
{
	const char *number = pin + strspn(pin, "0123456789abcdef");
	char	   *end = NULL;

	if (number - pin == HASH_LENGTH && *number == ':' && number[1] >= '1' && number[1] <= '9')
		*arithmetic = (int) strtol(number + 1, &end, 10);
	if (end == NULL || *end != '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"model_hash\" must be 64 hexadecimal digits, a colon and "
							   "a number, not \"%.100s\"",
							   pin),
						errhint("glm_model_hash() tells a model's.")));
	return pnstrdup(pin, HASH_LENGTH);
}

static void
check_arithmetic(int arithmetic)
{
	if (arithmetic != GLM_ARITHMETIC)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this version of chatglm computes with version %d of the arithmetic, not "
						"with version %d",
						GLM_ARITHMETIC, arithmetic),
				 errhint("Answers may differ: what was computed has to be computed anew, with the "
						 "hash that glm_model_hash() tells now.")));
}

/* Has a model this hash?  compute: read its files where that is not known. */
static bool
has_hash(const ChatglmModelRef *ref, const char *hash, bool compute, ChatglmModelHash *found)
{
	glm_error err = {0};
	bool known = compute ? chatglm_compute_hash(ref, found, &err) : chatglm_known_hash(ref, found);

	return known && strcmp(found->hash, hash) == 0;
}

/* Looks through all that has a name here, first at what is known; a broken one is none. */
static bool
search_hash(const char *hash, ChatglmModelRef *ref, ChatglmModelHash *found)
{
	List	 *models = chatglm_usable_models();
	ListCell *cell;

	for (int compute = 0; compute <= 1; compute++)
		foreach(cell, models)
		{
			*ref = *(ChatglmModelRef *) lfirst(cell);
			if (has_hash(ref, hash, compute != 0, found))
				return true;
		}
	return false;
}

/*
 * The model that has this hash.  Row by row it is the same one, so its name is kept, and
 * looked up again: it may mean something else by now.
 */
static void
find_hash(const char *hash, ChatglmModelRef *ref, ChatglmModelHash *found)
{
	static char last[NAMEDATALEN];

	if (last[0] != '\0' && chatglm_look_up_model(last, ref) && ref->path != NULL &&
		has_hash(ref, hash, false, found))
		return;
	if (!search_hash(hash, ref, found))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("no model here has the hash %s", hash),
				 errhint("glm_model_hash() tells a model's; glm_model_load registers the "
						 "directory of one that has no name.")));
	strlcpy(last, ref->name, sizeof(last));
}

/* Keys and values must be kept as they are by default. */
static void
check_kv_type(bool packed)
{
	if (chatglm_kv_cache_type != GLM_KV_AUTO &&
		chatglm_kv_cache_type != (packed ? GLM_KV_F16 : GLM_KV_F32))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("glm_generate_det needs another chatglm.kv_cache_type"),
						errhint("Set it to auto; answers may be others than with \"%s\".",
								GetConfigOption("chatglm.kv_cache_type", false, false))));
}

/* A GPU must give the CPU's bits, whichever of them computes. */
static void
check_exact(void)
{
	if (chatglm_device_arithmetic != 0 && strncmp(chatglm_device, "cpu", 3) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("glm_generate_det needs another chatglm.device_arithmetic"),
						errhint("Set it to exact; a GPU's answers may be others with \"fast\".")));
}

/* ---- glm_generate_det ------------------------------------------------------------------- */

/* No setting of a session, role or database may have a say. */
static void
fix_parameters(ChatglmCall *call, int max_tokens)
{
	chatglm_call_defaults(call, GLM_GENERATE);
	call->form = GLM_PROMPT;
	call->max_tokens = max_tokens;
	call->max_tokens_unsaid = false;
	call->temperature = 0;
	call->timeout_ms = 0;
}

static bool
read_generate_det(ChatglmCall *call, const NullableDatum *args)
{
	ChatglmModelRef	 ref;
	ChatglmModelHash found;
	char			*hash;
	int				 arithmetic = 0;

	if (args[0].isnull || args[1].isnull || args[2].isnull)
		return false;
	chatglm_require_preload();
	if (DatumGetInt32(args[2].value) < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"max_tokens\" must be at least 1, not %d",
							   DatumGetInt32(args[2].value))));
	hash = read_pin(TextDatumGetCString(args[1].value), &arithmetic);
	check_arithmetic(arithmetic);
	find_hash(hash, &ref, &found);
	check_kv_type(found.packed);
	check_exact();
	fix_parameters(call, DatumGetInt32(args[2].value));
	chatglm_call_model(call, &ref);
	call->identity = pstrdup(found.identity);
	call->text = chatglm_text_to_utf8(DatumGetTextPP(args[0].value), &call->text_length);
	return true;
}

static Datum
det_value(const ChatglmAnswer *answer, Oid type)
{
	return PointerGetDatum(chatglm_text_from_utf8(answer->bytes.data, answer->bytes.len));
}

/* glm_generate_det(prompt text, model_hash text, max_tokens int) returns text */
CHATGLM_DEFINE_FUNCTION(chatglm_generate_det, .n_args = 3, .model = -1, .read = read_generate_det,
						.value = det_value);
