/*
 * fuzz_measures.c - any bytes as the statistics file: it is ignored, or counts are within
 * their arrays and names have an end.
 *
 * The first byte chooses: as they are, or laid over zeros, from the place that the next three
 * bytes say, under a header with the right checksum.
 */
#include "fuzz.h"
#include "pg.h"

#include <unistd.h>

#include "pg/measures_file.c"
#include "pg/measures_sound.c"

#define FILE_HERE "chatglm.stat"

jmp_buf		fuzz_escape;
static char path[128];

static const ChatglmKept kept = {FILE_HERE, 1, sizeof(ChatglmMeasured), chatglm_measures_sound};

const char *
fuzz_path(const char *name)
{
	(void) name;
	return path;
}

static void
write_input(const uint8_t *data, size_t size)
{
	snprintf(path, sizeof(path), "%s/" FILE_HERE, fuzz_write(FILE_HERE, data, size));
}

static void
write_with_header(const uint8_t *data, size_t size)
{
	static ChatglmMeasured measured;
	static uint8_t		   file[sizeof(Header) + sizeof(measured)];
	size_t				   at;
	Header				   header;

	memset(&measured, 0, sizeof(measured));
	at = (data[0] + 256u * data[1] + 65536u * data[2]) % sizeof(measured);
	size = size - 3 < sizeof(measured) - at ? size - 3 : sizeof(measured) - at;
	memcpy((uint8_t *) &measured + at, data + 3, size);
	header = header_of(&kept, &measured);
	memcpy(file, &header, sizeof(header));
	memcpy(file + sizeof(header), &measured, sizeof(measured));
	write_input(file, sizeof(file));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static ChatglmMeasured measured;

	if (size < 5 || data[0] % 2 == 0)
		write_input(data + (size > 0), size - (size > 0));
	else
		write_with_header(data + 1, size - 1);
	if (!chatglm_kept_read(&kept, &measured))
		return 0;
	FUZZ_CHECK(measured.n_models >= 0 && measured.n_models <= CHATGLM_MEASURED_MODELS);
	FUZZ_CHECK(measured.n_roles >= 0 && measured.n_roles <= CHATGLM_MEASURED_ROLES);
	FUZZ_CHECK(measured.n_profiles >= 0 && measured.n_profiles <= CHATGLM_PROFILES);
	for (int i = 0; i < measured.n_models; i++)
		FUZZ_CHECK(strnlen(measured.model[i].name, NAMEDATALEN) < NAMEDATALEN);
	for (int i = 0; i < measured.n_profiles; i++)
		FUZZ_CHECK(strnlen(measured.profile[i].model, NAMEDATALEN) < NAMEDATALEN &&
				   strnlen(measured.profile[i].label, NAMEDATALEN) < NAMEDATALEN);
	return 0;
}
