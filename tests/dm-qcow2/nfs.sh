# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The kernel's NFS server, and its client on the same machine. Sourced after tests/lib/test.sh.

# nfs_export DIRECTORY: to this machine; fails if the kernel or the machine has no server, and says so.
nfs_export()
{
	if ! modprobe -q nfsd || ! modprobe -q nfs; then
		echo "nfs: not in this kernel"
		return 1
	fi
	requires rpc.nfsd rpc.mountd exportfs rpcbind mount.nfs
	NFS_EXPORT=$1
	mkdir -p /proc/fs/nfsd /run/sendsigs.omit.d /var/lib/nfs/v4recovery /run/lock
	mountpoint -q /proc/fs/nfsd || run mount -t nfsd nfsd /proc/fs/nfsd
	run install -d -o _rpc /run/rpcbind
	run ip link set lo up
	nfs_daemon rpcbind -f
	wait_until 30 rpcinfo -p 127.0.0.1
	run exportfs -i -o rw,no_root_squash,insecure,sync,no_subtree_check,fsid=0 "127.0.0.1:$1"
	cleanup exportfs -u "127.0.0.1:$1"
	nfs_daemon rpc.mountd --foreground
	run rpc.nfsd --host 127.0.0.1 2
	cleanup rpc.nfsd 0
	# Nobody has locks from before.
	echo Y >/proc/fs/nfsd/v4_end_grace
	wait_until 30 rpcinfo -t 127.0.0.1 mountd
}

# nfs_daemon COMMAND...: until the test ends.
nfs_daemon()
{
	echo "+ $* &" >&2
	"$@" &
	cleanup kill $!
}

# nfs_mount VERSION: sets NFS_MNT.
nfs_mount()
{
	NFS_MNT=$TMP/nfs-$1
	mkdir "$NFS_MNT"
	# nolock: to version 4 locks belong, and without a daemon version 3 has none.
	# The root of version 4, as the directories above it cannot be exported.
	if [ "$1" = 3 ]; then
		run mount -t nfs -o vers=3,proto=tcp,addr=127.0.0.1,nolock "127.0.0.1:$NFS_EXPORT" "$NFS_MNT"
	else
		run mount -t nfs -o "vers=$1,proto=tcp,addr=127.0.0.1" 127.0.0.1:/ "$NFS_MNT"
	fi
	cleanup umount "$NFS_MNT"
}
