/*
 * late.h - a device that does nothing before it is waited for, on top of the CPU's.
 *
 * Operations are put in order and done in wait().  Its addresses can be followed by nobody,
 * what it gave is overwritten when a pass begins, and what it is to read is until it has
 * been; so whoever looks early, or where nothing is his, finds out.  Waiting can be made to
 * fail.  One is open at a time, of either kind: one leaves picking to the host, the other
 * picks, by the sampler's code, and has two passes in order if it is asked to.
 */
#ifndef LATE_H
#define LATE_H

#include "engine/compute/backend.h"

extern const glm_backend late_backend; /* "late" */
extern const glm_backend late_picker;  /* the same, and it picks */

/* Lets the n-th wait from now on fail, 1 being the next, with "the device coughed". */
extern void late_fail(int n, glm_device_state state);

/* What info says is free from now on. */
extern void late_set_free(uint64_t bytes);

/* What info says picks may point to, of devices that are opened from now on. */
#define LATE_PICK_BYTES ((size_t) 1 << 20)
extern void late_set_pick_bytes(size_t bytes);

/* In the next pass with at least so many rows of logits, the first row's are not all finite. */
extern void late_spoil(int rows);

/* What was put in order since the device was opened. */
typedef struct late_counts
{
	int	   reads;
	size_t largest; /* bytes of one */
	int	   picks;	/* rows */
	int	   left;	/* rows beside these that nothing was picked for */
} late_counts;

extern late_counts late_count(void);

/* Operations that are put in order and not done. */
extern int late_pending(void);

#endif /* LATE_H */
