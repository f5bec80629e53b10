/*
 * model_files.h - the files of a model's directory as a whole; glm.h has what a host may ask.
 */
#ifndef GLM_MODEL_FILES_H
#define GLM_MODEL_FILES_H

#include "engine/base/base.h"

/* Are these the same files with the same contents?  False for one that is empty: not known. */
extern bool glm_same_identity(const char *a, const char *b);

#endif /* GLM_MODEL_FILES_H */
