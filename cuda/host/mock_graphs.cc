/*
 * mock_graphs.cc - graphs of mock_driver.cc: the steps of a stream, kept and done again.
 */
#include <string>

#include "cuda/host/mock_device.h"

using namespace mock;

/* The same, but for the keys and values that it leaves. */
static item
without_kv(const item &what)
{
	item other = what;

	other.run = [=]
	{
		const memory *m = find(what.pool, 1);
		std::string	  before((const char *) what.pool, m->bytes);

		what.run();
		before.copy((char *) what.pool, before.size());
	};
	return other;
}

API
cuStreamBeginCapture_v2(void *s, int)
{
	ENTER("cuStreamBeginCapture");
	((stream *) s)->captures = true;
	((stream *) s)->captured.clear();
	return FINE;
}

API
cuStreamEndCapture(void *s, void **steps)
{
	stream *from = (stream *) s;

	/* it ends, whether there is something to show or not */
	from->captures = false;
	ENTER("cuStreamEndCapture");
	if (wrong_graphs)
		from->captured.erase(from->captured.begin() + (long) from->captured.size() / 2);
	for (item &i : from->captured)
		if (wrong_kv && i.pool != 0)
			i = without_kv(i);
	*steps = new std::vector<item>(from->captured);
	things++;
	return FINE;
}

API
cuGraphInstantiateWithFlags(void **graph, void *steps, unsigned long long)
{
	ENTER("cuGraphInstantiateWithFlags");
	*graph = new std::vector<item>(*(std::vector<item> *) steps);
	things++;
	return FINE;
}

API
cuGraphLaunch(void *graph, void *s)
{
	ENTER("cuGraphLaunch");
	for (const item &i : *(std::vector<item> *) graph)
		put((stream *) s, i);
	return FINE;
}

API
cuGraphDestroy(void *steps)
{
	ENTER("cuGraphDestroy");
	delete (std::vector<item> *) steps;
	things--;
	return FINE;
}

API
cuGraphExecDestroy(void *graph)
{
	ENTER("cuGraphExecDestroy");
	delete (std::vector<item> *) graph;
	things--;
	return FINE;
}
