/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VBLK_COMMANDS_H
#define VBLK_COMMANDS_H

#include <json-c/json.h>

json_object *commands_answer(void *server, json_object *request);

#endif
