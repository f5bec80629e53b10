/*
 * verdict.c - questions whose answer is one of several labels.
 *
 * The engine gives the probability of each label, of these alone (GLM_SCORE).  What is made
 * of them needs the labels and a threshold, which the answer keeps from its call.
 *
 * Calibration.  A model may prefer a label whatever it is asked about.  How much so is seen
 * by asking the same about texts without content: p(label) divided by the geometric mean
 * of p(label | such a text), and made to add up to 1 again ("contextual calibration").
 * That is asked once a statement and question, and kept until another statement begins: so
 * all of its rows are weighed alike, and never by a model that has been replaced since.
 * It depends on nothing but the question, and neither do the answers.
 */
#include "chatglm.h"

#include <math.h>

#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/builtins.h"

#include "args.h"
#include "call.h"
#include "encoding.h"
#include "options.h"
#include "route.h"
#include "verdict.h"

#define LEAST_P 1e-300 /* what a logarithm is taken of */

/* What a call keeps for its answer; then the labels, each with its NUL. */
typedef struct Kept
{
	int64  n; /* as wide as what follows, so that all bytes are said */
	double threshold;
	double bias[FLEXIBLE_ARRAY_MEMBER]; /* [n] by which the probabilities are divided */
} Kept;

/* ---- Options ------------------------------------------------------------------------- */

/* For chatglm_read_options(). */
typedef struct Reading
{
	ChatglmCall		*call;
	ChatglmWeighing *weighing;
} Reading;

static void
read_flag(bool *flag, const char *key, const JsonbValue *value)
{
	if (value->type == jbvNull)
		return;
	if (value->type != jbvBool)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must be true or false", key)));
	*flag = value->val.boolean;
}

static void
read_weighing_option(const char *key, JsonbValue *value, void *arg)
{
	Reading *reading = arg;

	if (strcmp(key, "calibrate") == 0)
		read_flag(&reading->weighing->calibrate, key, value);
	else if (strcmp(key, "cases") == 0)
		read_flag(&reading->weighing->cases, key, value);
	else if (!chatglm_read_serving_option(reading->call, key, value))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown key \"%s\" in argument \"options\"", key),
						errhint("Known keys are cache, calibrate, cases, priority, route_key, "
								"timeout_ms and truncate.")));
}

void
chatglm_begin_verdict(ChatglmCall *call, ChatglmWeighing *weighing, const NullableDatum *model,
					  const NullableDatum *options)
{
	Reading reading = {call, weighing};

	*weighing = (ChatglmWeighing){.cases = true};
	chatglm_call_defaults(call, GLM_SCORE);
	call->form = GLM_PROMPT;
	if (!options->isnull)
		chatglm_read_options(DatumGetJsonbP(options->value), read_weighing_option, &reading);
	chatglm_read_model(call, model);
}

/* ---- Asking --------------------------------------------------------------------------- */

static void
put_question(ChatglmCall *call, const ChatglmQuestion *question)
{
	char *system;
	char *text = chatglm_task_prompt(question->task, question->n_parts, question->parts, &system);

	call->system = system != NULL ? chatglm_cstring_to_utf8(system) : NULL;
	call->text = chatglm_cstring_to_utf8(text);
	call->text_length = strlen(call->text);
}

/* The probabilities in an answer, and what comes behind them. */
static void
read_probabilities(double *p, int n, const ChatglmAnswer *answer)
{
	if (answer->bytes.len != (n + 1) * (int) sizeof(double))
		elog(ERROR, "a score of %d labels has %d bytes", n, answer->bytes.len);
	memcpy(p, answer->bytes.data, answer->bytes.len);
}

/* Adds the logarithms of the probabilities about a text without content. */
static void
add_prejudice(double *sum, int n, const ChatglmCall *call, const ChatglmQuestion *question,
			  const char *content)
{
	ChatglmCall		about = *call;
	ChatglmQuestion nothing = *question;
	ChatglmAnswer	answer;
	double		   *p = palloc((n + 1) * sizeof(double));

	nothing.parts[nothing.content].value = content;
	put_question(&about, &nothing);
	about.priority = CHATGLM_PRIORITY_INTERACTIVE; /* rows wait for it */
	chatglm_run(&about, &answer);
	read_probabilities(p, n, &answer);
	for (int i = 0; i < n; i++)
		sum[i] += log(Max(p[i], LEAST_P));
	pfree(p);
}

/* ---- Calibration ------------------------------------------------------------------------ */

/* Of a question that was asked in this statement. */
typedef struct Calibration
{
	struct Calibration *next;
	uint64				print[2];
	int					n;
	double				bias[FLEXIBLE_ARRAY_MEMBER];
} Calibration;

static Calibration	*calibrations;
static MemoryContext calibration_context;
static TimestampTz	 calibration_statement;

static void
forget_other_statements(void)
{
	TimestampTz statement = GetCurrentStatementStartTimestamp();

	if (calibration_context == NULL)
		calibration_context =
			AllocSetContextCreate(TopMemoryContext, "chatglm calibrations", ALLOCSET_SMALL_SIZES);
	if (statement == calibration_statement)
		return;
	MemoryContextReset(calibration_context);
	calibrations = NULL;
	calibration_statement = statement;
}

