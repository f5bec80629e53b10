/*
 * arch.c - the architectures there are.
 */
#include "engine/model/arch.h"

const glm_arch *const glm_archs[] = {&glm_arch_chatglm, NULL};
