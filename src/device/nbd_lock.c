/* SPDX-License-Identifier: MIT */
/*
 * NBD knows no locks. What bowimg itself does on this machine can be kept apart all the same, of
 * all users: by a name among the abstract unix sockets, which one process can have at a time. The
 * kernel gives it up with the process, or with the last of those that inherited the descriptor.
 */
#include "device/nbd.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/cleanup.h"

/* The address and its length: an abstract name begins with a zero byte, and is not terminated. */
static socklen_t set_name(struct sockaddr_un *addr, uint64_t key)
{
	int n;

	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(addr->sun_path + 1, sizeof(addr->sun_path) - 1, "bowimg-nbd-%016" PRIx64, key);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

int bow_nbd_lock(uint64_t key)
{
	struct sockaddr_un addr;
	socklen_t bytes = set_name(&addr, key);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&addr, bytes) == 0)
		return fd;
	rc = errno == EADDRINUSE ? -EBUSY : -errno;
	close(fd);
	return rc;
}

bool bow_nbd_is_locked(uint64_t key)
{
	struct sockaddr_un addr;
	socklen_t bytes = set_name(&addr, key);
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (const struct sockaddr *)&addr, bytes) == 0;
}
