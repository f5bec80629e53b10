/*
 * redact_patterns.h - personal data that has a form of its own.
 */
#ifndef CHATGLM_REDACT_PATTERNS_H
#define CHATGLM_REDACT_PATTERNS_H

#include "chatglm.h"

#include "nodes/pg_list.h"

/*
 * What of the content is of one of these kinds (a List of char *) by its form alone: adds to
 * a List of ChatglmFind *.  Kinds without a form are left to others.
 */
extern List *chatglm_find_patterns(List *finds, const char *content, List *kinds);

#endif /* CHATGLM_REDACT_PATTERNS_H */
