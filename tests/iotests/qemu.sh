#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# qemu.sh [OPTION...]: what QEMU's tests find as its system emulator, where that has no accelerator "qtest", which runs
# no guest. The guest then runs, with no system to boot. Needs $IOTESTS_QEMU, the program.
set -u

options=()
for option; do
	[ "$option" != qtest ] || [ "${options[-1]:-}" != -accel ] || option=tcg
	options+=("$option")
done
exec -a "$0" "$IOTESTS_QEMU" "${options[@]}"
