#include "store/convert/passed_files.h"

#include <errno.h>
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
    const struct cmsghdr *header = received < 0 ? NULL : CMSG_FIRSTHDR(&message);
    if (!header)
        return received;
    size_t passed = (header->cmsg_len - CMSG_LEN(0)) / sizeof(*fds);
    const int *first = (const int *)(const void *)CMSG_DATA(header);
    if (passed > room || message.msg_flags & MSG_CTRUNC) {
        for (size_t i = 0; i < passed; i++)
            close(first[i]);
        errno = EMSGSIZE;
        return -1;
    }
    memcpy(fds, first, passed * sizeof(*fds));
    *count = passed;
    return received;
}
