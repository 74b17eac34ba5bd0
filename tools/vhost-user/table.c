// SPDX-License-Identifier: GPL-2.0-only
/* The memory table: the guest's memory as the front-end shares it, changed as a whole. */
#include <errno.h>
#include <string.h>

#include "peer.h"
#include "ring.h"
#include "table.h"

/* Give the kernel the next table, and the rings their place in it. */
static int switch_memory(struct vhost_user *vu)
{
	struct vhost_vring_addr addr;
	struct ring *r;
	int err;

	if (vu->kernel.fd < 0)
		return 0;
	for (r = vu->rings; r < vu->rings + VHOST_BLK_MAX_QUEUES; r++) {
		if (!r->is_running || !vhost_ring_translate(vu->next, r, &addr))
			continue;
		err = vhost_ring_stop(vu, r);
		if (err)
			return err;
	}
	err = vhost_kernel_set_memory(&vu->kernel, vu->next);
	if (err)
		return err;
	for (r = vu->rings; r < vu->rings + VHOST_BLK_MAX_QUEUES; r++) {
		if (!r->is_running || vhost_ring_translate(vu->next, r, &addr) ||
		    !memcmp(&addr, &r->running_addr, sizeof(addr)))
			continue;
		err = vhost_kernel_set_addr(&vu->kernel, &addr);
		if (err)
			return err;
		r->running_addr = addr;
	}
	return 0;
}

/* Make vu->next the memory table. No request uses the old one afterwards. */
static int commit_memory(struct vhost_user *vu)
{
	struct vhost_mem *old = vu->mem;
	struct ring *r;
	int err;

	err = switch_memory(vu);
	if (err) {
		/* It may have either table now; the caller unmaps the new one. */
		vhost_rings_close(vu);
		return err;
	}
	vu->mem = vu->next;
	vu->next = old;
	vhost_mem_unmap_unshared(vu->next, vu->mem);
	for (r = vu->rings; r < vu->rings + VHOST_BLK_MAX_QUEUES; r++) {
		err = vhost_ring_update(vu, r);
		if (err)
			return err;
	}
	return 0;
}

static int add_region(struct vhost_user *vu,
		      const struct vhost_user_region *wire, int fd)
{
	int err = vhost_mem_add(vu->next, vu->mem, wire, fd);

	if (err == -EOPNOTSUPP)
		return vhost_user_refuse(vu, err,
			      "guest memory is in a file on a disk or in a device: it has to be a memfd, or on tmpfs or hugetlbfs");
	if (err == -EINVAL)
		return vhost_user_refuse(vu, err,
			      "a region of guest memory is empty, too long, or overlaps another");
	if (err == -ENOSPC)
		return vhost_user_refuse(vu, err, "guest memory has too many regions");
	return err;
}

/* From the region @from on, which are those that came with this message. */
static int commit_shared(struct vhost_user *vu, unsigned int from)
{
	const struct vhost_mem *m = vu->next;

	if (vhost_peer_has_private(vu->peer, m->regions + from, m->nr - from))
		return vhost_user_refuse(vu, -EINVAL,
			      "guest memory is not shared: QEMU's memory backend needs share=on");
	return commit_memory(vu);
}

static int replace_memory(struct vhost_user *vu,
			  const struct vhost_user_msg *msg)
{
	unsigned int i;
	int err;

	for (i = 0; i < msg->memory.nr_regions; i++) {
		err = add_region(vu, &msg->memory.regions[i], vu->conn.fds[i]);
		if (err)
			return err;
	}
	return commit_shared(vu, 0);
}

static int add_memory(struct vhost_user *vu, const struct vhost_user_msg *msg)
{
	int err;

	if (vu->mem->nr >= vu->disk->mem_slots)
		return vhost_user_refuse(vu, -ENOSPC, "guest memory has too many regions");
	*vu->next = *vu->mem;
	err = add_region(vu, &msg->region, vu->conn.fds[0]);
	return err ? err : commit_shared(vu, vu->mem->nr);
}

static int remove_memory(struct vhost_user *vu,
			 const struct vhost_user_msg *msg)
{
	int err;

	*vu->next = *vu->mem;
	err = vhost_mem_remove(vu->next, &msg->region);
	if (err)
		return vhost_user_refuse(vu, err, "there is no such region");
	return commit_memory(vu);
}

/**
 * vhost_table_change() - change the guest's memory as a message says
 * @vu: the connection
 * @msg: a message about memory regions
 *
 * Return: 0, or -errno; the table is the old one then, and the kernel has none if it
 * was in the middle of the change.
 */
int vhost_table_change(struct vhost_user *vu,
			 const struct vhost_user_msg *msg)
{
	int err;

	if (msg->request == VHOST_USER_SET_MEM_TABLE)
		err = replace_memory(vu, msg);
	else if (msg->request == VHOST_USER_ADD_MEM_REG)
		err = add_memory(vu, msg);
	else
		err = remove_memory(vu, msg);
	/* Empty after a commit; after an error it may have mappings. */
	vhost_mem_unmap_unshared(vu->next, vu->mem);
	return err;
}
