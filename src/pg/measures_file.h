/*
 * measures_file.h - files that keep what was measured over a restart of the server.
 */
#ifndef CHATGLM_MEASURES_FILE_H
#define CHATGLM_MEASURES_FILE_H

#include "chatglm.h"

/* A file with one block of bytes. */
typedef struct ChatglmKept
{
	const char *name; /* in PostgreSQL's own directory for statistics */
	uint32		version;
	Size		size;
	/* A right checksum only says that somebody meant it so; NULL: any bytes will do. */
	bool (*is_sound)(const void *data);
} ChatglmKept;

/* What was written last; false: nothing, or the file is not what we write, which is logged. */
extern bool chatglm_kept_read(const ChatglmKept *kept, void *data);

/* False: it was not written, which is logged; the file that was there stays. */
extern bool chatglm_kept_write(const ChatglmKept *kept, const void *data);

#endif /* CHATGLM_MEASURES_FILE_H */
