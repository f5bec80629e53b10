/*
 * tensor_list.c - a list of tensors that grows.
 */
#include "engine/model/tensor_list.h"

#include <stdlib.h>

bool
glm_tensor_list_add(glm_tensor_list *list, const glm_tensor_entry *entry, glm_error *err)
{
	if (list->n == list->capacity)
	{
		int				  more = list->capacity > 0 ? 2 * list->capacity : 64;
		glm_tensor_entry *bigger = realloc(list->entry, (size_t) more * sizeof(*bigger));

		if (bigger == NULL)
			return glm_no_memory(err);
		list->entry = bigger;
		list->capacity = more;
	}
	list->entry[list->n++] = *entry;
	return true;
}

void
glm_tensor_list_free(glm_tensor_list *list)
{
	free(list->entry);
	*list = (glm_tensor_list){0};
}
