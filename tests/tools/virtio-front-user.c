// SPDX-License-Identifier: GPL-2.0-only
#include "virtio-front.h"
const struct front_transport front_user;
