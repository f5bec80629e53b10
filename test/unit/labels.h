/*
 * labels.h - questions about labels and given tokens, for the tests of what is weighed.
 */
#ifndef LABELS_H
#define LABELS_H

#include "client.h"

#define LB_ROOMY ((size_t) 64 << 20)
#define LB_MOST 512 /* tokens */
#define LB_LABELS 64

typedef struct lb_label
{
	int32_t ids[LB_MOST / 2];
	int		n;
	double	p;
} lb_label;

typedef struct lb_question
{
	const char *prompt;
	int			n;
	const char *labels[LB_LABELS];
} lb_question;

#define LB_QUESTIONS 7
#define LB_JSON 4096

extern glm_engine		*lb_engine; /* that is asked */
extern const lb_question lb_questions[LB_QUESTIONS];
/* Labels that part at many places, on three or four levels. */
extern const lb_question lb_crowd;

/* An engine for one test, and its end: cmocka's setup and teardown. */
extern int lb_open(void **state);
extern int lb_close(void **state);

extern glm_request *lb_about(glm_kind kind, glm_form form, const char *prompt,
							 const char *continuation, int top);
/* The answer, which must be none of an error. */
extern answer	   *lb_ask(glm_request *req);
extern int			lb_ids(glm_kind kind, const char *text, int32_t *ids);
/* A chat's prompt with what stands before the content of its answer. */
extern int			lb_prompt(const char *prompt, int32_t *ids);
extern const float *lb_logits(const int32_t *ids, int n, int *vocab);
/* Writes the labels of a question as JSON. */
extern void			lb_write(char *json, const lb_question *q);

#endif /* LABELS_H */
