/*
 * verdict.h - questions whose answer is one of several labels, decided by their
 * probabilities.
 */
#ifndef CHATGLM_VERDICT_H
#define CHATGLM_VERDICT_H

#include "ask.h"
#include "labels.h"
#include "task_prompt.h"

/* What options say of such a question, beside how it is served. */
typedef struct ChatglmWeighing
{
	bool calibrate; /* weigh against texts without content */
	bool cases;		/* labels may be said with capitals */
} ChatglmWeighing;

/* A task's prompt, and which of its parts is the text that is judged. */
#define CHATGLM_MAX_PARTS 6
typedef struct ChatglmQuestion
{
	const char *task;
	int			n_parts;
	ChatglmPart parts[CHATGLM_MAX_PARTS];
	int			content;
} ChatglmQuestion;

/* Reads an argument "options" and the model into a call for a score of labels. */
extern void chatglm_begin_verdict(ChatglmCall *call, ChatglmWeighing *weighing,
								  const NullableDatum *model, const NullableDatum *options);

/*
 * Puts the question and the labels into the call, whose answer will know the labels and
 * the threshold.  With calibration it asks about texts without content first.
 */
extern void chatglm_put_verdict(ChatglmCall *call, const ChatglmWeighing *weighing,
								const ChatglmQuestion *question, const ChatglmLabels *labels,
								double threshold);

/*
 * The likeliest label alone is wanted: the others' probabilities need not be true, unless
 * they are calibrated.  Returns true.
 */
extern bool chatglm_settle_verdict(ChatglmCall *call);

/* The same with yes and no for labels. */
extern void chatglm_put_yes_no(ChatglmCall *call, const ChatglmWeighing *weighing,
							   const ChatglmQuestion *question, double threshold);

/* What came of it. */
typedef struct ChatglmVerdict
{
	int			n;
	const char *name;	   /* that of the first label; each ends in a NUL, the next is behind it */
	double	   *p;		   /* [n] which add up to 1 */
	double		mass;	   /* the share of the labels of all that the model might have said */
	double		threshold; /* as it was put */
} ChatglmVerdict;

extern void chatglm_read_verdict(ChatglmVerdict *verdict, const ChatglmAnswer *answer);

#endif /* CHATGLM_VERDICT_H */
