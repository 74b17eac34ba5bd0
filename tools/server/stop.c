// SPDX-License-Identifier: GPL-2.0-only
/* Ending a disk's server, from another process. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/err.h"
#include "control.h"
#include "server.h"
#include "space.h"
#include "vhost-user/stall.h"

/*
 * The server ends requests that wait for space after STALL_SECS. By then others
 * may have waited for no_space_timeout_secs, a minute unless it was changed.
 */
#define STOP_WAIT_MS	120000

/* A server that waits for requests of the guest does not answer. */
#define ANSWER_MS	2000

/* Whether writes wait for space: not in step with the target, which lets them try once a second. */
#define LOOK_MS		700

static bool has_ended(int pidfd, int wait_ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int n;

	do
		n = poll(&p, 1, wait_ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/* By force, writes that wait for space do not hold it up: they fail, and only they. */
static int wait_exit(const char *name, int pidfd, bool force)
{
	bool did_fail = false, was_queue = false, is_over;
	int ms = STALL_SECS * 1000;

	is_over = has_ended(pidfd, ms);
	for (; !is_over && ms < STOP_WAIT_MS; ms += LOOK_MS) {
		if (force && !did_fail)
			did_fail = space_fail_writes(name, &was_queue);
		is_over = has_ended(pidfd, LOOK_MS);
	}
	if (was_queue)
		space_queue_writes(name);
	if (is_over)
		return VBLK_OK;
	err_report(VBLK_BUSY, name, "the server waits for requests of the guest");
	if (!force)
		err_hint("if they wait for space on the host: vblk-detach --force %s", name);
	return VBLK_BUSY;
}

static int report_guest(const char *name, pid_t guest)
{
	int ret = err_report(VBLK_BUSY, name,
			     "in use: a guest is connected, process %d", guest);

	err_hint("shut the guest down, or vblk-detach --force %s", name);
	return ret;
}

/*
 * The server itself knows whether a guest has connected by now. One that is of an earlier
 * version, or does not answer, gets a signal.
 */
static int ask_to_stop(const struct serving *serving, int pidfd, bool force)
{
	json_object *request = control_request("stop"), *reply;
	const char *why;
	int ret;

	json_object_object_add(request, "force", json_object_new_boolean(force));
	if (control_call(serving->name, request, ANSWER_MS, &reply) == 0) {
		ret = control_reply_code(reply, &why);
		json_object_put(reply);
		if (ret == VBLK_OK || ret == VBLK_BUSY)
			return ret == VBLK_BUSY ? -EBUSY : 0;
	}
	return syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0) < 0 ? -errno : 0;
}

/**
 * server_check_guest() - whether server_stop() would refuse
 * @device: name of its device
 * @guest: from state_server()
 *
 * Return: an exit code; what is wrong has been reported.
 */
int server_check_guest(const char *device, pid_t guest, bool force)
{
	return guest && !force ? report_guest(device, guest) : VBLK_OK;
}

static int stop(const struct serving *serving, const char *device, pid_t pid, int pidfd,
		bool force)
{
	pid_t guest;
	int err, ret;

	/* Still the same one, so that a reused pid is not signalled. */
	if (state_server(serving->name, &guest) != pid)
		return VBLK_OK;
	ret = server_check_guest(device, guest, force);
	if (ret)
		return ret;
	err = ask_to_stop(serving, pidfd, force);
	if (err == -EBUSY) {
		state_server(serving->name, &guest);
		return report_guest(device, guest);
	}
	if (err)
		return err_errno(-err, device, "cannot stop the server");
	return wait_exit(device, pidfd, force);
}

/**
 * server_stop() - end a disk's server and wait until it is gone
 * @serving: how it is served
 * @device: name of its device
 * @pid: its server, from state_server()
 * @force: also when a guest is connected; one that comes while the server stops
 *         is not waited for
 *
 * Return: an exit code; what is wrong has been reported.
 */
int server_stop(const struct serving *serving, const char *device, pid_t pid,
		bool force)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	int ret;

	if (pidfd < 0)
		return errno == ESRCH ? VBLK_OK :
			err_errno(errno, device, "cannot stop the server");
	ret = stop(serving, device, pid, pidfd, force);
	close(pidfd);
	return ret;
}
