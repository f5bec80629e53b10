/*
 * open_models.h - the models that are open, with two directories to open: what loader.c does
 * for requests, done by hand.
 *
 * Three names stand for the two directories, of which the second has the first
 * one's weights by a hard link and is no copy.
 */
#ifndef OPEN_MODELS_H
#define OPEN_MODELS_H

#include "checkpoint.h"
#include "engine/serve/engine.h"

#define OM_WEIGHTS "model.safetensors"

extern char		  om_dir[CK_PATH];
extern char		  om_twin[CK_PATH];
extern glm_models om_models;
extern uint32_t	  om_origin; /* of requests; 1 at first */

/* For cmocka: nothing is open before a test, and nothing left of it behind it. */
extern int om_setup(void **state);
extern int om_teardown(void **state);

/* Writes a string behind a request; NULL: an empty span. */
extern glm_span om_put(char *block, uint32_t *end, const char *text);

/* A request in memory that the next one takes. */
extern const glm_request *om_request(glm_kind kind, const char *name, const char *path,
									 const char *options);

/* The model that a request wants, in use; NULL: error. */
extern glm_served *om_find_or_load(const glm_request *req, glm_error *err);
extern glm_served *om_acquire(const char *name, const char *path, const char *options,
							  glm_error *err);
/* The same, where there is no error. */
extern glm_served *om_acquire_good(const char *name, const char *path, const char *options);

extern bool om_unload(const char *name, const char *path, glm_error *err);

/* Makes a model resident, as a loading does. */
extern void om_touch_all(glm_served *served);

/* What is told of an open model; fails when it is not open. */
extern glm_model_info om_info(const char *name);

#endif /* OPEN_MODELS_H */
