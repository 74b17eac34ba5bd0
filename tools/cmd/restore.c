// SPDX-License-Identifier: GPL-2.0-only
/*
 * vblk-restore: a backup put back, as an image that lies on no other.
 *
 *	chain - target - qemu-img convert - [qemu-img compare] - chain unchanged - durable - name
 *
 * All images of the backup are opened, locked and judged before anything is made. The target is that of a backup: a file
 * without a name until it is whole, or a device that is claimed. qemu-img gets our descriptors, and no names.
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach.h"
#include "backup/cancel.h"
#include "backup/source.h"
#include "backup/writes.h"
#include "backup/target.h"
#include "cmd.h"
#include "disk/layers.h"
#include "err.h"
#include "out-chain.h"
#include "out.h"
#include "size.h"

#define CONFIG_DIR	"/etc/vblk/"

/* Of qemu-img compare */
#define STATUS_DIFFERS	1

static const char help[] =
"Usage: vblk-restore [OPTION...] BACKUP TARGET\n"
"\n"
"Put a backup back, with all that it lies on: to a new image, which lies on no\n"
"other, or to a block device. TARGET may be the name of a disk that is not\n"
"attached and has a configuration, /etc/vblk/NAME.conf: its image.\n"
"\n"
"      --from FORMAT      of BACKUP: qcow2, the default, or raw\n"
"      --format FORMAT    of TARGET: qcow2, the default, or raw\n"
"      --backing PATH     a file that an image of the chain may lie on\n"
"      --no-backing       refuse a backup that lies on any\n"
"      --bandwidth SIZE   bytes a second at most\n"
"      --verify           read what was written, and compare it\n"
"      --force            over a file that is there, or what is on a device\n"
"      --as-is            also of a backup that is damaged, or was changed\n"
"      --json             print JSON\n"
"  -h, --help             print this\n";

enum option_id {
	OPT_FROM = 0x100,
	OPT_FORMAT,
	OPT_BACKING,
	OPT_NO_BACKING,
	OPT_BANDWIDTH,
	OPT_VERIFY,
	OPT_FORCE,
	OPT_AS_IS,
	OPT_JSON,
};

static const struct option options[] = {
	{ "from", required_argument, NULL, OPT_FROM },
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "backing", required_argument, NULL, OPT_BACKING },
	{ "no-backing", no_argument, NULL, OPT_NO_BACKING },
	{ "bandwidth", required_argument, NULL, OPT_BANDWIDTH },
	{ "verify", no_argument, NULL, OPT_VERIFY },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "as-is", no_argument, NULL, OPT_AS_IS },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' },
	{}
};

/**
 * struct args - the command line
 * @from: format of the backup
 * @format: of the target
 * @policy: what its chain may have in it
 * @bandwidth: bytes a second, or 0
 * @verifies: compare what was written
 * @force: over what is there
 * @as_is: also of a backup that is damaged, or was changed
 * @as_json: print JSON
 * @help: print the help
 */
struct args {
	enum image_format from;
	const char *format;
	struct backing_policy policy;
	uint64_t bandwidth;
	bool verifies;
	bool force;
	bool as_is;
	bool as_json;
	bool help;
};

/**
 * struct restore - one on its way
 * @args: the command line
 * @source: the backup
 * @t: the target
 * @shows_progress: somebody looks
 */
struct restore {
	const struct args *args;
	struct source source;
	struct target t;
	bool shows_progress;
};

static int parse_bandwidth(struct args *args)
{
	int ret = bandwidth_parse(optarg, &args->bandwidth);

	/* More is nothing that qemu-img takes. */
	if (ret || args->bandwidth <= INT64_MAX)
		return ret;
	return err_report(VBLK_USAGE, "--bandwidth", "too much");
}

static int parse_option(struct args *args, int opt)
{
	switch (opt) {
	case OPT_FROM:
		args->from = image_format_find(optarg);
		return args->from ? VBLK_OK : err_report(VBLK_USAGE, "--from", "qcow2 or raw");
	case OPT_FORMAT:
		args->format = optarg;
		return image_format_find(optarg) ? VBLK_OK :
		       err_report(VBLK_USAGE, "--format", "qcow2 or raw");
	case OPT_BACKING:
		if (args->policy.nr_allowed == MAX_CHAIN)
			return err_report(VBLK_USAGE, "--backing", "given too often");
		return backing_allow(&args->policy, optarg);
	case OPT_NO_BACKING:
		args->policy.is_none = true;
		return VBLK_OK;
	case OPT_BANDWIDTH:
		return parse_bandwidth(args);
	case OPT_VERIFY:
		args->verifies = true;
		return VBLK_OK;
	case OPT_FORCE:
		args->force = true;
		return VBLK_OK;
	case OPT_AS_IS:
		args->as_is = true;
		return VBLK_OK;
	case OPT_JSON:
		args->as_json = true;
		return VBLK_OK;
	case 'h':
		args->help = true;
		return VBLK_OK;
	default:
		return VBLK_USAGE;
	}
}

