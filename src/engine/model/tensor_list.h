/*
 * tensor_list.h - the tensors of a model: names, shapes and what each is for.
 */
#ifndef GLM_TENSOR_LIST_H
#define GLM_TENSOR_LIST_H

#include "engine/base/base.h"
#include "engine/model/projection.h"

#define GLM_TENSOR_NAME 128 /* bytes of a tensor's name, ours are all shorter */

typedef enum glm_tensor_use
{
	GLM_USE_MATRIX = 0,
	GLM_USE_BIAS, /* of the matrix of the same projection, layer and offset, listed before */
	GLM_USE_NORM,
	GLM_USE_NONE /* with it the answers would be others: a model that has it is refused */
} glm_tensor_use;

typedef struct glm_tensor_entry
{
	char		   name[GLM_TENSOR_NAME];
	int			   layer; /* or GLM_NO_LAYER */
	glm_tensor_use use;
	bool		   optional;   /* it may be missing */
	glm_projection projection; /* of a matrix and its bias */
	glm_norm	   norm;	   /* of a norm */
	int			   offset;	   /* column of the projection's output at which its own begin */
	int			   rows;
	int			   cols;	  /* 0: a vector */
	const char	  *instead;	  /* tensor that takes its place where it is missing; NULL: none */
	glm_status	   status;	  /* GLM_USE_NONE: how it is refused, */
	char		   fault[64]; /* and what is wrong with it */
} glm_tensor_entry;

typedef struct glm_tensor_list
{
	glm_tensor_entry *entry;
	int				  n;
	int				  capacity;
} glm_tensor_list;

/* Adds a copy of the entry. */
extern bool glm_tensor_list_add(glm_tensor_list *list, const glm_tensor_entry *entry,
								glm_error *err);
extern void glm_tensor_list_free(glm_tensor_list *list);

#endif /* GLM_TENSOR_LIST_H */
