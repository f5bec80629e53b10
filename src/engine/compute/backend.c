/*
 * backend.c - devices by name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/compute/backend_cpu.h"
#include "engine/model/model.h"

/* The first that has a device which can be used is what "auto" means. */
static const glm_backend *const built_in[] = {&glm_backend_cpu};

#define N_BUILT_IN (sizeof(built_in) / sizeof(built_in[0]))

/* Kinds of devices that there may be, built in or not. */
#define GPU "cuda"
static const char *const kinds[] = {"auto", "cpu", GPU};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

#define MOST_DEVICES 64

/* "cuda:0,1": the length of its first word, and the numbers. */
typedef struct device_name
{
	size_t length;
	int	   which[GLM_MOST_DEVICES]; /* [n] */
	int	   n;
} device_name;

/* One more number, none of those before; *at is behind it then. */
static bool
read_number(const char **at, device_name *name)
{
	char *end;
	long  number;

	if (**at < '0' || **at > '9' || name->n == GLM_MOST_DEVICES)
		return false;
	number = strtol(*at, &end, 10);
	*at = end;
	for (int i = 0; i < name->n; i++)
		if (name->which[i] == number)
			return false;
	name->which[name->n++] = (int) number;
	return number < MOST_DEVICES;
}

/* false: it is not like that. */
static bool
read_name(const char *device, device_name *name)
{
	const char *at = strchr(device, ':');

	*name = (device_name){.length = at != NULL ? (size_t) (at - device) : strlen(device)};
	if (at == NULL)
		name->n = 1;
	else
		do
			if (at++, !read_number(&at, name))
				return false;
		while (*at == ',');
	return name->length > 0 && (at == NULL || *at == '\0');
}

static bool
is_kind(const char *kind, const char *device, size_t length)
{
	return strlen(kind) == length && memcmp(kind, device, length) == 0;
}

static bool
no_such_name(const char *device, glm_error *err)
{
	glm_fail(err, GLM_BAD_ARGUMENT, "unknown device \"%.60s\"", device);
	glm_hint(err,
			 "Devices are called auto, cpu, cuda or cuda:NUMBER; several GPUs, each named once, "
			 "cuda:NUMBER,NUMBER.");
	return false;
}

bool
glm_device_check(const char *device, glm_error *err)
{
	device_name name;

	if (!read_name(device, &name))
		return no_such_name(device, err);
	for (size_t i = 0; i < N_KINDS; i++)
	{
		if (is_kind(kinds[i], device, name.length) && (i > 0 || device[name.length] == '\0') &&
			(name.n == 1 || strcmp(kinds[i], GPU) == 0))
			return true;
	}
	return no_such_name(device, err);
}

/* Was the backend built with this very file, and with the same structs? */
static bool
check_abi(const glm_backend *backend, glm_error *err)
{
	const glm_abi ours = GLM_ABI;

	return memcmp(&backend->abi, &ours, sizeof(ours)) == 0 ||
		   glm_fail(err, GLM_UNSUPPORTED, "the backend \"%s\" was built for another version",
					backend->name);
}

/* What its driver says is what whoever sets it up has to know. */
static bool
no_device(const glm_backend *backend, int which, const char *why_not, glm_error *err)
{
	glm_fail(err, GLM_UNSUPPORTED, "there is no device \"%s:%d\"%s%s", backend->name, which,
			 why_not[0] != '\0' ? ": " : "", why_not);
	glm_hint(err,
			 "The server's user needs the device's driver and files; a service with "
			 "PrivateDevices does not see them. chatglm.device = 'auto' takes the CPU meanwhile.");
	return false;
}

/* Can device number `which` be used, of n that a backend found? */
static bool
check_device(const glm_backend *backend, int which, const glm_device_info *info, int n,
			 glm_error *err)
{
	if (n == 0)
		return no_device(backend, which, info[0].why_not, err);
	if (which >= n)
	{
		glm_fail(err, GLM_UNSUPPORTED, "there is no device \"%s:%d\", the last is \"%s:%d\"",
				 backend->name, which, backend->name, n - 1);
		glm_hint(err, "Devices are counted from 0; \"%s\" is the first.", backend->name);
		return false;
	}
	if (info[which].why_not[0] != '\0')
		return glm_fail(err, GLM_UNSUPPORTED, "device \"%s:%d\" cannot be used: %s", backend->name,
						which, info[which].why_not);
	return true;
}

/* Takes the devices of a name, if they are there and can be used. */
static bool
choose(const glm_backend *backend, const device_name *name, glm_device_choice *choice,
	   glm_error *err)
{
	glm_device_info info[MOST_DEVICES];
	int				found;

	if (!check_abi(backend, err))
		return false;
	memset(info, 0, sizeof(info));
	found = backend->find(info, MOST_DEVICES);
	*choice = (glm_device_choice){.backend = backend, .n = name->n};
	for (int i = 0; i < name->n; i++)
	{
		if (!check_device(backend, name->which[i], info, found, err))
			return false;
		choice->which[i] = name->which[i];
	}
	return true;
}

bool
glm_backend_find(const char *device, const glm_backend *extra, glm_device_choice *choice,
				 glm_error *err)
{
	device_name name;

	if (device == NULL || device[0] == '\0')
		device = kinds[0];
	if (!read_name(device, &name))
		return no_such_name(device, err);
	if (extra != NULL && is_kind(extra->name, device, name.length))
		return choose(extra, &name, choice, err);
	if (!glm_device_check(device, err))
		return false;
	for (size_t i = 0; i < N_BUILT_IN; i++)
	{
		if (is_kind(kinds[0], device, name.length) ||
			is_kind(built_in[i]->name, device, name.length))
			return choose(built_in[i], &name, choice, err);
	}
	glm_fail(err, GLM_UNSUPPORTED, "there is no device \"%.60s\"", device);
	glm_hint(err, "What is installed computes on the CPU: cpu, or auto.");
	return false;
}

bool
glm_device_there(const char *device, const char *backend_library, glm_error *err)
{
	glm_device_choice choice;
	device_name		  name;

	if (read_name(device, &name) && is_kind(GPU, device, name.length) && backend_library != NULL &&
		access(backend_library, R_OK) == 0)
		return true;
	return glm_backend_find(device, NULL, &choice, err);
}
