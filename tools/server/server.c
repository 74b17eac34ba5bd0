// SPDX-License-Identifier: GPL-2.0-only
/*
 * The server of one disk: a process that listens on the vhost-user socket and
 * hands each front-end to a session, one at a time. It never sees a request.
 *
 * The claim on NAME.pid says that it lives, so killing it leaves nothing that
 * has to be cleaned up before another one takes over.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/err.h"
#include "commands.h"
#include "disk.h"
#include "serve.h"
#include "server.h"
#include "vhost-user/kernel.h"
#include "vhost-user/peer.h"
#include "vhost-user/session.h"

#define SOCKET_GROUP	"kvm"

/* A predecessor that was killed listens until its last request is done. */
#define SOCKET_WAIT_MS	60000
#define SOCKET_POLL_MS	20

/**
 * server_check() - can a disk be served on this host?
 *
 * Return: an exit code; what is wrong has been reported.
 */
int server_check(void)
{
	uint64_t features;
	int err = vhost_kernel_features(&features);
	int ret;

	if (!err)
		return VBLK_OK;
	if (err == -ENOENT || err == -ENODEV || err == -ENXIO) {
		ret = err_report(VBLK_NOT_FOUND, "vhost_blk",
				 "the kernel module is not loaded");
		err_hint("modprobe vhost_blk, or vblk-attach --no-vhost");
		return ret;
	}
	return err_errno(-err, "/dev/vhost-blk", "cannot use it");
}

static void make_address(const char *path, struct sockaddr_un *sun)
{
	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, path,
	       strnlen(path, sizeof(sun->sun_path) - 1));
}

/* Whatever is not refused, also a socket of another type, is somebody's. */
static bool is_in_use(const char *path)
{
	struct sockaddr_un sun;
	int fd, err;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return true;
	make_address(path, &sun);
	err = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ? errno : 0;
	close(fd);
	return err != ECONNREFUSED && err != ENOENT;
}

/** server_owns_socket() - is this path the disk's alone, as its name is? */
bool server_owns_socket(const char *name, const char *path)
{
	char own[PATH_MAX];

	snprintf(own, sizeof(own), STATE_DIR "/%s.sock", name);
	return !strcmp(own, path);
}

static int check_socket(const char *path, const struct stat *st)
{
	return S_ISSOCK(st->st_mode) ? VBLK_OK :
	       err_report(VBLK_BUSY, path, "socket path in use: not a socket");
}

static int report_listener(const char *path)
{
	return err_report(VBLK_BUSY, path, "socket path in use: a process listens on it");
}

/* @path: where nothing is */
static int check_directory(const char *path)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", path);
	return faccessat(AT_FDCWD, dirname(dir), W_OK | X_OK, AT_EACCESS) < 0 ?
	       err_errno(errno, path, "cannot create the socket") : VBLK_OK;
}

/**
 * server_check_socket() - whether a socket can be made there
 * @name: the disk
 *
 * As server_unlink_socket(), and nothing is removed. Return: an exit code; what is wrong has been reported.
 */
int server_check_socket(const char *name, const char *path)
{
	struct stat st;
	int ret;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? check_directory(path) :
			err_errno(errno, path, "cannot use it as a socket");
	ret = check_socket(path, &st);
	if (!ret && !server_owns_socket(name, path) && is_in_use(path))
		ret = report_listener(path);
	return ret;
}

/**
 * server_unlink_socket() - remove the socket that a killed server left
 * @name: the disk; its claim is held by the caller
 * @path: the socket
 * @wait_ms: how long somebody may go on listening
 * @stop_fd: readable when the wait is to end, or -1
 *
 * A process that dies loses its claim first and its socket last, after the wait
 * for its requests. Under the disk's own path that is nobody else's socket; for
 * another path there is nothing but to see whether it goes.
 *
 * Return: an exit code; what is wrong has been reported.
 */
