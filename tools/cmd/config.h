/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_CONFIG_H
#define VBLK_CONFIG_H

#define CONFIG_DIR	"/etc/vblk"
#define CONFIG_SUFFIX	".conf"

/* attach-config.c */
int config_read(const char *path, char **text);
char *config_trim(char *word);

/* config-follow.c */
void config_follow(const char *old, const char *new);

#endif
