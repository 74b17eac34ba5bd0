// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a chain of guest buffers to a request that can be submitted.
 *
 * This is the only place that interprets what the guest wrote. Everything here
 * is hostile: it is copied once, then checked, then used. Segment boundaries
 * carry no meaning (VIRTIO_F_ANY_LAYOUT): the header is the first 16 readable
 * bytes, the status is the last writable byte, data is what is left.
 *
 * Preparing has no side effect outside the request, so that it can be undone
 * and the chain put back into the ring if the owner is killed meanwhile, or if
 * ranges have to wait.
 */
#include <linux/blkdev.h>
#include <linux/math64.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include "backend.h"
#include "device.h"
#include "request.h"
#include "submit.h"
#include "vq.h"

/* Larger reads and writes are refused: all pages of a request get pinned. */
#define MAX_BYTES	SZ_1G

/* Move @bytes from the front of the segments to @to; EINVAL if there are fewer. */
static int pull(struct iovec **iov, unsigned int *nr, void *to, size_t bytes)
{
	while (bytes) {
		size_t part;

		if (!*nr)
			return -EINVAL;
		part = min(bytes, (*iov)->iov_len);
		if (copy_from_user(to, (*iov)->iov_base, part))
			return -EFAULT;
		to += part;
		bytes -= part;
		(*iov)->iov_base += part;
		(*iov)->iov_len -= part;
		if (!(*iov)->iov_len) {
			++*iov;
			--*nr;
		}
	}
	return 0;
}

/* Copy to the segments what fits there, at most @bytes; returns how much. */
static int push(const struct iovec *iov, unsigned int nr, const void *from,
		size_t bytes)
{
	size_t done = 0;

	for (; nr && done < bytes; iov++, nr--) {
		size_t part = min(bytes - done, iov->iov_len);

		if (copy_to_user(iov->iov_base, from + done, part))
			return -EFAULT;
		done += part;
	}
	return done;
}

/* Cut the status byte off the end of the writable segments. */
static int locate_status(struct vhost_blk_request *req)
{
	struct iovec *last;

	req->status_uaddr = NULL;
	if (!req->nr_in)
		return -EINVAL;
	last = &req->iov[req->nr_out + req->nr_in - 1];
	last->iov_len--;
	req->status_uaddr = last->iov_base + last->iov_len;
	if (!last->iov_len)
		req->nr_in--;
	return 0;
}

/* Cut the header off the front; what is left is data, readable or writable. */
static int read_header(struct vhost_blk_request *req)
{
	struct vhost_virtqueue *vq = &req->q->vq;
	struct virtio_blk_outhdr header;
	struct iovec *iov = req->iov, *in = iov + req->nr_out;
	int ret;

	ret = pull(&iov, &req->nr_out, &header, sizeof(header));
	if (ret)
		return ret;
	req->type = vhost32_to_cpu(vq, header.type);
	req->sector = vhost64_to_cpu(vq, header.sector);

	if (req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_GET_ID) {
		req->data = in;
		req->nr_data = req->nr_in;
	} else {
		req->data = iov;
		req->nr_data = req->nr_out;
	}
	req->data_bytes = iov_length(req->data, req->nr_data);
	return 0;
}

static int check_data(const struct vhost_blk_request *req)
{
	if (req->data_bytes % SECTOR_SIZE || req->data_bytes > MAX_BYTES)
		return -EINVAL;
	if (!vhost_blk_backend_covers(req->backend, req->sector,
				      req->data_bytes >> SECTOR_SHIFT))
		return -EINVAL;
	return 0;
}

static int prepare_read(struct vhost_blk_request *req)
{
	int ret = check_data(req);

	if (ret)
		return ret;
	req->written = req->data_bytes;
	return vhost_blk_map(req, REQ_OP_READ);
}

