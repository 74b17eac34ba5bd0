# SPDX-License-Identifier: GPL-2.0-only
# vblk: qcow2 images for virtual machines, served inside the kernel.  "make help" lists the verbs.

TOP	:= $(CURDIR)
BUILD	:= $(TOP)/build
Q	:= $(if $(V),,@)

# The kernel to build for and to test on.  KDIR= alone names any build tree; KERNEL=debug is the one of
# "make debug-kernel", KERNEL=um that of "make um-kernel"; otherwise it is the newest one of at least 6.12
# whose headers are here.
ifdef KDIR
KVER	?= $(shell cat $(KDIR)/include/config/kernel.release)
else ifneq ($(filter debug um,$(KERNEL)),)
KVER	:= $(shell scripts/kernel $(KERNEL))
else
KVER	?= $(shell scripts/kernel newest)
endif
KDIR	?= $(BUILD)/kernels/$(KVER)/kdir
FARM	:= $(BUILD)/$(KVER)
export KVER KDIR
# Before a make that is to choose another kernel: it would take for an order what this one has chosen itself.
AFRESH	:= env $(foreach name,KVER KDIR,$(if $(filter file,$(origin $(name))),-u $(name)))
ifneq ($(filter %-um,$(KVER)),)
export ARCH := um
endif

all: modules tools

kernel:
	$(Q)scripts/kernel prepare "$(KVER)"

# A kernel of another suite is built for where its compiler is: see scripts/suite-kernel.
ENTER	:= $(wildcard $(BUILD)/kernels/$(KVER)/enter)
export ENTER

# Modules are built in a tree of symbolic links, one per kernel, so the source tree stays clean and
# builds for several kernels live side by side.
MODULES	?= vhost-blk dm-qcow2

modules: $(MODULES)

$(MODULES): farm
	$(Q)$(ENTER) $(MAKE) -C $(KDIR) M=$(FARM)/$@ MO=$(FARM)/$@ W=1 $(if $(V),,-s) modules

farm: kernel
	$(Q)scripts/farm $(FARM)

vhost-blk: $(FARM)/generated/vhost.h

# A build tree made from source has the header itself; for others it comes out of their BTF.
VHOST_H	?= $(if $(wildcard $(KDIR)/source/drivers/vhost/vhost.h),$(KDIR)/source)

$(FARM)/generated/vhost.h: scripts/vhost-header | farm
	$(Q)mkdir -p $(@D)
	$(Q)VHOST_H=$(VHOST_H) $(ENTER) scripts/vhost-header $(KDIR) $@

tools:
	$(Q)$(MAKE) -C tools O=$(BUILD)/tools TOP=$(TOP) $(if $(V),,-s)

