/*
 * affinity.c - which CPUs the compute threads may run on.
 *
 * A list is written as taskset and cpusets write it: "0-3,8".  All threads may
 * run on all CPUs of the list, and the kernel spreads them: a thread that was tied
 * to one CPU would wait there for a busy PostgreSQL process while another is free.
 */
#include "engine/base/threads.h"

#include <ctype.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

static bool
names_no_cpu(const char *list)
{
	return list == NULL || *list == '\0';
}

/* Reads a number below CPU_SETSIZE at *s and moves *s behind it; -1: there is none. */
static int
read_cpu(const char **s)
{
	int value = 0;

	if (!isdigit((unsigned char) **s))
		return -1;
	for (; isdigit((unsigned char) **s); ++*s)
	{
		value = value * 10 + (**s - '0');
		if (value >= CPU_SETSIZE)
			return -1;
	}
	return value;
}

static bool
parse_list(const char *list, cpu_set_t *set)
{
	CPU_ZERO(set);
	for (const char *s = list;; s++)
	{
		int first = read_cpu(&s), last = first;

		if (first >= 0 && *s == '-')
		{
			s++;
			last = read_cpu(&s);
		}
		if (first < 0 || last < first || (*s != ',' && *s != '\0'))
			return false;
		for (int i = first; i <= last; i++)
			CPU_SET(i, set);
		if (*s == '\0')
			return true;
	}
}

bool
glm_cpus_check(const char *list, glm_error *err)
{
	cpu_set_t set;

	if (names_no_cpu(list) || parse_list(list, &set))
		return true;
	return glm_fail(err, GLM_BAD_ARGUMENT, "\"%s\" is not a list of CPUs like \"0-3,8\" below %d",
					list, CPU_SETSIZE);
}

bool
glm_cpus_there(const char *list, glm_error *err)
{
	return glm_cpus_count(list, err) > 0;
}

int
glm_cpus_count(const char *list, glm_error *err)
{
	cpu_set_t set, allowed;

	if (!glm_cpus_check(list, err))
		return 0;
	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		CPU_ZERO(&allowed); /* a mask larger than ours: nothing is known to be missing */
	if (names_no_cpu(list))
		return CPU_COUNT(&allowed) > 0 ? CPU_COUNT(&allowed) : 1;
	parse_list(list, &set);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set) && CPU_COUNT(&allowed) > 0 && !CPU_ISSET(i, &allowed))
		{
			glm_fail(err, GLM_UNSUPPORTED, "CPU %d of \"%s\" is not there for this process", i,
					 list);
			return 0;
		}
	return CPU_COUNT(&set);
}

bool
glm_cpus_bind(pthread_t thread, const char *list)
{
	cpu_set_t set;

	return names_no_cpu(list) ||
		   (parse_list(list, &set) && pthread_setaffinity_np(thread, sizeof(set), &set) == 0);
}
