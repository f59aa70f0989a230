/* Open files in the messages of a socket (unix(7), SCM_RIGHTS). */
#ifndef LARDER_STORE_CONVERT_PASSED_FILES_H
#define LARDER_STORE_CONVERT_PASSED_FILES_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { PASSED_FILES_MAX = 253 }; /* Linux takes no more at a time */

/* What a message points to beside its bytes. */
union passed_files {
    struct cmsghdr header;
    char room[CMSG_SPACE(PASSED_FILES_MAX * sizeof(int))];
};

/* A message of those bytes, at least one, with those files, which stay the caller's. `bytes` and
 * `files` must outlive it. */
[[nodiscard]] struct msghdr passed_files_message(union passed_files *files, struct iovec *bytes,
                                                 const int *fds, size_t count);

/* The next message: at most as many bytes as there is room for, whose number is returned (0: the
 * other side has gone), and *count files, at most `room`. The files are the caller's, closed on
 * exec. -1 with errno: EMSGSIZE when there were more, EMFILE when this process may not have so
 * many. */
[[nodiscard]] ssize_t passed_files_receive(int socket, struct iovec *bytes, int *fds, size_t room,
                                           size_t *count);

#endif