int server_unlink_socket(const char *name, const char *path, int wait_ms,
			 int stop_fd)
{
	struct pollfd stop = { .fd = stop_fd, .events = POLLIN };
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? VBLK_OK :
			err_errno(errno, path, "cannot use it as a socket");
	if (check_socket(path, &st))
		return VBLK_BUSY;
	while (!server_owns_socket(name, path) && is_in_use(path)) {
		if (wait_ms <= 0 || poll(&stop, 1, SOCKET_POLL_MS) > 0)
			return report_listener(path);
		wait_ms -= SOCKET_POLL_MS;
	}
	if (unlink(path) < 0 && errno != ENOENT)
		return err_errno(errno, path, "cannot remove the old socket");
	return VBLK_OK;
}

/* Those who may use KVM, unless somebody was named. */
static gid_t socket_gid(const struct serving *serving)
{
	struct group *group;

	if (serving->socket_gid != SOCKET_ID_UNSET)
		return serving->socket_gid;
	group = getgrnam(SOCKET_GROUP);
	return group ? group->gr_gid : getegid();
}

/* The ids that new files get; the rights of root are kept. */
static int assume_ids(uid_t uid, gid_t gid)
{
	setfsgid(gid);
	setfsuid(uid);
	/* They return what was there before, and fail silently. */
	return (gid_t)setfsgid(-1) == gid && (uid_t)setfsuid(-1) == uid ? 0 :
		-EPERM;
}

/*
 * Bind so that the socket is from its first moment for those who are to use it.
 * Nothing is done to it by name afterwards: in somebody else's directory the name
 * may be another file's by then.
 */
static int bind_for_user(int fd, const struct sockaddr_un *sun,
			 const struct serving *serving)
{
	uid_t uid = serving->socket_uid == SOCKET_ID_UNSET ? geteuid() :
							     serving->socket_uid;
	int bits = prctl(PR_GET_SECUREBITS);
	mode_t mask;
	int err;

	/* Else another's ids would cost root the right to write to a directory. */
	if (uid != geteuid() &&
	    (bits < 0 ||
	     prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP) < 0))
		return -errno;
	err = assume_ids(uid, socket_gid(serving));
	mask = umask(0777 & ~serving->socket_mode);
	if (!err && bind(fd, (const struct sockaddr *)sun, sizeof(*sun)) < 0)
		err = -errno;
	umask(mask);
	assume_ids(geteuid(), getegid());
	if (uid != geteuid())
		prctl(PR_SET_SECUREBITS, bits);
	return err;
}

/**
 * server_listen() - bind a socket, and listen on it
 * @fd: the socket
 * @serving: where it is to be, and whose
 *
 * Return: 0 or -errno.
 */
int server_listen(int fd, const struct serving *serving)
{
	const char *path = serving->socket;
	struct sockaddr_un sun;
	int err;

	make_address(path, &sun);
	err = bind_for_user(fd, &sun, serving);
	if (err)
		return err;
	if (listen(fd, 1) == 0)
		return 0;
	err = -errno;
	unlink(path);
	return err;
}

static int open_listener(struct server *s, bool takes_over)
{
	const char *name = s->serving.name, *path = s->serving.socket;
	int err, ret;

	ret = server_unlink_socket(name, path, takes_over ? SOCKET_WAIT_MS : 0,
				   s->signals);
	if (ret)
		return ret;
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			     0);
	if (s->listener < 0)
		return err_errno(errno, path, "cannot create the socket");
	err = server_listen(s->listener, &s->serving);
	if (!err)
		return VBLK_OK;
	close(s->listener);
	return err_errno(-err, path, "cannot create the socket");
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int claim(struct server *s)
{
	const char *name = s->serving.name;

	s->claim = state_claim(name);
	if (s->claim == -EAGAIN)
		return err_report(VBLK_BUSY, name, "it has a server already");
	if (s->claim < 0)
		return err_errno(-s->claim, STATE_DIR, "cannot write");
	return VBLK_OK;
}

/*
 * A worker has the scheduling policy of the thread that makes it. Under
 * SCHED_BATCH it does not stop a virtual CPU that kicks it on its own CPU: the
 * guest goes on until it waits, and all its requests are served at once.
 */
static int set_policy(const struct serving *serving, const char *name)
{
	static const struct sched_param no_priority;

	if (!serving->batch || !sched_setscheduler(0, SCHED_BATCH, &no_priority))
		return VBLK_OK;
	return err_errno(errno, name, "cannot set the scheduling policy");
}

