/*
 * heap.h - memory that was freed goes back to the system.
 */
#ifndef GLM_HEAP_H
#define GLM_HEAP_H

/* For a thread that has nothing to do for a while: some 100 us, and what they find free. */
extern void glm_heap_rest(void);

#endif /* GLM_HEAP_H */
