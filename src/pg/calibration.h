/*
 * calibration.h - calibration texts for glm_quantize.
 */
#ifndef CHATGLM_CALIBRATION_H
#define CHATGLM_CALIBRATION_H

#include "chatglm.h"

/*
 * The texts that options ask for by their keys calibration, calibration_query
 * and calibration_file, as a JSON array in UTF-8; NULL when they ask for none.
 */
extern char *chatglm_calibration_texts(Jsonb *options);

#endif /* CHATGLM_CALIBRATION_H */