static int parse(struct args *args, int argc, char **argv)
{
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		ret = parse_option(args, opt);
		if (ret)
			return ret;
	}
	if (!args->help && optind + 2 != argc)
		return err_report(VBLK_USAGE, NULL, "needs a BACKUP and a TARGET");
	if (args->policy.is_none && args->policy.nr_allowed)
		return err_report(VBLK_USAGE, "--no-backing", "goes without --backing");
	return VBLK_OK;
}

static int report_attached(const char *name)
{
	err_report(VBLK_BUSY, name, "it is attached");
	err_hint_command("vblk-detach", name, NULL);
	return VBLK_BUSY;
}

/* A word may be the name of a disk; @target: set to the path. */
static int find_target(const char *arg, const char **target)
{
	char path[sizeof(CONFIG_DIR) + NAME_MAX + 8];
	struct attach a = { .config = path };
	struct dmdev d;

	*target = arg;
	if (strchr(arg, '/') || strlen(arg) > NAME_MAX)
		return VBLK_OK;
	if (dmdev_find_name(arg, &d) == 0 && dmdev_is_ours(&d))
		return report_attached(arg);
	snprintf(path, sizeof(path), CONFIG_DIR "%s.conf", arg);
	if (access(path, F_OK) < 0)
		return VBLK_OK;
	if (attach_read_config(&a))
		return VBLK_USAGE;
	if (a.policy.data_file)
		return err_report(VBLK_UNSUPPORTED, path, "data-file= does not go with what is restored");
	*target = a.image_arg;
	return VBLK_OK;
}

/* The copy */

static int check_apart(const struct restore *r)
{
	struct stat st;

	if (stat(r->t.name, &st) < 0)
		return VBLK_OK;
	for (size_t i = 0; i < r->source.chain.n; i++)
		if (image_is_same(&r->source.chain.images[i]->st, &st))
			return err_report(VBLK_BUSY, r->t.name, "it is an image of the backup");
	return VBLK_OK;
}

static bool is_raw_device(const struct target *t)
{
	return t->kind == TARGET_DEVICE && !strcmp(t->format, "raw");
}

/* What is read or written in one go goes past the page cache: nobody reads it soon. */
static const char *cache_mode(bool has_direct_io)
{
	return has_direct_io ? "none" : "writeback";
}

static int convert(struct restore *r)
{
	char path[TARGET_PATH_BYTES], rate[24];
	const char *argv[20] = {
		"qemu-img", "convert", "-T", cache_mode(source_has_direct_io(&r->source)),
		"-t", cache_mode(target_has_direct_io(&r->t)), "-O", r->t.format,
	};
	uint64_t before;
	size_t n = 8;
	int ret;

	if (r->shows_progress)
		argv[n++] = "-p";
	/* What was there does not read as zero. */
	if (is_raw_device(&r->t))
		argv[n++] = "-n";
	if (r->args->bandwidth) {
		snprintf(rate, sizeof(rate), "%ju", (uintmax_t)r->args->bandwidth);
		argv[n++] = "-r";
		argv[n++] = rate;
	}
	target_fd_path(&r->t, path);
	argv[n++] = r->source.text;
	argv[n++] = path;
	before = writes_count(r->t.fd);
	ret = child_run(argv);
	r->t.is_touched = writes_were_made(r->t.fd, before);
	return ret;
}

/* A raw one on a larger device ends where the disk does. */
static char *describe_target(const struct target *t)
{
	json_object *o = json_object_new_object(), *file = json_object_new_object();
	char path[TARGET_PATH_BYTES], *text;

	target_fd_path(t, path);
	json_object_object_add(file, "driver", json_object_new_string(t->kind == TARGET_DEVICE ?
								      "host_device" : "file"));
	json_object_object_add(file, "filename", json_object_new_string(path));
	json_object_object_add(o, "driver", json_object_new_string(t->format));
	json_object_object_add(o, "file", file);
	if (!strcmp(t->format, "raw"))
		json_object_object_add(o, "size", json_object_new_int64(t->bytes));
	if (asprintf(&text, "json:%s", json_object_to_json_string(o)) < 0)
		text = NULL;
	json_object_put(o);
	return text;
}

