/*
 * settler.h - models move to huge pages once they are in use.
 */
#ifndef GLM_SETTLER_H
#define GLM_SETTLER_H

#include "engine/serve/engine.h"

/*
 * Begins for a model of which the caller has a reference; false: it is on a device of its own,
 * not wanted, or being done.  Who began calls glm_settler_run(), and may drop his reference before:
 * a model that is closed ends it.
 */
extern bool glm_settler_begin(glm_engine *engine, glm_served *served);
extern void glm_settler_run(glm_engine *engine, glm_served *served);
/* Ends it for a model that is in no list any more, and waits until it has ended. */
extern void glm_settler_end(glm_models *models, glm_served *served);

#endif /* GLM_SETTLER_H */
