/*
 * worker_fault.c - an engine thread that faults takes the worker down in an
 * orderly way, and nothing else.
 *
 * Threads of libraries, such as OpenBLAS's or a GPU driver's, count as the engine's.
 *
 * A process that dies of a signal makes the postmaster restart the whole
 * cluster.  So the faulting thread is caught in the handler and kept there for
 * ever, while the main thread, which is sane, raises a FATAL error and leaves
 * with exit code 1.  The postmaster then just starts the worker again.
 *
 * A fault in the main thread is a crash like any other: the handler puts the old
 * action back and returns into the same fault; a signal that a process sent is raised anew.
 *
 * The parked thread may hold a lock of the engine that the main thread is just
 * waiting for.  So alarms look at the main thread, in which they run; one that finds it still
 * inside a call of the engine jumps out of it (worker_engine.c).  Not the first, though: the
 * thread may have had no CPU, and be in a call that gets on.  The lock may also be malloc's,
 * which cannot be left in this way; then a last alarm, with its default action, ends the
 * process, and that is still better than a worker that hangs.
 */
#include "chatglm.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "worker_engine.h"
#include "worker_fault.h"
#include "worker_state.h"

#define ALARM_MS 50	   /* between looks at the main thread after a fault */
#define STUCK_ALARMS 3 /* from this one on it is taken out of the engine */
#define MAX_ALARMS 200 /* then the process ends */

static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static struct sigaction old_actions[lengthof(fault_signals)];

static int					 fault_fd = -1;
static volatile sig_atomic_t fault_signal;
static void *volatile fault_address;

static void		   handle_fault(int signo, siginfo_t *info, void *context);
static void		   handle_alarm(SIGNAL_ARGS);
static void		   set_alarm(void);
static void		   restore_action(int signo);
static const char *signal_title(int signo);

int
chatglm_fault_init(void)
{
	struct sigaction action;

	fault_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fault_fd < 0)
		ereport(FATAL,
				(errcode_for_file_access(), errmsg("chatglm could not create an eventfd: %m")));

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = handle_fault;
	action.sa_flags = SA_SIGINFO | SA_ONSTACK; /* the stack may be what overflowed */
	sigemptyset(&action.sa_mask);
	for (int i = 0; i < (int) lengthof(fault_signals); i++)
		sigaction(fault_signals[i], &action, &old_actions[i]);

	/* SIGALRM is ours from here on; no timeout of the start may be left over */
	alarm(0);
	pqsignal(SIGALRM, handle_alarm);
	return fault_fd;
}

void
chatglm_fault_check(void)
{
	const char *title;

	if (fault_signal == 0)
		return;
	title = signal_title(fault_signal);
	chatglm_state_reason("an engine thread died of %s at address %p", title, fault_address);
	ereport(FATAL, (errcode(ERRCODE_SYSTEM_ERROR),
					errmsg("chatglm engine thread died of %s at address %p", title, fault_address),
					errdetail("Requests in flight are lost."),
					errhint("The server starts the worker again within about a second.")));
}

static bool
in_main_thread(void)
{
	return syscall(SYS_gettid) == getpid();
}

/* Async-signal-safe calls only.  The first fault is the one that is told. */
static void
handle_fault(int signo, siginfo_t *info, void *context)
{
	uint64 one = 1;

	if (in_main_thread())
	{
		restore_action(signo);
		if (info->si_code <= 0)
			raise(signo);
		return;
	}

	fault_address = info->si_addr;
	fault_signal = signo;
	set_alarm();
	(void) !write(fault_fd, &one, sizeof(one));
	for (;;)
		pause();
}

/* Runs in the main thread: the engine's threads block SIGALRM. */
static void
handle_alarm(SIGNAL_ARGS)
{
	static int alarms;

	if (fault_signal == 0)
		return; /* somebody else's */
	if (++alarms == MAX_ALARMS)
		pqsignal(SIGALRM, SIG_DFL);
	set_alarm();
	if (alarms >= STUCK_ALARMS)
		chatglm_engine_leave();
}

static void
set_alarm(void)
{
	struct itimerval once = {.it_value = {.tv_usec = ALARM_MS * 1000}};

	setitimer(ITIMER_REAL, &once, NULL);
}

static void
restore_action(int signo)
{
	for (int i = 0; i < (int) lengthof(fault_signals); i++)
	{
		if (fault_signals[i] == signo)
			sigaction(signo, &old_actions[i], NULL);
	}
}

static const char *
signal_title(int signo)
{
	switch (signo)
	{
		case SIGSEGV:
			return "SIGSEGV";
		case SIGBUS:
			return "SIGBUS";
		case SIGFPE:
			return "SIGFPE";
		case SIGABRT:
			return "SIGABRT";
		default:
			return "SIGILL";
	}
}
