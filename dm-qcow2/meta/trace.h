/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: what is done off the hot path. Documentation/monitoring.rst has what they are for. "dev" is MAJOR:MINOR
 * of the mapped device.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dm_qcow2

#if !defined(DM_QCOW2_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DM_QCOW2_TRACE_H

#include <linux/tracepoint.h>
#include "image.h"

/* A read or write goes to the slow pool: what kept it from being mapped at once. */
TRACE_EVENT(qcow2_slow,
	TP_PROTO(const struct qcow2_image *img, const struct bio *bio, const char *why),
	TP_ARGS(img, bio, why),
	TP_STRUCT__entry(
		__array(char, dev, 16)
		__array(char, why, 16)
		__field(u64, sector)
		__field(u32, bytes)
		__field(bool, is_write)
	),
	TP_fast_assign(
		strscpy_pad(__entry->dev, qcow2_name(img), sizeof(__entry->dev));
		strscpy_pad(__entry->why, why, sizeof(__entry->why));
		__entry->sector = bio->bi_iter.bi_sector;
		__entry->bytes = bio->bi_iter.bi_size;
		__entry->is_write = op_is_write(bio_op(bio));
	),
	TP_printk("dev=%s %s sector=%llu bytes=%u why=%s", __entry->dev,
		  __entry->is_write ? "write" : "read", __entry->sector, __entry->bytes,
		  __entry->why)
);

/* A commit of metadata begins; so many clusters are to be filled up first. */
TRACE_EVENT(qcow2_commit_begin,
	TP_PROTO(const struct qcow2_image *img, u64 number, unsigned int flushes,
		 unsigned int fills),
	TP_ARGS(img, number, flushes, fills),
	TP_STRUCT__entry(
		__array(char, dev, 16)
		__field(u64, number)
		__field(unsigned int, flushes)
		__field(unsigned int, fills)
	),
	TP_fast_assign(
		strscpy_pad(__entry->dev, qcow2_name(img), sizeof(__entry->dev));
		__entry->number = number;
		__entry->flushes = flushes;
		__entry->fills = fills;
	),
	TP_printk("dev=%s number=%llu flushes=%u fills=%u", __entry->dev, __entry->number,
		  __entry->flushes, __entry->fills)
);

/* It is durable, or has failed. */
TRACE_EVENT(qcow2_commit_end,
	TP_PROTO(const struct qcow2_image *img, u64 number, u64 ns, int error),
	TP_ARGS(img, number, ns, error),
	TP_STRUCT__entry(
		__array(char, dev, 16)
		__field(u64, number)
		__field(u64, ns)
		__field(int, error)
	),
	TP_fast_assign(
		strscpy_pad(__entry->dev, qcow2_name(img), sizeof(__entry->dev));
		__entry->number = number;
		__entry->ns = ns;
		__entry->error = error;
	),
	TP_printk("dev=%s number=%llu ns=%llu error=%d", __entry->dev, __entry->number,
		  __entry->ns, __entry->error)
);

/* A cluster that was written to in part has been filled up, and its entry is about to be set. */
TRACE_EVENT(qcow2_fill,
	TP_PROTO(const struct qcow2_image *img, u64 cluster, u64 host_off, int error),
	TP_ARGS(img, cluster, host_off, error),
	TP_STRUCT__entry(
		__array(char, dev, 16)
		__field(u64, cluster)
		__field(u64, host_off)
		__field(int, error)
	),
	TP_fast_assign(
		strscpy_pad(__entry->dev, qcow2_name(img), sizeof(__entry->dev));
		__entry->cluster = cluster;
		__entry->host_off = host_off;
		__entry->error = error;
	),
	TP_printk("dev=%s cluster=%llu host_off=%llu error=%d", __entry->dev, __entry->cluster,
		  __entry->host_off, __entry->error)
);

/* Nothing points at clusters of the image any more; they are freed behind a commit. */
TRACE_EVENT(qcow2_drop,
	TP_PROTO(const struct qcow2_image *img, u64 start, u64 count, u64 commit),
	TP_ARGS(img, start, count, commit),
	TP_STRUCT__entry(
		__array(char, dev, 16)
		__field(u64, start)
		__field(u64, count)
		__field(u64, commit)
	),
	TP_fast_assign(
		strscpy_pad(__entry->dev, qcow2_name(img), sizeof(__entry->dev));
		__entry->start = start;
		__entry->count = count;
		__entry->commit = commit;
	),
	TP_printk("dev=%s start=%llu count=%llu commit=%llu", __entry->dev, __entry->start,
		  __entry->count, __entry->commit)
);

/* A request begins to wait for space on the host. */
TRACE_EVENT(qcow2_no_space,
	TP_PROTO(const struct qcow2_image *img, bool is_in_place),
	TP_ARGS(img, is_in_place),
	TP_STRUCT__entry(
		__array(char, dev, 16)
		__field(bool, is_in_place)
	),
	TP_fast_assign(
		strscpy_pad(__entry->dev, qcow2_name(img), sizeof(__entry->dev));
		__entry->is_in_place = is_in_place;
	),
	TP_printk("dev=%s for=%s", __entry->dev, __entry->is_in_place ? "blocks" : "clusters")
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH meta
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
