/*
 * memory.h - how much memory there is for the taking.
 */
#ifndef GLM_MEMORY_H
#define GLM_MEMORY_H

#include "engine/base/base.h"

/* Bytes that could be taken without anybody's swapping, and of how many; 0: not known. */
extern uint64_t glm_memory_available(uint64_t *total);
/* As the files below `root` tell it, /proc/meminfo as "root/proc/meminfo"; "" is this machine. */
extern uint64_t glm_memory_available_below(const char *root, uint64_t *total);

#endif /* GLM_MEMORY_H */
