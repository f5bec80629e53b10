/*
 * mock_peers.cc - what devices of mock_driver.cc have to do with each other.
 */
#include <stdlib.h>
#include <string.h>

#include "cuda/host/mock_device.h"

using namespace mock;

API
cuDeviceCanAccessPeer(int *can, int, int)
{
	BEFORE("cuDeviceCanAccessPeer");
	*can = getenv("GLM_MOCK_NO_PEERS") == NULL;
	return FINE;
}

API
cuCtxEnablePeerAccess(void *context, unsigned)
{
	ENTER("cuCtxEnablePeerAccess");
	return context != NULL && (int) (uintptr_t) context - 1 != current ? FINE : INVALID_CONTEXT;
}

/* Between devices, which need not reach each other. */
API
cuMemcpyPeerAsync(uint64_t to, void *to_context, uint64_t from, void *from_context, size_t bytes,
				  void *s)
{
	STREAM("cuMemcpyPeerAsync", s);
	if (!is_on((int) (uintptr_t) to_context - 1, to, bytes) ||
		!is_on((int) (uintptr_t) from_context - 1, from, bytes))
		return INVALID_VALUE;
	put((stream *) s, item{item::COPY, [=] { memcpy((void *) to, (const void *) from, bytes); }});
	return FINE;
}

/* What comes is done after the event, though that is another's: the host does not wait. */
API
cuStreamWaitEvent(void *s, void *e, unsigned)
{
	STREAM("cuStreamWaitEvent", s);
	event *what = (event *) e;

	put((stream *) s, item{item::AFTER,
						   [=]
						   {
							   if (!what->done)
								   run(what->where, what);
						   },
						   what});
	return FINE;
}