/*
 * A guest that runs goes on with what it was offered. One that was offered something which this
 * host has not any more is served nothing: it may rely on that.
 */
static int settle_offer(struct server *s)
{
	struct offer *offer = &s->serving.offer;
	uint64_t lacks = offer->features & ~s->disk.features;
	int err;

	if (offer->is_known && offer_keep(offer, &s->disk))
		return err_report(VBLK_UNSUPPORTED, s->disk.name,
				  "the guest was offered features that this host has not: 0x%jx",
				  (uintmax_t)lacks);
	if (offer->is_known)
		return VBLK_OK;
	offer_take(offer, &s->disk);
	err = state_set_offer(s->serving.name, offer);
	/* A server that nobody could replace keeps no file. */
	return err && err != -ENOENT ? err_errno(-err, STATE_DIR, "cannot write") : VBLK_OK;
}

/* A guest is served without it, too. */
static void open_control(struct server *s)
{
	int err;

	s->control.answer = commands_answer;
	s->control.let_go = commands_let_go;
	s->control.arg = s;
	err = control_open(&s->control, s->serving.name);
	if (!err)
		return;
	err_errno(-err, s->serving.name, "no control socket");
	control_close(&s->control);
}

/**
 * server_open() - get ready to serve a disk in this process
 * @d: the device
 * @serving: how; copied
 * @takes_over: the disk had a server before, which may not be quite gone
 * @server: set on success; server_close() is due
 *
 * Return: an exit code; what is wrong has been reported.
 */
int server_open(const struct dmdev *d, const struct serving *serving,
		bool takes_over, struct server **server)
{
	struct server *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return err_report(VBLK_FAILED, d->name, "out of memory");
	s->serving = *serving;
	s->conn = -1;
	ret = set_policy(serving, d->name);
	if (ret)
		goto err_free;
	ret = claim(s);
	if (ret)
		goto err_free;
	ret = disk_open(&s->disk, d, &s->serving);
	if (ret)
		goto err_claim;
	ret = settle_offer(s);
	if (ret)
		goto err_disk;
	s->signals = open_signals();
	if (s->signals < 0) {
		ret = err_errno(errno, d->name, "cannot watch for signals");
		goto err_disk;
	}
	ret = open_listener(s, takes_over);
	if (ret)
		goto err_signals;
	open_control(s);
	s->trouble.claim = s->claim;
	s->trouble.show = state_set_problem;
	s->trouble.object = s->serving.socket;
	*server = s;
	return VBLK_OK;

err_signals:
	close(s->signals);
err_disk:
	disk_close(&s->disk);
err_claim:
	close(s->claim);
err_free:
	free(s);
	return ret;
}

static void end_session(struct server *s)
{
	if (!s->session)
		return;
	vhost_user_free(s->session);
	s->session = NULL;
	s->conn = -1;
	state_set_guest(s->claim, 0);
}

/** server_close() - stop serving; waits for the guest's requests */
void server_close(struct server *s)
{
	unlink(s->serving.socket);
	close(s->listener);
	control_close(&s->control);
	end_session(s);
	close(s->signals);
	disk_close(&s->disk);
	close(s->claim);
	free(s);
}

static bool has_hung_up(int conn)
{
	struct pollfd p = { .fd = conn, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP);
}

static void accept_front_end(struct server *s)
{
	int conn = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

	if (conn < 0)
		return;
	/* The next guest may come before we have seen the last one go. */
	if (s->session && has_hung_up(s->conn))
		end_session(s);
	if (s->session) {
		trouble_log(&s->trouble,
			    "refused process %d: another one is connected",
			    vhost_peer_pid(conn));
		close(conn);
		return;
	}
	s->session = vhost_user_new(conn, &s->disk, s->signals, &s->trouble);
	if (!s->session) {
		close(conn);
		return;
	}
	s->conn = conn;
	vhost_user_set_paused(s->session, commands_want_pause(s));
	state_set_guest(s->claim, vhost_peer_pid(conn));
}

