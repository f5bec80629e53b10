/*
 * paths.h - messages without the paths of models.
 */
#ifndef CHATGLM_PATHS_H
#define CHATGLM_PATHS_H

#include "chatglm.h"

/*
 * A message without the directory of the model it is about: files stay, by name.
 * All three are UTF-8.
 */
extern char *chatglm_hide_path(const char *text, const char *path, const char *model);

#endif /* CHATGLM_PATHS_H */
