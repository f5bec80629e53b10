/*
 * measures_sound.c - is what a file has kept something that can be counted on with?
 */
#include "chatglm.h"

#include "measures.h"

bool
chatglm_measures_sound(const void *measured)
{
	const ChatglmMeasured *m = measured;
	bool sound = m->n_models >= 0 && m->n_models <= CHATGLM_MEASURED_MODELS && m->n_roles >= 0 &&
				 m->n_roles <= CHATGLM_MEASURED_ROLES && m->n_profiles >= 0 &&
				 m->n_profiles <= CHATGLM_PROFILES;

	for (int i = 0; sound && i < m->n_models; i++)
		sound = m->model[i].name[NAMEDATALEN - 1] == '\0';
	for (int i = 0; sound && i < m->n_profiles; i++)
		sound = m->profile[i].model[NAMEDATALEN - 1] == '\0' &&
				m->profile[i].label[NAMEDATALEN - 1] == '\0';
	return sound;
}
