/*
 * inject.h - faults on demand, in a library that `make injection` builds for tests; in any
 * other they are compiled to nothing.
 *
 * GLM_INJECT("name") stands where something fails now and then, and is true when it is to
 * fail now; or the process or the thread ends there, or it stops for a while.  A point that
 * was armed is met once, by whoever comes first, in whatever process.
 */
#ifndef GLM_INJECT_H
#define GLM_INJECT_H

#ifdef GLM_INJECTION

#define GLM_INJECT(point) glm_inject(point)

extern bool glm_inject(const char *point);

/*
 * Arms a point in place of the one before, for "fail", "segv", "kill" or "stall"; a thread
 * that stalls goes on when another is armed.  NULL: none.  false: there is no such action.
 */
extern bool glm_inject_arm(const char *point, const char *action);

/* Has the point that is armed been met? */
extern bool glm_inject_met(void);

#else
#define GLM_INJECT(point) false
#endif

#endif /* GLM_INJECT_H */
