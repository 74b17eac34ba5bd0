# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Which cells there are, a cell being a row and a workload. Needs tests/bench/workloads.sh.

ROWS=(
	ram linear raw-xfs raw-ext4 loop-xfs loop-ext4 qcow2-bdev qcow2-xfs qcow2-ext4 nbd-xfs
	qcow2-xfs-chain1 qcow2-xfs-chain8 qcow2-xfs-chain64 nbd-xfs-chain1 nbd-xfs-chain64 qcow2-xfs-overlays
	qcow2-xfs-zlib nbd-xfs-zlib
	qcow2-xfs-8g nbd-xfs-8g vhost-qcow2-xfs-8g qsd-xfs-8g qcow2-xfs-64g nbd-xfs-64g
	qcow2-bdev-bitmap qcow2-bdev-ext qcow2-xfs-ext-chain1 nbd-xfs-ext-chain1
	qcow2-bdev-data qcow2-bdev-1g qcow2-bdev-16t qcow2-ext4-full-1g qcow2-ext4-full-1t
	backup-xfs convert-xfs backup-xfs-raw convert-xfs-raw
	commit-xfs qemu-commit-xfs flatten-xfs qemu-flatten-xfs
	vhost-ram vhost-qcow2-bdev vhost-qcow2-xfs vhost-ram-4q vhost-qcow2-bdev-4q vhost-qcow2-xfs-4q
	guest-virtio-ram guest-virtio-ram-poll guest-vhost-ram guest-vhost-ram-batch
	guest-virtio-qcow2-xfs guest-virtio-qcow2-xfs-poll guest-vhost-qcow2-xfs guest-vhost-qcow2-xfs-batch
	guest-{virtio,vhost}-qcow2-xfs-chain8 guest-virtio-qcow2-xfs-chain8-poll guest-vhost-qcow2-xfs-chain8-batch
)

# has_cell ROW WORKLOAD: a device without an image has nothing to allocate; variants are there for what is mapped,
# those of size to be attached, and full ones to be written to first; copies are copies, and merges merges; chains are read, and the shortest one written to and
# attached; a nested guest is slow, and has what there is a target for.
has_cell()
{
	case $1/$2 in
	backup-*/copy|convert-*/copy) ;;
	commit-*/merge|flatten-*/merge|qemu-*/merge) ;;
	backup-*|convert-*|*/copy|commit-*|flatten-*|qemu-*|*/merge) return 1 ;;
	*-8g/discard-*|*-64g/zero-*) ;;
	*-8g/*|*-64g/*|*/discard-*|*/zero-*) return 1 ;;
	*-bitmap/randread-*|*-bitmap/attach) return 1 ;;
	*-full-*/first-write) ;;
	*-full-*|*/first-write) return 1 ;;
	*-ext/allocate-*|*-ext-*/allocate-seq-*|*-ext-*/attach|*-ext-*/randread-*) return 1 ;;
	guest-*/randread-qd32) ;;
	guest-*-chain*) return 1 ;;
	guest-*/overwrite-qd32) ;;
	guest-*) return 1 ;;
	*-chain*/randread-*|*-chain1/allocate-seq-*|*-chain1/allocate-flush32-*|qcow2-xfs-chain1/attach) ;;
	*-zlib/seqread-*|*-overlays/attach) ;;
	*-chain*|*-zlib/*|*-overlays/*|*/seqread-*|*/allocate-seq-*|*/allocate-flush32-*) return 1 ;;
	*-1g/attach|*-16t/attach) ;;
	*-ext/attach) return 1 ;;
	*/attach|virtio/allocate-*|ram/allocate-*|linear/allocate-*|vhost-ram/allocate-*|*-[0-9]*/allocate-*|*-data/allocate-*) return 1 ;;
	esac
}

# select_cells [GLOB...]: print those whose row, or ROW/WORKLOAD, matches one; without any, all but a nested guest's, which
# take as long as the others together.
select_cells()
{
	local row workload glob

	[ $# != 0 ] || set -- '[!g]*'
	for row in "${ROWS[@]}"; do
		for workload in "${WORKLOADS[@]}"; do
			has_cell "$row" "$workload" || continue
			for glob; do
				# shellcheck disable=SC2053 # it is a glob
				if [[ $row == $glob || $row/$workload == $glob ]]; then
					echo "$row/$workload"
					break
				fi
			done
		done
	done
}
