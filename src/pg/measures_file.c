/*
 * measures_file.c - files that keep what was measured over a restart of the server.
 *
 * They lie where PostgreSQL keeps its own statistics and are treated as these are: put in
 * place as a whole, not synced, and ignored when they are broken or another version's,
 * which costs figures and nothing else.
 *
 * PostgreSQL 18 has a place for an extension's counters in its own file
 * (pgstat_register_kind).  It is not used: a crash loses what is there, and a file with a
 * kind that is not registered, or has another size, is thrown away as a whole, the
 * statistics of tables with it.
 */
#include "chatglm.h"

#include <unistd.h>

#include "port/pg_crc32c.h"
#include "storage/fd.h"

#include "measures_file.h"

#define MAGIC 0x474c4d53

typedef struct Header
{
	uint32	  magic;
	uint32	  version;
	uint32	  size; /* of what follows */
	pg_crc32c crc;	/* of it */
} Header;

static Header
header_of(const ChatglmKept *kept, const void *data)
{
	Header header = {.magic = MAGIC, .version = kept->version, .size = kept->size};

	INIT_CRC32C(header.crc);
	COMP_CRC32C(header.crc, data, kept->size);
	FIN_CRC32C(header.crc);
	return header;
}

/* What is wrong with the file; NULL: nothing. */
static const char *
read_file(FILE *file, const ChatglmKept *kept, void *data)
{
	Header header;
	Header right;

	if (fread(&header, sizeof(header), 1, file) != 1 || header.magic != MAGIC)
		return "it is no file of ours";
	if (header.version != kept->version || header.size != kept->size)
		return "it is of another version";
	if (fread(data, kept->size, 1, file) != 1 || fgetc(file) != EOF)
		return "it has another length than it should have";
	right = header_of(kept, data);
	if (!EQ_CRC32C(header.crc, right.crc))
		return "its checksum is wrong";
	return kept->is_sound == NULL || kept->is_sound(data) ? NULL : "its numbers are out of range";
}

static void
name_file(const ChatglmKept *kept, const char *suffix, char name[MAXPGPATH])
{
	snprintf(name, MAXPGPATH, "%s/%s%s", PGSTAT_STAT_PERMANENT_DIRECTORY, kept->name, suffix);
}

bool
chatglm_kept_read(const ChatglmKept *kept, void *data)
{
	char		name[MAXPGPATH];
	FILE	   *file;
	const char *fault;

	name_file(kept, "", name);
	file = AllocateFile(name, PG_BINARY_R);
	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG,
					(errcode_for_file_access(), errmsg("could not read file \"%s\": %m", name)));
		return false;
	}
	fault = read_file(file, kept, data);
	FreeFile(file);
	if (fault != NULL)
		ereport(LOG, (errmsg("chatglm ignores statistics file \"%s\": %s", name, fault)));
	return fault == NULL;
}

static bool
write_file(const char *name, const ChatglmKept *kept, const void *data)
{
	Header header = header_of(kept, data);
	FILE  *file = AllocateFile(name, PG_BINARY_W);
	bool   written;
	int	   fault;

	if (file == NULL)
		return false;
	written =
		fwrite(&header, sizeof(header), 1, file) == 1 && fwrite(data, kept->size, 1, file) == 1;
	fault = errno;
	if (GLM_INJECT("measures-write"))
	{
		written = false;
		fault = ENOSPC;
	}
	if (FreeFile(file) != 0)
		return false;
	errno = fault; /* why it was not written, not what closing it left there */
	return written;
}

bool
chatglm_kept_write(const ChatglmKept *kept, const void *data)
{
	char name[MAXPGPATH];
	char new_name[MAXPGPATH];

	name_file(kept, "", name);
	name_file(kept, ".tmp", new_name);
	if (write_file(new_name, kept, data) && rename(new_name, name) == 0)
		return true;
	ereport(LOG, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", name)));
	(void) unlink(new_name);
	return false;
}
