/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every barrier of the module: where it stands and what it orders.
 *
 * tests/crash/removing-any-barrier-is-noticed takes each of them out by the
 * module parameter skip_barrier of a test build (DM_QCOW2_TEST_BUILD=y), and
 * expects the crash replay to notice.
 */
#ifndef DM_QCOW2_BARRIER_H
#define DM_QCOW2_BARRIER_H

struct qcow2_image;

/**
 * enum qcow2_barrier - the barriers
 * @QCOW2_BARRIER_COMMIT_DATA: copied data <= the entries that point at it; of a data file, all
 *	data that entries say is there
 * @QCOW2_BARRIER_COMMIT: entries and data <= the answer to a FLUSH or FUA write;
 *	an entry that drops a cluster <= the decrease of its refcount
 * @QCOW2_BARRIER_REFCOUNTS: zeroed clusters and their refcounts <= entries that
 *	use them; a new refcount block <= the refcount-table entry of it
 * @QCOW2_BARRIER_REFTABLE: refcount-table entries <= entries that use clusters
 *	which the new blocks count; a new refcount table <= the header
 * @QCOW2_BARRIER_ACTIVATE: what others wrote before and never flushed <= the first
 *	write of the guest
 * @QCOW2_BARRIER_HEADER: cleared autoclear bits <= the first write of the guest
 * @QCOW2_BARRIER_DETACH: what was given back <= the end of a suspend
 * @QCOW2_BARRIER_BITMAPS: all bits of a region <= the first change of its data; exact bits <= the
 *	end of a suspend
 * @QCOW2_NR_BARRIERS: how many there are
 *
 * Not among them: zeroed clusters need not be durable before their refcounts,
 * nor a refcount decrease before the cluster is prepared again. Between the two
 * no entry uses the cluster, so a crash there leaves a leak at most, and
 * QCOW2_BARRIER_REFCOUNTS stands before any entry that does.
 */
enum qcow2_barrier {
	QCOW2_BARRIER_COMMIT_DATA,
	QCOW2_BARRIER_COMMIT,
	QCOW2_BARRIER_REFCOUNTS,
	QCOW2_BARRIER_REFTABLE,
	QCOW2_BARRIER_ACTIVATE,
	QCOW2_BARRIER_HEADER,
	QCOW2_BARRIER_DETACH,
	QCOW2_BARRIER_BITMAPS,
	QCOW2_NR_BARRIERS,
};

/**
 * qcow2_barrier - make everything written so far durable
 * @img: the image; of one with a data file, that, too, for the barriers that order data, and with
 *	QCOW2_BARRIER_COMMIT the image only if tables were written to it
 * @barrier: which one this is
 *
 * Context: our own threads and suspend, never a thread that serves I/O. An error
 * fails the image before this returns, and is returned to everybody whose
 * barrier comes later: it is never retried into success.
 *
 * Return: 0 or -EIO.
 */
int __must_check qcow2_barrier(struct qcow2_image *img, enum qcow2_barrier barrier);

#endif /* DM_QCOW2_BARRIER_H */
