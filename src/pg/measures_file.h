/*
 * measures_file.h - the file that keeps what was measured over a restart of the server.
 */
#ifndef CHATGLM_MEASURES_FILE_H
#define CHATGLM_MEASURES_FILE_H

#include "measures.h"

/* What was written last; false: nothing, or the file is not what we write, which is logged. */
extern bool chatglm_measures_read(ChatglmMeasured *measured);

/* Failures are logged; the file that was there stays. */
extern void chatglm_measures_write(const ChatglmMeasured *measured);

#endif /* CHATGLM_MEASURES_FILE_H */
