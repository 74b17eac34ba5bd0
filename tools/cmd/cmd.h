/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_CMD_H
#define VBLK_CMD_H

int cmd_attach(int argc, char **argv);
int cmd_backup(int argc, char **argv);
int cmd_bitmap(int argc, char **argv);
int cmd_control(int argc, char **argv);
int cmd_detach(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_freeze(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_resize(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_snapshot(int argc, char **argv);
int cmd_thaw(int argc, char **argv);
void cmd_block_signals(void);
int cmd_usage_error(const char *verb);

#endif
