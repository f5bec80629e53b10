/*
 * measures_file.c - the file that keeps what was measured over a restart of the server.
 *
 * It lies where PostgreSQL keeps its own statistics and is treated as these are: put in
 * place as a whole, not synced, and ignored when it is broken or another version's, which
 * costs figures and nothing else.
 */
#include "chatglm.h"

#include <unistd.h>

#include "port/pg_crc32c.h"
#include "storage/fd.h"

#include "measures_file.h"

#define FILE_NAME PGSTAT_STAT_PERMANENT_DIRECTORY "/chatglm.stat"
#define NEW_NAME FILE_NAME ".tmp"
#define MAGIC 0x474c4d53
#define VERSION 1

typedef struct Header
{
	uint32	  magic;
	uint32	  version;
	uint32	  size; /* of what follows */
	pg_crc32c crc;	/* of it */
} Header;

static Header
header_of(const ChatglmMeasured *measured)
{
	Header header = {.magic = MAGIC, .version = VERSION, .size = sizeof(*measured)};

	INIT_CRC32C(header.crc);
	COMP_CRC32C(header.crc, measured, sizeof(*measured));
	FIN_CRC32C(header.crc);
	return header;
}

/* What is wrong with the file; NULL: nothing. */
static const char *
read_file(FILE *file, ChatglmMeasured *measured)
{
	Header header;
	Header right;

	if (fread(&header, sizeof(header), 1, file) != 1 || header.magic != MAGIC)
		return "it is no file of ours";
	if (header.version != VERSION || header.size != sizeof(*measured))
		return "it is of another version";
	if (fread(measured, sizeof(*measured), 1, file) != 1 || fgetc(file) != EOF)
		return "it has another length than it should have";
	right = header_of(measured);
	return EQ_CRC32C(header.crc, right.crc) ? NULL : "its checksum is wrong";
}

bool
chatglm_measures_read(ChatglmMeasured *measured)
{
	FILE	   *file = AllocateFile(FILE_NAME, PG_BINARY_R);
	const char *fault;

	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG, (errcode_for_file_access(),
						  errmsg("could not read file \"%s\": %m", FILE_NAME)));
		return false;
	}
	fault = read_file(file, measured);
	FreeFile(file);
	if (fault != NULL)
		ereport(LOG, (errmsg("chatglm ignores statistics file \"%s\": %s", FILE_NAME, fault)));
	return fault == NULL;
}

static bool
write_file(const ChatglmMeasured *measured)
{
	Header header = header_of(measured);
	FILE  *file = AllocateFile(NEW_NAME, PG_BINARY_W);
	bool   written;

	if (file == NULL)
		return false;
	written = fwrite(&header, sizeof(header), 1, file) == 1 &&
			  fwrite(measured, sizeof(*measured), 1, file) == 1;
	return FreeFile(file) == 0 && written;
}

void
chatglm_measures_write(const ChatglmMeasured *measured)
{
	if (write_file(measured) && rename(NEW_NAME, FILE_NAME) == 0)
		return;
	ereport(LOG, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", FILE_NAME)));
	(void) unlink(NEW_NAME);
}
