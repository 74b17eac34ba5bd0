# SPDX-License-Identifier: GPL-2.0-only
# The Makefile of the copy of the modules' source that DKMS and akmods build in: make KDIR=DIR.
ifndef KDIR
$(error KDIR= must name the kernel's build tree)
endif

modules: generated/vhost.h
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

generated/vhost.h: scripts/vhost-header
	mkdir -p $(@D)
	scripts/vhost-header $(KDIR) $@

clean:
	$(MAKE) -C $(KDIR) M=$(CURDIR) clean
	rm -rf generated

.PHONY: modules clean
