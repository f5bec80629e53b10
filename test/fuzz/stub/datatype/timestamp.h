/* timestamp.h - TimestampTz is in pg.h. */
#include "pg.h"
