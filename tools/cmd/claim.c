// SPDX-License-Identifier: GPL-2.0-only
/* A disk that nobody may use while its chain changes: its server's queues stopped, the device claimed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "err.h"
#include "server/control.h"
#include "server/state.h"
#include "snapshot.h"

#define ANSWER_MS	10000

/* A guest that comes in between must not read what is about to change. */
static int pause_server(struct change *c)
{
	json_object *request, *reply;
	const char *why;
	int err, ret;

	if (!c->a.server || c->is_dry)
		return VBLK_OK;
	request = control_request("pause");
	json_object_object_add(request, "hold", json_object_new_boolean(true));
	err = control_hold(c->a.serving.name, request, ANSWER_MS, &reply, &c->pause);
	if (err) {
		c->pause = -1;
		return err_errno(-err, c->a.d.name, "its server cannot be paused");
	}
	ret = control_reply_code(reply, &why);
	if (ret)
		err_report(ret, c->a.d.name, "its server cannot be paused: %s", why);
	json_object_put(reply);
	return ret;
}

static int check_guest(const struct attached *a)
{
	pid_t guest = 0;
	int ret;

	if (a->server)
		state_server(a->serving.name, &guest);
	if (!guest)
		return VBLK_OK;
	ret = err_report(VBLK_BUSY, a->d.name, "in use: a guest is connected, process %d", guest);
	err_hint("shut the guest down: it would not notice that its disk is another one");
	return ret;
}

/* What is in the kernel, a mount in any namespace, a queue of a server that was killed, claims it. */
static int claim_node(struct change *c)
{
	char path[sizeof(DMDEV_DIR) + sizeof(c->a.d.name)];
	struct stat st;

	snprintf(path, sizeof(path), DMDEV_DIR "%s", c->a.d.name);
	c->node = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (c->node < 0 && errno == EBUSY)
		return err_report(VBLK_BUSY, c->a.d.name,
				  "in use: a mount in another namespace, or the kernel, has it");
	if (c->node < 0 || fstat(c->node, &st) < 0)
		return err_errno(errno, c->a.d.name, "cannot open the device");
	if (!S_ISBLK(st.st_mode) || st.st_rdev != c->a.d.dev)
		return err_report(VBLK_FAILED, c->a.d.name, "%s is another device", path);
	/* A guest that comes finds it free. */
	if (c->is_dry) {
		close(c->node);
		c->node = -1;
	}
	return VBLK_OK;
}

/**
 * change_claim_disk() - see to it that nobody uses the disk until change_end()
 *
 * A guest that connects meanwhile waits. Return: an exit code; who uses it has been reported.
 */
int change_claim_disk(struct change *c)
{
	int ret;

	ret = pause_server(c);
	if (!ret)
		ret = check_guest(&c->a);
	if (!ret)
		ret = attached_check_unused(&c->a, true);
	return ret ? ret : claim_node(c);
}

/** change_drop_page_cache() - write what this host has not, and forget what it has read of the disk */
void change_drop_page_cache(const struct change *c)
{
	if (ioctl(c->node, BLKFLSBUF) < 0)
		err_errno(errno, c->a.d.name, "cannot drop what the host has cached of it");
}
