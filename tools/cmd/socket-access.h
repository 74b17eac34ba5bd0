/* SPDX-License-Identifier: GPL-2.0-only */
/* Options that say whose a socket is. */
#ifndef VBLK_SOCKET_ACCESS_H
#define VBLK_SOCKET_ACCESS_H

#include <sys/types.h>

int socket_parse_owner(const char *text, uid_t *uid);
int socket_parse_group(const char *text, gid_t *gid);
int socket_parse_mode(const char *text, unsigned int *mode);

#endif
