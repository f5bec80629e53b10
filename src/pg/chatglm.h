/*
 * chatglm.h - what every file of src/pg begins with.
 *
 * Two kinds of process run this code.  A *backend* checks arguments, submits
 * requests and emits rows.  The *worker*, one per cluster, owns the engine.  Between
 * them lie the main shared memory (shared.h) and one dynamic shared memory segment
 * per backend session (segment.h).
 */
#ifndef CHATGLM_H
#define CHATGLM_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "port/atomics.h"
#include "storage/dsm.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/array.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "engine/glm.h"

#endif /* CHATGLM_H */
