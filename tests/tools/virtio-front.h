/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtio-blk driver in user space, for tests and measurements.
 *
 *	work (verify, files, faults, bench)	one thread a queue
 *	        |
 *	ring (descriptors, kick, interrupt)	one owner thread
 *	        |
 *	memory (one memfd or file = the guest's RAM)
 *	        |
 *	transport: the process that serves the rings comes and goes, the rings
 *	stay; it goes on from the used ring's index, like QEMU's reconnect.
 */
#ifndef VIRTIO_FRONT_H
#define VIRTIO_FRONT_H

#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FRONT_SECTOR		512U
#define FRONT_PAGE		4096U
/* Guest-physical address of the memfd's first byte; no host address looks so. */
#define FRONT_GPA		0x100000000ULL
/* Segments of one request; the limit of an indirect table is ours alone. */
#define FRONT_MAX_SEGMENTS	1100U

/**
 * struct front_options - what the command line says
 * @device: block device to serve, or NULL
 * @socket: vhost-user socket to connect to, or NULL
 * @nr_queues: queues in use
 * @queue_size: descriptors of each ring
 * @depth: requests in flight in each queue
 * @max_bytes: data of a request
 * @operations: requests to do, over all queues
 * @seconds: how long to measure
 * @nr_regions: pieces that guest memory is announced in
 * @nr_workers: vhost workers; 0: one for all queues
 * @busyloop_us: VHOST_SET_VRING_BUSYLOOP_TIMEOUT
 * @disturb_ms: pause between two disturbances
 * @disturb_count: how many
 * @disturb: what happens to the server meanwhile
 * @state: file of what was written, for a later check
 * @seed: of the random choices and the data
 * @span: bytes of the device that are used; 0: all
 * @write_percent: of the requests measured
 * @think_us: how long a queue's answers are thought about before more is sent
 * @driver_cpu: the one that a measurement's threads run on; -1: any
 * @spacing: bytes of which each request measured has its own; 0: anywhere
 * @flush_every: requests after which a queue is flushed; 0: never
 * @trim: bytes that the last queue discards at a time; 0: it does as the others
 * @trim_from: where it begins
 * @trace: file of when each request was sent, or NULL
 * @detach: what to detach at the end of a measurement, see tests/bench/detach.h
 * @serial: for VIRTIO_BLK_T_GET_ID
 * @memory: directory of the file, or device, that is guest memory; NULL: a memfd
 * @has_event_idx: VIRTIO_RING_F_EVENT_IDX
 * @has_indirect: VIRTIO_RING_F_INDIRECT_DESC
 * @has_flush: VIRTIO_BLK_F_FLUSH; without it the disk is write-through
 * @has_ranges: discards, write-zeroes, secure-erase are negotiated
 * @is_write_through: the write cache is turned off, and features are set again
 * @is_impatient: do not wait for a device that another one has claimed
 * @is_read_only: pass a read-only descriptor
 * @is_unaligned: data buffers begin at odd addresses
 * @is_scattered: requests are cut into descriptors at random places
 * @is_to_the_end: measure to the end of the last flush and of the server
 * @is_until_eof: measure until standard input ends
 * @is_json: machine-readable output
 */
struct front_options {
	const char *device;
	const char *socket;
	unsigned int nr_queues;
	unsigned int queue_size;
	unsigned int depth;
	unsigned int max_bytes;
	unsigned long operations;
	unsigned int seconds;
	unsigned int nr_regions;
	unsigned int nr_workers;
	unsigned int busyloop_us;
	unsigned int disturb_ms;
	unsigned int disturb_count;
	enum { DISTURB_NOT, DISTURB_KILL, DISTURB_STOP, DISTURB_DETACH,
	       DISTURB_MEMORY, DISTURB_CALL } disturb;
	const char *state;
	uint64_t seed;
	uint64_t span;
	unsigned int write_percent;
	unsigned int think_us;
	int driver_cpu;
	uint64_t spacing;
	unsigned int flush_every;
	uint64_t trim;
	uint64_t trim_from;
	const char *trace;
	const char *detach;
	const char *serial;
	const char *memory;
	bool has_event_idx;
	bool has_indirect;
	bool has_flush;
	bool has_ranges;
	bool is_write_through;
	bool is_impatient;
	bool is_read_only;
	bool is_unaligned;
	bool is_scattered;
	bool is_to_the_end;
	bool is_until_eof;
	bool is_json;
};

/**
 * struct front_memory - the guest's RAM
 * @base: where it is mapped
 * @bytes: its size
 * @used: how much is handed out
 * @fd: memfd or file
 */
struct front_memory {
	uint8_t *base;
	size_t bytes;
	size_t used;
	int fd;
};

/**
 * struct front_segment - part of a request
 * @gpa: guest-physical address
 * @bytes: length
 * @is_in: the device writes it
 */
struct front_segment {
	uint64_t gpa;
	uint32_t bytes;
	bool is_in;
};

/**
 * struct front_ring - driver's side of a split ring
 *
 * @memory: that all of it lives in
 * @index: queue
 * @size: descriptors
 * @has_event_idx: negotiated
 * @has_indirect: negotiated: all requests of more than one segment use it
 * @desc: descriptor table
 * @avail: available ring
 * @used: used ring
 * @tables: an indirect table for each head
 * @free: first free descriptor
 * @nr_free: free descriptors
 * @last_used: used entries taken
 * @kicked: available index up to which the device was told
 * @tokens: caller's cookie of each head in flight
 * @lengths: descriptors that each head occupies
 * @kick_fd: eventfd to the device
 * @call_fd: eventfd from the device; may become another one at any time
 * @err_fd: eventfd from the device, when it gives a ring up
 */
struct front_ring {
	struct front_memory *memory;
	unsigned int index;
	unsigned int size;
	bool has_event_idx;
	bool has_indirect;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_desc *tables;
	unsigned int free;
	unsigned int nr_free;
	uint16_t last_used;
	uint16_t kicked;
	void **tokens;
	unsigned int *lengths;
	int kick_fd;
	int call_fd;
	int err_fd;
};

struct front;
struct vhost_blk_vring_stats;

/**
 * struct front_transport - how the rings get served
 * @start: let a server take all rings, each from its used index
 * @stop: end it in order
 * @kill: end it at once
 * @disturb: do what the options ask for, once
 * @is_alive: does the server still hold its end
 */
struct front_transport {
	void (*start)(struct front *front);
	void (*stop)(struct front *front);
	void (*kill)(struct front *front);
	void (*disturb)(struct front *front);
	bool (*is_alive)(struct front *front, int timeout_ms);
};

/**
 * struct front - the whole
 * @options: command line
 * @memory: guest RAM
 * @rings: queues
 * @transport: to the server
 * @link: the transport's socket to its server, or -1
 * @server: pid of the server if it is our child, or 0
 * @capacity: sectors of the disk
 * @max_discard: bytes of a discard; 0: any number
 * @log: dirty log, one bit a page of guest-physical memory from 0
 * @log_bytes: its size
 */
struct front {
	struct front_options options;
	struct front_memory memory;
	struct front_ring *rings;
	const struct front_transport *transport;
	int link;
	pid_t server;
	uint64_t capacity;
	uint64_t max_discard;
	uint8_t *log;
	size_t log_bytes;
};

/* memory */
void front_memory_init(struct front_memory *memory, size_t bytes, const char *path);
void *front_memory_get(struct front_memory *memory, size_t bytes, size_t align);
uint64_t front_gpa(const struct front_memory *memory, const void *address);

/* ring */
void front_ring_init(struct front_ring *ring, struct front_memory *memory,
		     unsigned int index, const struct front_options *options);
int front_ring_add(struct front_ring *ring, const struct front_segment *segments,
		   unsigned int nr, void *token);
void front_ring_publish(struct front_ring *ring, unsigned int head);
void front_ring_kick(struct front_ring *ring);
void *front_ring_get(struct front_ring *ring, uint32_t *used_bytes);
bool front_ring_wait(struct front_ring *ring, int timeout_ms);
void front_ring_reset(struct front_ring *ring);

/* transports */
extern const struct front_transport front_vhost;
extern const struct front_transport front_user;
uint64_t front_features(const struct front_options *options);
int front_vhost_call(struct front *front, int operation, int argument);
void front_vhost_stats(struct front *front, unsigned int index,
		       struct vhost_blk_vring_stats *stats);
void front_vhost_wait_popped(struct front *front, unsigned int index);
enum { FRONT_RUN = 1, FRONT_STOP, FRONT_ATTACH, FRONT_DETACH, FRONT_BASE, FRONT_LOG,
       FRONT_MEMORY, FRONT_CALL, FRONT_WRITE_CACHE, FRONT_ATTACH_WORKER,
       FRONT_STOP_KILLED, FRONT_SET_RING };

/* requests: one slot of guest memory each */

/**
 * struct front_slot - buffers of one request
 * @ring: queue that it goes to
 * @header: struct virtio_blk_outhdr, right in front of the data
 * @data: max_bytes
 * @sector: of the current request
 * @bytes: of the current request
 * @type: of the current request
 * @user: for the caller
 * @started_ns: for the caller
 */
struct front_slot {
	struct front_ring *ring;
	struct virtio_blk_outhdr *header;
	uint8_t *data;
	uint64_t sector;
	uint32_t bytes;
	uint32_t type;
	uint64_t user;
	uint64_t started_ns;
};

struct front_slot *front_slots(struct front *front, struct front_ring *ring,
			       unsigned int nr);
void front_submit(struct front *front, struct front_slot *slot, uint32_t type,
		  uint64_t sector, uint32_t bytes);
uint8_t front_status(const struct front_slot *slot);
struct front_slot *front_next(struct front_ring *ring, uint32_t *used_bytes);
uint8_t front_do(struct front *front, struct front_slot *slot, uint32_t type,
		 uint64_t sector, uint32_t bytes, uint32_t *used_bytes);

uint64_t *front_places(struct front *front, unsigned int queue, uint64_t *random,
		       unsigned long *nr);

/* what it does; each returns an exit status */
int front_verify(struct front *front);
int front_check(struct front *front);
int front_copy_in(struct front *front, const char *file);
int front_copy_out(struct front *front, const char *file);
int front_request(struct front *front, int argc, char **argv);
int front_faults(struct front *front, int argc, char **argv);
int front_log(struct front *front);
int front_bench(struct front *front);
int front_hold(struct front *front);
int front_ioctls(struct front *front);
int front_leftovers(struct front *front);
int front_orphans(struct front *front);
int front_ranges(struct front *front);

/* random numbers: xorshift64* */
uint64_t front_random(uint64_t *state);
uint64_t front_now_ns(void);

#endif