static int prepare_write(struct vhost_blk_request *req)
{
	blk_opf_t opf = REQ_OP_WRITE | REQ_SYNC | REQ_IDLE;
	int ret = check_data(req);

	if (ret)
		return ret;
	if (vhost_blk_backend_refuses_writes(req->backend))
		return -EROFS;
	if (!READ_ONCE(req->q->vdev->is_writeback))
		opf |= REQ_FUA;
	return vhost_blk_map(req, opf);
}

static int answer_id(struct vhost_blk_request *req)
{
	int ret = push(req->data, req->nr_data, req->q->vdev->serial,
		       VIRTIO_BLK_ID_BYTES);

	if (ret < 0)
		return ret;
	req->written = ret;
	return 0;
}

static int check_range(const struct vhost_blk_request *req,
		       const struct virtio_blk_discard_write_zeroes *range)
{
	u32 known = req->type == VIRTIO_BLK_T_WRITE_ZEROES ?
		    VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	u32 nr_sectors = le32_to_cpu(range->num_sectors);

	if (le32_to_cpu(range->flags) & ~known)
		return -EOPNOTSUPP;
	if (!vhost_blk_backend_covers(req->backend, le64_to_cpu(range->sector),
				      nr_sectors))
		return -EINVAL;
	return 0;
}

/* Are zeroes written out, as the device cannot do it itself? */
static bool is_written_out(const struct vhost_blk_request *req)
{
	return req->type == VIRTIO_BLK_T_WRITE_ZEROES &&
	       !bdev_write_zeroes_sectors(req->backend->bdev);
}

/* Ranges may overlap, but their sum is bounded by the size of the device. */
static int check_ranges(const struct vhost_blk_request *req, sector_t *sum)
{
	sector_t limit = bdev_nr_sectors(req->backend->bdev);
	sector_t total = 0;
	unsigned int i;
	int ret;

	if (is_written_out(req))
		limit = min(limit, VHOST_BLK_MAX_ZERO_SECTORS);

	for (i = 0; i < req->nr_ranges; i++) {
		ret = check_range(req, &req->ranges[i]);
		if (ret)
			return ret;
		total += le32_to_cpu(req->ranges[i].num_sectors);
	}
	*sum = total;
	return total <= limit ? 0 : -EINVAL;
}

/*
 * What ranges keep the device busy with has nothing to do with the guest's memory
 * that they span. Zeroes that are written out count as if it were theirs; else it
 * is so much a sector that popping pauses at VHOST_BLK_MAX_RANGE_SECTORS, or when
 * the whole device is on its way.
 */
static size_t count_ranges(const struct vhost_blk_request *req, sector_t sectors)
{
	sector_t full = max(bdev_nr_sectors(req->backend->bdev),
			    (sector_t)VHOST_BLK_MAX_RANGE_SECTORS);

	if (is_written_out(req))
		return sectors << SECTOR_SHIFT;
	return div64_u64(sectors, full >> ilog2(VHOST_BLK_MAX_IN_FLIGHT));
}

/*
 * Only ranges that are alone may count for more than a queue may have in flight.
 * Others wait in the ring, and so does what follows them, for a completion to kick.
 */
static int admit_ranges(struct vhost_blk_request *req, size_t bytes)
{
	struct vhost_blk_vq *q = req->q;
	int ret = 0;

	mutex_lock(&q->vq.mutex);
	if (q->range_bytes && q->range_bytes + bytes > VHOST_BLK_MAX_IN_FLIGHT) {
		q->is_stalled = true;
		q->stats.stalls++;
		ret = -ERESTARTSYS;
	} else {
		req->range_bytes = bytes;
		req->span_bytes += bytes;
		q->range_bytes += bytes;
		q->in_flight_bytes += bytes;
	}
	mutex_unlock(&q->vq.mutex);
	return ret;
}

