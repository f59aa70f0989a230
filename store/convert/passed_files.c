#include "store/convert/passed_files.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

struct msghdr passed_files_message(union passed_files *files, struct iovec *bytes, const int *fds,
                                   size_t count)
{
    memset(files, 0, sizeof(*files));
    files->header.cmsg_level = SOL_SOCKET;
    files->header.cmsg_type = SCM_RIGHTS;
    files->header.cmsg_len = CMSG_LEN(count * sizeof(*fds));
    memcpy(CMSG_DATA(&files->header), fds, count * sizeof(*fds));
    return (struct msghdr){
        .msg_iov = bytes,
        .msg_iovlen = 1,
        .msg_control = files,
        .msg_controllen = CMSG_SPACE(count * sizeof(*fds)),
    };
}

ssize_t passed_files_receive(int socket, struct iovec *bytes, int *fds, size_t room, size_t *count)
{
    union passed_files files;
    struct msghdr message = {
        .msg_iov = bytes,
        .msg_iovlen = 1,
        .msg_control = &files,
        .msg_controllen = sizeof(files),
    };
    ssize_t received;
    do
        received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    *count = 0;
    if (received < 0)
        return -1;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    size_t passed = header ? (header->cmsg_len - CMSG_LEN(0)) / sizeof(*fds) : 0;
    const int *first = header ? (const int *)(const void *)CMSG_DATA(header) : NULL;
    bool lost_some = (message.msg_flags & MSG_CTRUNC) != 0;
    if (passed > room || lost_some) {
        for (size_t i = 0; i < passed; i++)
            close(first[i]);
        errno = lost_some ? EMFILE : EMSGSIZE;
        return -1;
    }
    if (passed > 0)
        memcpy(fds, first, passed * sizeof(*fds));
    *count = passed;
    return received;
}
