#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# fetch.sh: download the source package of the QEMU whose tests are the judge here, into build/iotests. Done once.
#
# The version is pinned by the checksum of its .dsc, which has those of the other files. When the archive has a
# newer one, that one's version and checksum belong here, and what tests/iotests/expected says may have to follow.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
dir=$top/build/iotests
version=7.2+dfsg-7+deb12u18
dsc=qemu_$version.dsc
checksum=6b6bd27b947ec89e40a1d6b26d9c9f3c698ca691da13163e0483f6061bbb20b3

die()
{
	echo "iotests: $*" >&2
	exit 1
}

# with_sources COMMAND...: apt-get, where this machine's package sources also stand for their source packages.
with_sources()
{
	apt-get -q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$tmp/apt/sources" \
		-o "Dir::State::lists=$tmp/apt/lists" -o APT::Sandbox::User=root "$@" >&2
}

# download: apt compares what it gets with what the archive has signed.
download()
{
	local file

	mkdir -p "$tmp"/apt/{sources,lists/partial}
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
		[ ! -s "$file" ] ||
			sed 's/^Types:.*/Types: deb-src/; s/^deb /deb-src /' "$file" >"$tmp/apt/sources/$(basename "$file")"
	done
	# Some of them may have no source packages.
	with_sources update || true
	(cd "$tmp" && with_sources source --download-only "qemu=1:$version") || die "the archive has no source of QEMU $version"
}

[ ! -e "$dir/$dsc" ] || exit 0
command -v apt-get >/dev/null || die 'no apt-get here, and so no source package of QEMU'
mkdir -p "$dir"
tmp=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
download
sha256sum --quiet --check - <<<"$checksum  $tmp/$dsc" || die "$dsc: is not the one that the tests are made for"
# Whoever finds the .dsc finds the others.
mv "$tmp"/*.tar.* "$dir"
mv "$tmp/$dsc" "$dir"