static int verify(struct restore *r)
{
	char *copy = describe_target(&r->t);
	const char *argv[] = {
		"qemu-img", "compare", r->shows_progress ? "-p" : "-q", "-T",
		cache_mode(target_has_direct_io(&r->t) && source_has_direct_io(&r->source)),
		r->source.text, copy, NULL
	};
	int status, ret;

	if (!copy)
		return err_errno(ENOMEM, r->t.name, "cannot compare it");
	ret = child_run_status(argv, &status);
	free(copy);
	if (ret)
		return ret;
	if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_DIFFERS)
		return err_report(VBLK_DAMAGED, r->t.name, "differs from the backup");
	return child_report(argv[0], status);
}

/* What changes from here on, the next backup need copy alone. */
static int begin_bitmap(const struct restore *r)
{
	char path[TARGET_PATH_BYTES];
	int ret;

	if (!*r->source.mark.token || r->source.is_doubtful || strcmp(r->t.format, "qcow2") != 0)
		return VBLK_OK;
	target_fd_path(&r->t, path);
	ret = mark_begin_bitmap(r->t.fd, path, r->t.name, &r->source.mark);
	/* The disk is there, whole. */
	if (ret && !cancel_asked()) {
		err_warn(r->t.name, "it does not go on from the backup: the next one copies all");
		ret = VBLK_OK;
	}
	return ret;
}

static int copy(struct restore *r)
{
	int ret;

	ret = check_apart(r);
	if (!ret)
		ret = target_claim(&r->t);
	if (ret)
		return ret;
	ret = target_check_apart(&r->t, &r->source.chain);
	if (!ret)
		ret = target_take_owner(&r->t);
	if (!ret)
		ret = convert(r);
	if (!ret && r->args->verifies)
		ret = verify(r);
	if (!ret)
		ret = source_check_still(&r->source);
	if (!ret)
		ret = begin_bitmap(r);
	if (!ret)
		ret = target_take_mode(&r->t);
	if (!ret)
		return target_place(&r->t);
	target_abandon(&r->t);
	return ret;
}

/* Whatever is below came from names in headers: who restores is told what that was. */
static int print_layers(const struct restore *r, const struct layers *layers)
{
	char size[16];
	json_object *o;

	if (r->args->as_json) {
		o = json_object_new_object();
		json_object_object_add(o, "backup", json_object_new_string(r->source.img.arg));
		json_object_object_add(o, "target", json_object_new_string(r->t.name));
		json_object_object_add(o, "format", json_object_new_string(r->t.format));
		json_object_object_add(o, "size_bytes", out_bytes_json(r->t.bytes));
		json_object_object_add(o, "chain", out_layers_json(layers));
		out_json(o);
	} else {
		out_format_bytes(r->t.bytes, size, sizeof(size));
		printf("image: %s\nsize:  %s\n", r->t.name, size);
		for (size_t i = 1; i < layers->n; i++)
			out_path("below: ", layers->list[i].path);
	}
	return out_flush();
}

static int print_result(const struct restore *r)
{
	struct layers layers = {};
	int err = layers_of_chain(&r->source.chain, &layers), ret;

	ret = err ? err_errno(-err, r->t.name, "it is restored, and cannot be told of") :
		    print_layers(r, &layers);
	layers_free(&layers);
	return ret;
}

static int restore(const struct args *args, const char *backup, const char *target)
{
	struct restore r = {
		.args = args,
		.source = { .policy = &args->policy, .as_is = args->as_is, .img.fd = -1 },
		.t = { .format = args->format, .force = args->force },
		.shows_progress = isatty(STDERR_FILENO),
	};
	int ret;

	ret = find_target(target, &r.t.name);
	if (ret)
		return ret;
	ret = source_open(&r.source, backup, args->from, r.t.name);
	r.t.disk = backup;
	/* QEMU's disks have whole sectors. */
	r.t.bytes = (r.source.img.virtual_bytes + 511) & ~511ULL;
	if (!ret)
		ret = copy(&r);
	if (!ret)
		ret = print_result(&r);
	source_close(&r.source);
	return ret;
}

/** cmd_restore() - the verb */
int cmd_restore(int argc, char **argv)
{
	struct args args = {
		.from = IMAGE_QCOW2, .format = "qcow2", .policy = { .program = "vblk-restore", .is_for_program = true },
	};
	int ret;

	ret = parse(&args, argc, argv);
	if (ret)
		return ret == VBLK_USAGE ? cmd_usage_error("restore") : ret;
	if (args.help) {
		fputs(help, stdout);
		return out_flush();
	}
	/* A host to which a backup comes back need not have any disks. */
	dmdev_be_quiet();
	cancel_init();
	return restore(&args, argv[optind], argv[optind + 1]);
}
