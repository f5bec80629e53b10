/*
 * made_up.h - a small model of random weights and odd shapes, and its layers in
 * double precision, written for clarity.
 */
#ifndef MADE_UP_H
#define MADE_UP_H

#include "engine/model/model.h"
#include "engine/weights/packed.h"

#define MD_CONTEXT 640

/* 2 layers, hidden 136, 6 heads of 20 in 2 groups, ffn 262, vocabulary 509. */
extern glm_model *md_make(glm_dtype dtype, glm_dtype kv_dtype);
extern glm_model *md_make_deep(glm_dtype dtype, glm_dtype kv_dtype, int layers);
extern void		  md_free(glm_model *model);
extern void		  md_free_matrix(glm_tensor *t);

/* The one matrix of a projection of any model, to be looked at or changed; and qkv's bias. */
extern glm_tensor  *md_tensor(const glm_model *model, glm_projection projection, int layer);
extern const float *md_bias(const glm_model *model, int layer);

/* y [w's rows] = W x + bias; with packed W, x is rounded to 8 bits first. */
extern void md_product(double *y, const glm_tensor *w, const double *x, const float *bias);
extern void md_norm(double *y, const double *x, const float *weight, int n);
/* x [136] through layer l at this position; kv [positions][80] holds what came before. */
extern void md_layer(const glm_model *model, int l, double *x, double kv[][80], int position);

#endif /* MADE_UP_H */
