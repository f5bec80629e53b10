/*
 * model_name.h - what the name of a model means.
 */
#ifndef CHATGLM_MODEL_NAME_H
#define CHATGLM_MODEL_NAME_H

#include "chatglm.h"

/* A model by the name that somebody used. */
typedef struct ChatglmModelRef
{
	char *name;
	char *path;
	char *options;	  /* JSON text or NULL */
	bool  registered; /* a row; else a directory */
} ChatglmModelRef;

/*
 * Resolves a model's name (NULL: chatglm.model) to its directory: a row of
 * chatglm.model, else a directory of that name under chatglm.model_dir.
 * ERROR 42704 when there is neither, 22004 for a row without a path, 42602 for a name that
 * can be none (empty, over 63 bytes, slashes, leading dot, control characters).  Routes are
 * not looked for (route.h).
 */
extern ChatglmModelRef chatglm_resolve_model(const char *name);

/* The same for a model that a route leads to, which errors name. */
extern ChatglmModelRef chatglm_resolve_routed(const char *name, const char *route);

/* Does it mean a model? */
extern bool chatglm_model_exists(const char *name);

/* Names under chatglm.model_dir that hold a config.json; a List of char *. */
extern List *chatglm_model_dir_names(void);
/* chatglm.model_dir, or its default under the share directory. */
extern char *chatglm_model_dir_path(void);
/* Says so, at this level, when chatglm.model_dir is no directory that can be read. */
extern void	 chatglm_check_model_dir(int elevel, const char *path);

/* What a name means; false, and no path: nothing.  A row may have no path either. */
extern bool chatglm_look_up_model(const char *name, ChatglmModelRef *ref);

/* The models whose names mean something here: a List of ChatglmModelRef *. */
extern List *chatglm_usable_models(void);
/* The same without waiting: none while somebody alters the table. */
extern List *chatglm_usable_models_at_once(void);

/* Could this be a model's name? */
extern bool chatglm_is_model_name(const char *name);
#define CHATGLM_NAME_RULE                                                                          \
	"A name has 1 to %d bytes, no slash, backslash or control character, and no leading dot."

/* ERROR 42602 unless this could be a model's name. */
extern void chatglm_check_model_name(const char *name);

/* Is this a directory that claims to hold a model? */
extern bool chatglm_is_model_directory(const char *path);

#endif /* CHATGLM_MODEL_NAME_H */