static void serve_front_end(struct server *s)
{
	int err = vhost_user_handle(s->session);

	if (!err)
		return;
	if (err != -ECONNRESET)
		trouble_log(&s->trouble, "dropped process %d: %s",
			    vhost_peer_pid(s->conn), strerror(-err));
	end_session(s);
}

/* The earlier of two timeouts for poll() */
static int earlier(int a_ms, int b_ms)
{
	if (a_ms < 0 || b_ms < 0)
		return a_ms < 0 ? b_ms : a_ms;
	return a_ms < b_ms ? a_ms : b_ms;
}

/**
 * server_run() - serve until a signal says stop, or somebody on the control socket
 *
 * Return: an exit code.
 */
int server_run(struct server *s)
{
	enum { SIGNALS, LISTENER, CONN, CONTROL, NR = CONTROL + CONTROL_MAX_FDS };
	struct pollfd fds[NR];
	size_t controls;
	int n;

	while (!s->has_to_stop) {
		fds[SIGNALS] = (struct pollfd){ s->signals, POLLIN, 0 };
		fds[LISTENER] = (struct pollfd){ s->listener, POLLIN, 0 };
		fds[CONN] = (struct pollfd){ s->conn, POLLIN, 0 };
		controls = control_poll_fds(&s->control, fds + CONTROL);
		n = poll(fds, CONTROL + controls,
			 earlier(control_timeout_ms(&s->control), s->session ?
				 vhost_user_timeout_ms(s->session) : -1));
		if (n < 0 && errno != EINTR)
			return err_errno(errno, s->serving.socket,
					 "cannot wait for messages");
		if (s->session)
			vhost_user_check(s->session);
		if (n < 0)
			continue;
		if (fds[SIGNALS].revents)
			return VBLK_OK;
		if (fds[CONN].revents)
			serve_front_end(s);
		if (fds[LISTENER].revents)
			accept_front_end(s);
		control_serve(&s->control, fds + CONTROL, controls);
	}
	return VBLK_OK;
}

static void leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR);

	err_use_syslog();
	setsid();
	if (chdir("/") < 0 || null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	close(null);
}

/* Only the standard streams and the pipe: the image's locks must not stay. */
static int keep_only(int fd)
{
	const int first = STDERR_FILENO + 1;

	if (fd != first && dup2(fd, first) < 0)
		return -1;
	if (syscall(SYS_close_range, first + 1, ~0U, 0) < 0)
		return -1;
	return first;
}

static void run_child(const struct dmdev *d, const struct serving *serving,
		      bool takes_over, int ready)
{
	struct server *s = NULL;
	int ret;

	dmdev_release();
	ready = keep_only(ready);
	if (ready < 0)
		exit(err_errno(errno, d->name, "cannot start the server"));
	ret = server_open(d, serving, takes_over, &s);
	if (!s)
		exit(ret);
	leave_terminal();
	if (write(ready, "", 1) != 1)
		ret = VBLK_FAILED;
	close(ready);
	if (!ret)
		ret = server_run(s);
	server_close(s);
	exit(ret);
}

static int wait_ready(pid_t pid, int ready)
{
	ssize_t n;
	int status;
	char byte;

	do
		n = read(ready, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return VBLK_OK;
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	    WEXITSTATUS(status) != VBLK_OK)
		return WEXITSTATUS(status);
	return err_report(VBLK_FAILED, NULL, "the server died at its start");
}

/**
 * server_start() - serve a disk in a new process
 * @d: the device
 * @serving: how
 * @takes_over: as for server_open()
 * @pid: set to the server's pid
 *
 * Return: an exit code, once the socket can be connected to; what is wrong has
 * been reported.
 */
int server_start(const struct dmdev *d, const struct serving *serving,
		 bool takes_over, pid_t *pid)
{
	int pipefd[2], ret;

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return err_errno(errno, d->name, "cannot start the server");
	*pid = fork();
	if (*pid == 0)
		run_child(d, serving, takes_over, pipefd[1]);
	close(pipefd[1]);
	if (*pid < 0)
		ret = err_errno(errno, d->name, "cannot start the server");
	else
		ret = wait_ready(*pid, pipefd[0]);
	close(pipefd[0]);
	if (ret)
		*pid = 0;
	return ret;
}
