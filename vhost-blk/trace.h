/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vhost_blk

#if !defined(VHOST_BLK_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define VHOST_BLK_TRACE_H

#include <linux/tracepoint.h>
#include "request.h"

DECLARE_EVENT_CLASS(vhost_blk_request_class,
	TP_PROTO(unsigned int index, const struct vhost_blk_request *req),
	TP_ARGS(index, req),
	TP_STRUCT__entry(
		__field(unsigned int, index)
		__field(unsigned int, head)
		__field(u32, type)
		__field(u64, sector)
		__field(u64, bytes)
		__field(u8, status)
	),
	TP_fast_assign(
		__entry->index = index;
		__entry->head = req->head;
		__entry->type = req->type;
		__entry->sector = req->sector;
		__entry->bytes = req->data_bytes;
		__entry->status = req->status;
	),
	TP_printk("queue=%u head=%u type=%u sector=%llu bytes=%llu status=%u",
		  __entry->index, __entry->head, __entry->type, __entry->sector,
		  __entry->bytes, __entry->status)
);

/* A request was prepared: it is about to be submitted, or has failed. */
DEFINE_EVENT(vhost_blk_request_class, vhost_blk_start,
	TP_PROTO(unsigned int index, const struct vhost_blk_request *req),
	TP_ARGS(index, req)
);

/* A request is about to enter the used ring. */
DEFINE_EVENT(vhost_blk_request_class, vhost_blk_done,
	TP_PROTO(unsigned int index, const struct vhost_blk_request *req),
	TP_ARGS(index, req)
);

/* A queue stopped popping: the guest broke its ring, or it went away. */
TRACE_EVENT(vhost_blk_broken,
	TP_PROTO(unsigned int index, int error),
	TP_ARGS(index, error),
	TP_STRUCT__entry(
		__field(unsigned int, index)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->index = index;
		__entry->error = error;
	),
	TP_printk("queue=%u error=%d", __entry->index, __entry->error)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