# In the environment, as on the command line O= would reach every kbuild below.
tests:
	$(Q)mkdir -p $(BUILD)/tests
	$(Q)set -e; for m in $(wildcard tests/*/Makefile); do \
		O=$(BUILD)/tests TOP=$(TOP) $(MAKE) -C $$(dirname $$m) $(if $(V),,-s); done

# The nested guest that tests start inside the VM.
guest-image: kernel
	$(Q)tests/vm/guest-image $(BUILD)/guest

# For the kernel that KVER names; signing, if it is wanted, is up to modules_install.
install: modules tools
	$(Q)set -e; for m in $(MODULES); do \
		$(MAKE) -C $(KDIR) M=$(FARM)/$$m INSTALL_MOD_DIR=updates modules_install; done
	$(Q)install -D -m 644 packaging/systemd/modules-load.conf $(DESTDIR)/etc/modules-load.d/vblk.conf
	$(Q)$(MAKE) -C tools O=$(BUILD)/tools TOP=$(TOP) install

deps:
	$(Q)scripts/deps

# Packages, in a copy of the tree.
deb:
	$(Q)packaging/deb

rpm:
	$(Q)packaging/rpm

# The packages come first: only then is it known which kernel there is.
check: deps
	$(Q)$(MAKE) -s run-tests RUNFLAGS="$(RUNFLAGS)"

# The longest check: every test on the stock kernel, those of "make check" on the user-mode debug kernel, and those of
# them that need several processors on the emulated one, which takes ten times as long.
check-full: deps um-kernel debug-kernel
	$(Q)$(AFRESH) $(MAKE) -s run-tests RUNFLAGS="--full $(RUNFLAGS)"
	$(Q)$(AFRESH) $(MAKE) -s run-tests KERNEL=um
	$(Q)$(AFRESH) $(MAKE) -s run-tests KERNEL=debug RUNFLAGS=--smp

# The newest kernels of other suites: downloaded, built for and tried.
check-kernels: deps
	$(Q)$(AFRESH) scripts/check-kernels $(SUITES)

demo: deps
	$(Q)demo/run

# What an I/O costs, how many there are in a second, and what many disks cost. Rows belong to one kind.
KIND	?= $(if $(filter density,$(ROWS)),density,cost $(if $(ROWS),,throughput))

bench: deps
	$(Q)set -e; for kind in $(KIND); do \
		case $$kind in \
		cost) run=tests/bench/run ;; \
		throughput) run=tests/bench/throughput/run ;; \
		density) tests/bench/density $(BENCHFLAGS); continue ;; \
		*) echo "make bench: KIND is cost, throughput or density" >&2; exit 2 ;; \
		esac; \
		$$run $(if $(ROWS),,--plot) $(BENCHFLAGS) $(ROWS); \
	done

# The rows that the modules answer for, against the figures in the tree.
bench-check: deps
	$(Q)tests/bench/run --check $(ROWS)

run-tests:
	$(Q)tests/run $(RUNFLAGS) $(T)

lint:
	$(Q)scripts/lint

debug-kernel:
	$(Q)scripts/debug-kernel

um-kernel:
	$(Q)scripts/debug-kernel um

# QEMU with a fault mended that nested guests in an emulated VM crash of.
emulator:
	$(Q)scripts/emulator

clean:
	$(Q)rm -rf $(BUILD)/[0-9]* $(BUILD)/tools $(BUILD)/tests $(BUILD)/guest $(BUILD)/vm $(BUILD)/logs $(BUILD)/run.* \
		$(BUILD)/deb $(BUILD)/rpm

# A tree of another suite whose making was killed may still have file systems of this machine mounted.
distclean:
	$(Q)rm -rf --one-file-system $(BUILD)

help:
	@echo 'make               build the modules and the tools for the newest kernel >= 6.12 with headers here'
	@echo 'make install       install both, the modules for KVER'
	@echo 'make deb           build Debian packages in build/deb; make rpm: RPM packages in build/rpm'
	@echo 'make check         run the tests in a virtual machine (T=GROUP/NAME, a glob or a GROUP: only these)'
	@echo 'make demo          run a guest on a qcow2 image through vhost-blk, all inside a virtual machine'
	@echo 'make bench         what an I/O costs, and throughput, against dm-linear, loop, QEMU and others'
	@echo '                   (KIND=cost or KIND=throughput: one of them; and ROWS=GLOB...: only these rows of it)'
	@echo 'make bench-check   fail if an I/O has become dearer by more than 2 %, by the record in tests/bench'
	@echo 'make check-full    the longest tests too, and those of "make check" on kernels that look for mistakes'
	@echo 'make check-kernels the kernels of newer Debian suites: build for each, attach, verify (SUITES=...: only these)'
	@echo 'make emulator      build a QEMU for the virtual machine: nested guests do not crash now and then, many slow processors'
	@echo 'make lint          check the source without running it'
	@echo 'make clean         remove what was built, but keep downloaded kernels (distclean: all)'
	@echo 'KERNEL=debug       use the kernel of "make debug-kernel"; KERNEL=um: of "make um-kernel"'
	@echo 'KVER=RELEASE or KDIR=DIR: another kernel.  V=1: show the commands.'

.PHONY: all lint debug-kernel um-kernel emulator kernel modules tools tests guest-image install deb rpm deps check check-full check-kernels demo bench bench-check run-tests farm $(MODULES) clean distclean help
