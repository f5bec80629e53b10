/*
 * batchfuncs.h - answers for jobs that go on when a row of theirs cannot be answered.
 */
#ifndef CHATGLM_BATCHFUNCS_H
#define CHATGLM_BATCHFUNCS_H

#include "ask.h"

extern const ChatglmFunction chatglm_try_generate_function;

#endif /* CHATGLM_BATCHFUNCS_H */
