/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_CMD_H
#define VBLK_CMD_H

/**
 * struct verb - what a vblk program does
 * @name: of the verb
 * @run: does it, and returns an exit code; NULL: the program vblk-VERB beside this one does
 * @summary: what it is for
 */
struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
};

/* Of this program, up to one without a name. */
extern const struct verb program_verbs[];

int cmd_attach(int argc, char **argv);
int cmd_backup(int argc, char **argv);
int cmd_bitmap(int argc, char **argv);
int cmd_commit(int argc, char **argv);
int cmd_control(int argc, char **argv);
int cmd_detach(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_flatten(int argc, char **argv);
int cmd_freeze(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_resize(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_snapshot(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_thaw(int argc, char **argv);
int cmd_top(int argc, char **argv);
void cmd_block_signals(void);
int cmd_usage_error(const char *verb);

#endif
