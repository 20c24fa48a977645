// What launchers and keepers say to each other.

#define _GNU_SOURCE
#include "internal.h"

#include "CProcess.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int dynamo_send_packet(int socket, const void *packet, size_t size, const int *descriptors, uint32_t count) {
    union {
        char bytes[CMSG_SPACE(sizeof(int) * DYNAMO_MAXIMUM_DESCRIPTORS)];
        struct cmsghdr alignment;
    } control;
    struct iovec part = {.iov_base = (void *)packet, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > DYNAMO_MAXIMUM_DESCRIPTORS) return EINVAL;
    if (count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * count);
    }
    while (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
        if (errno != EINTR) return errno;
    }
    return 0;
}