/* 128 bits of hash over the question about nothing, its labels and model. */
static void
print_question(uint64 print[2], const ChatglmCall *call, const ChatglmQuestion *question)
{
	ChatglmCall		about = *call;
	ChatglmQuestion nothing = *question;
	glm_request	   *block;

	nothing.parts[nothing.content].value = "";
	put_question(&about, &nothing);
	about.priority = CHATGLM_PRIORITY_INTERACTIVE;
	block = chatglm_call_block(&about, 0, CurrentMemoryContext);
	for (int i = 0; i < 2; i++)
		print[i] = hash_bytes_extended((unsigned char *) block, (int) block->size, i);
	pfree(block);
}

static const Calibration *
calibration_of(const ChatglmCall *call, const ChatglmQuestion *question, int n)
{
	static const char *const empty[] = {"N/A", "", "[MASK]"};
	uint64					 print[2];
	Calibration				*made;
	double					*sum = palloc0(n * sizeof(double));

	forget_other_statements();
	print_question(print, call, question);
	for (const Calibration *known = calibrations; known != NULL; known = known->next)
		if (known->print[0] == print[0] && known->print[1] == print[1] && known->n == n)
			return known;
	for (int i = 0; i < (int) lengthof(empty); i++)
		add_prejudice(sum, n, call, question, empty[i]);
	made =
		MemoryContextAlloc(calibration_context, offsetof(Calibration, bias) + n * sizeof(double));
	made->next = calibrations;
	memcpy(made->print, print, sizeof(print));
	made->n = n;
	for (int i = 0; i < n; i++)
		made->bias[i] = exp(sum[i] / lengthof(empty));
	calibrations = made;
	return made;
}

/* ---- What the answer keeps ---------------------------------------------------------------- */

static void
keep(ChatglmCall *call, const ChatglmLabels *labels, const Calibration *calibration,
	 double threshold)
{
	StringInfoData bytes;
	double		   one = 1;
	Kept		   head = {labels->n, threshold};

	initStringInfo(&bytes);
	appendBinaryStringInfo(&bytes, (const char *) &head, offsetof(Kept, bias));
	for (int i = 0; i < labels->n; i++)
		appendBinaryStringInfo(&bytes,
							   (const char *) (calibration != NULL ? &calibration->bias[i] : &one),
							   sizeof(double));
	for (int i = 0; i < labels->n; i++)
		appendBinaryStringInfo(&bytes, labels->names[i], strlen(labels->names[i]) + 1);
	call->kept = bytes.data;
	call->kept_length = bytes.len;
}

void
chatglm_put_verdict(ChatglmCall *call, const ChatglmWeighing *weighing,
					const ChatglmQuestion *question, const ChatglmLabels *labels, double threshold)
{
	const Calibration *calibration = NULL;

	if (call->continuation == NULL)
		call->continuation = chatglm_labels_json(labels, weighing->cases);
	put_question(call, question);
	chatglm_choose_model(call); /* a route's: the same for what calibrates it */
	if (weighing->calibrate)
		calibration = calibration_of(call, question, labels->n);
	keep(call, labels, calibration, threshold);
}

bool
chatglm_settle_verdict(ChatglmCall *call)
{
	const Kept *kept = (const void *) call->kept;
	bool		calibrated = false;

	for (int i = 0; i < kept->n; i++)
		calibrated |= kept->bias[i] != 1;
	call->top_logprobs = !calibrated;
	return true;
}

void
chatglm_put_yes_no(ChatglmCall *call, const ChatglmWeighing *weighing,
				   const ChatglmQuestion *question, double threshold)
{
	static const char  *names[] = {"yes", "no"};
	const ChatglmLabels labels = {2, names};

	/* true, false and the Chinese words, in UTF-8 */
	call->continuation = "[[\"yes\", \"Yes\", \"YES\", \"true\", \"True\", \"\xE6\x98\xAF\"], "
						 "[\"no\", \"No\", \"NO\", \"false\", \"False\", \"\xE5\x90\xA6\"]]";
	chatglm_put_verdict(call, weighing, question, &labels, threshold);
}

void
chatglm_read_verdict(ChatglmVerdict *verdict, const ChatglmAnswer *answer)
{
	const Kept *kept = (const void *) answer->kept;
	double		sum = 0;

	verdict->n = (int) kept->n;
	verdict->name = (const char *) &kept->bias[kept->n];
	verdict->threshold = kept->threshold;
	verdict->p = palloc((kept->n + 1) * sizeof(double));
	read_probabilities(verdict->p, kept->n, answer);
	verdict->mass = verdict->p[kept->n];
	for (int i = 0; i < kept->n; i++)
	{
		verdict->p[i] /= kept->bias[i];
		sum += verdict->p[i];
	}
	for (int i = 0; i < kept->n; i++)
		verdict->p[i] /= sum;
}
