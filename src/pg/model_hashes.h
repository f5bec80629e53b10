/*
 * model_hashes.h - the hashes of models, for all sessions.
 */
#ifndef CHATGLM_MODEL_HASHES_H
#define CHATGLM_MODEL_HASHES_H

#include "model_name.h"

/* What a model is: the hash of its contents, and the files that have them now. */
typedef struct ChatglmModelHash
{
	char hash[GLM_MODEL_HASH];
	char identity[GLM_MODEL_HASH];
	bool packed;
} ChatglmModelHash;

extern Size chatglm_hashes_size(void);
/* `lock`: NULL when another process has already filled the memory. */
extern void chatglm_hashes_init(void *memory, LWLock *lock);

/* The hash of a model if it has been computed for the files that are there now. */
extern bool chatglm_known_hash(const ChatglmModelRef *ref, ChatglmModelHash *found);

/*
 * The same, computed where it is not known, which reads all of the files of a model that is
 * not packed; others that ask for it wait.  False: *err says what is wrong with the files.
 * Needs chatglm_require_preload().
 */
extern bool chatglm_compute_hash(const ChatglmModelRef *ref, ChatglmModelHash *found,
								 glm_error *err);

#endif /* CHATGLM_MODEL_HASHES_H */
