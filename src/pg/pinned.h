/*
 * pinned.h - answers of one model and one arithmetic, whatever names and settings come to mean.
 */
#ifndef CHATGLM_PINNED_H
#define CHATGLM_PINNED_H

#include "ask.h"

extern const ChatglmFunction chatglm_generate_det_function;

#endif /* CHATGLM_PINNED_H */
