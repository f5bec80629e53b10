/*
 * mock_events.cc - events of mock_driver.cc.
 */
#include "cuda/host/mock_device.h"

using namespace mock;

API
cuEventCreate(void **e, unsigned)
{
	ENTER("cuEventCreate");
	event *made = new event;

	made->device = current;
	*e = made;
	things++;
	return FINE;
}

API
cuEventDestroy_v2(void *e)
{
	ENTER("cuEventDestroy");
	delete (event *) e;
	things--;
	return FINE;
}

API
cuEventRecord(void *e, void *s)
{
	STREAM("cuEventRecord", s);
	event *what = (event *) e;

	if (what->device != current)
		return INVALID_HANDLE;
	what->where = (stream *) s;
	what->wgmma = what->where->wgmma;
	what->done = false;
	put(what->where, item{item::EVENT, [=] { what->done = true; }});
	return FINE;
}

API
cuEventQuery(void *e)
{
	ENTER("cuEventQuery");
	event *what = (event *) e;

	return what->done ? FINE : poll(held, what->where, what);
}

API
cuEventSynchronize(void *e)
{
	ENTER("cuEventSynchronize");
	event *what = (event *) e;

	return what->done ? FINE : finish(held, what->where, what);
}

/* Time means nothing here: it is what a test of a program needs. */
API
cuEventElapsedTime(float *ms, void *, void *end)
{
	ENTER("cuEventElapsedTime");
	*ms = slow_wgmma && ((event *) end)->wgmma ? 2 : 1;
	return FINE;
}
