# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Where this machine has its packages from, for scripts that make a tree of another suite.

# mirror [LABEL]: an archive that this machine has its own packages from: Debian, or Debian-Security.
mirror()
{
	# shellcheck disable=SC2016 # for apt
	apt-get indextargets --format '$(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk -v label="${1:-Debian}" '$1 == label && $2 == "main" { print $3; exit }'
}

# archive_options: how this machine reaches its archive, and how old that may be.
archive_options()
{
	apt-config dump --format '%f "%v";%n' Acquire | grep -i -E '^Acquire::(Check-|[a-z]*::Proxy)' || :
}
