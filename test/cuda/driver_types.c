/*
 * driver_types.c - is what cuda/driver_types.h declares by hand what the driver has?  Compiled by
 * code.sh, where there is a cuda.h; that is all.
 */
#include <cuda.h>
#include <stddef.h>

#include "cuda/driver_types.h"

#define SAME_SIZE(ours, theirs) _Static_assert(sizeof(ours) == sizeof(theirs), #ours)
#define SAME_PLACE(ours, member, theirs, other)                                                    \
	_Static_assert(offsetof(ours, member) == offsetof(theirs, other), #member)

SAME_SIZE(cuda_launch_config, CUlaunchConfig);
SAME_PLACE(cuda_launch_config, threads_x, CUlaunchConfig, blockDimX);
SAME_PLACE(cuda_launch_config, shared, CUlaunchConfig, sharedMemBytes);
SAME_PLACE(cuda_launch_config, stream, CUlaunchConfig, hStream);
SAME_PLACE(cuda_launch_config, attribute, CUlaunchConfig, attrs);
SAME_PLACE(cuda_launch_config, n_attributes, CUlaunchConfig, numAttrs);
SAME_SIZE(cuda_launch_attribute, CUlaunchAttribute);
SAME_PLACE(cuda_launch_attribute, value, CUlaunchAttribute,
		   value.programmaticStreamSerializationAllowed);
_Static_assert((int) CUDA_MAY_BEGIN_EARLY ==
				   (int) CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
			   "the attribute");
_Static_assert((int) CUDA_PTX_VERSION == (int) CU_FUNC_ATTRIBUTE_PTX_VERSION, "the version");