static int prepare_ranges(struct vhost_blk_request *req)
{
	size_t size = sizeof(*req->ranges);
	struct iovec *data = req->data;
	unsigned int nr = req->nr_data;
	sector_t sectors;
	int ret;

	/* Each may take long: who stops the queue waits for those begun only. */
	if (vhost_blk_must_stop(req->q))
		return -ERESTARTSYS;
	req->nr_ranges = req->data_bytes / size;
	if (req->data_bytes % size || !req->nr_ranges ||
	    req->nr_ranges > VHOST_BLK_MAX_RANGES)
		return -EINVAL;
	if (vhost_blk_backend_refuses_writes(req->backend))
		return -EROFS;

	req->ranges = kmalloc_array(req->nr_ranges, size, GFP_KERNEL);
	if (!req->ranges)
		return -ENOMEM;
	ret = pull(&data, &nr, req->ranges, req->data_bytes);
	if (!ret)
		ret = check_ranges(req, &sectors);
	return ret ?: admit_ranges(req, count_ranges(req, sectors));
}

/* User space may have its reasons for not offering what the device can do. */
static bool has_negotiated(const struct vhost_blk_request *req, int feature)
{
	return vhost_has_feature(&req->q->vq, feature);
}

static int prepare_discard(struct vhost_blk_request *req)
{
	if (!has_negotiated(req, VIRTIO_BLK_F_DISCARD) ||
	    !bdev_max_discard_sectors(req->backend->bdev))
		return -EOPNOTSUPP;
	return prepare_ranges(req);
}

static int prepare_write_zeroes(struct vhost_blk_request *req)
{
	if (!has_negotiated(req, VIRTIO_BLK_F_WRITE_ZEROES))
		return -EOPNOTSUPP;
	return prepare_ranges(req);
}

static int prepare_secure_erase(struct vhost_blk_request *req)
{
	if (!has_negotiated(req, VIRTIO_BLK_F_SECURE_ERASE) ||
	    !bdev_max_secure_erase_sectors(req->backend->bdev))
		return -EOPNOTSUPP;
	return prepare_ranges(req);
}

static int prepare_by_type(struct vhost_blk_request *req)
{
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		return prepare_read(req);
	case VIRTIO_BLK_T_OUT:
		return prepare_write(req);
	case VIRTIO_BLK_T_FLUSH:
		return 0;
	case VIRTIO_BLK_T_GET_ID:
		return answer_id(req);
	case VIRTIO_BLK_T_DISCARD:
		return prepare_discard(req);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return prepare_write_zeroes(req);
	case VIRTIO_BLK_T_SECURE_ERASE:
		return prepare_secure_erase(req);
	default:
		return -EOPNOTSUPP;
	}
}

/* Not for an ID, or a read or write of nothing. */
static bool has_io(const struct vhost_blk_request *req)
{
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		return req->data_bytes;
	case VIRTIO_BLK_T_GET_ID:
		return false;
	default:
		return true;
	}
}

static void reset(struct vhost_blk_request *req)
{
	req->type = U32_MAX;
	req->sector = 0;
	req->data_bytes = 0;
	req->written = 0;
	req->status = VIRTIO_BLK_S_OK;
	req->is_bounced = false;
	req->needs_flush = false;
	req->bounce = NULL;
	req->ranges = NULL;
	req->nr_ranges = 0;
	req->bios = NULL;
	req->nr_bios = 0;
}

/**
 * vhost_blk_prepare - parse and check a chain, get its pages
 * @req: just popped; on VHOST_BLK_DONE its @status is set
 *
 * Context: vhost worker, without vq.mutex: faults in guest memory.
 * Return: what to do with it.
 */
enum vhost_blk_verdict vhost_blk_prepare(struct vhost_blk_request *req)
{
	int ret;

	reset(req);
	ret = locate_status(req);
	if (!ret)
		ret = read_header(req);
	if (!ret)
		ret = prepare_by_type(req);
	if (!ret)
		return has_io(req) ? VHOST_BLK_SUBMIT : VHOST_BLK_DONE;

	vhost_blk_unmap(req);
	/* Then faults fail, pins fail: that is not the guest's doing. */
	if (ret == -ERESTARTSYS || fatal_signal_pending(current))
		return VHOST_BLK_RETRY;
	req->status = ret == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
	return VHOST_BLK_DONE;
}
