// SPDX-License-Identifier: GPL-2.0-only
/*
 * Feeds tools/disk/backing-name.c with names of backing files.
 *
 * With libFuzzer, LLVMFuzzerTestOneInput is all there is. Without it, main() makes names: one of each form, changed
 * at random from a seed that it prints.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk/backing-name.h"

#define MAX_NAME	1023

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "backing-name-fuzz: violated: %s\n", what);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len = size < MAX_NAME ? size : MAX_NAME;
	char why[BACKING_WHY_BYTES] = "";
	struct backing_name out;
	char *name;
	int ret;

	/* On the heap, for ASan to see its ends. */
	name = strndup((const char *)data, len);
	ret = backing_name_parse(name, "/images/top.qcow2", &out, why);
	require(!ret == !*why, "a reason, if and only if it is refused");
	if (!ret) {
		require(memchr(out.path, '\0', sizeof(out.path)) != NULL, "a path that ends");
		require(out.path[0] == '/', "an absolute path below an absolute one");
		require(strncmp(name, "json:", 5) == 0 || out.format == IMAGE_UNKNOWN, "no format from nowhere");
	}
	free(name);
	return 0;
}

#ifndef LIBFUZZER
static const char *const seeds[] = {
	"base.qcow2",
	"../dir/./base.qcow2",
	"/images/base.qcow2",
	"file:/images/base.qcow2",
	"host_device:/dev/vg/base",
	"nbd://localhost/base",
	"json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"/images/base.qcow2\"}}",
	"json:{\"driver\":\"raw\",\"file\":{\"driver\":\"raw\",\"file.filename\":\"/images/\\u0000\"}}",
	"json:{'driver':'qcow2','file.driver':'host_device','file.filename':'/dev/b','file.aio':'native'} //",
	"json:{\"file\":{\"filename\":\"/a\"},\"file.filename\":\"/b\",\"backing\":null,\"x\":[1,{}]}",
};

static const char tokens[] = "{}[]:,\"'\\/ .*\n0e-+unltrfasdjo";

static void change(char *name, size_t *len)
{
	size_t at = rand() % (*len + 1), n = 1 + rand() % 4;

	switch (rand() % 4) {
	case 0:
		name[at] = tokens[rand() % (sizeof(tokens) - 1)];
		*len += at == *len;
		break;
	case 1:
		n = n < *len - at ? n : *len - at;
		memmove(name + at, name + at + n, *len - at - n);
		*len -= n;
		break;
	case 2:
		memmove(name + at + n, name + at, *len - at);
		*len += n;
		break;
	default:
		*len = rand() % 8 ? *len : at;
		name[at] = rand();
	}
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
	unsigned int seed = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
	char name[2 * MAX_NAME];
	size_t len;

	printf("backing-name-fuzz: %lu names from seed %u\n", rounds, seed);
	srand(seed);
	while (rounds--) {
		const char *from = seeds[rand() % (sizeof(seeds) / sizeof(seeds[0]))];

		len = strlen(from);
		memset(name, 'x', sizeof(name));
		memcpy(name, from, len);
		for (int n = rand() % 8; n > 0; n--)
			change(name, &len);
		LLVMFuzzerTestOneInput((const uint8_t *)name, len);
	}
	return 0;
}
#endif
