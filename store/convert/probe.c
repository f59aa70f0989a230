/* `larder convert --probe=…`: the program's own test of its box. It boxes itself
 * in as for a blob and then does what must not be done. */
#include "store/convert/probe.h"

#include "store/convert/sandbox.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void try_open(void)
{
    cleanup_fd int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static void try_connect(void)
{
    cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in discard = {.sin_family = AF_INET, .sin_port = htons(9)};
    if (fd >= 0)
        (void)connect(fd, (struct sockaddr *)&discard, sizeof(discard));
}

static void try_fork(void)
{
    if (fork() == 0)
        _exit(0);
}

static const struct {
    const char *name;
    void (*attempt)(void);
} probes[] = {
    {"open", try_open},
    {"connect", try_connect},
    {"fork", try_fork},
};

static int escape(void (*attempt)(void))
{
    const struct convert_limits limits = convert_limits_default(1 << 30);
    struct error error = {0};
    if (!sandbox_confine(&limits, &error) || !sandbox_seal(&error)) {
        dprintf(STDERR_FILENO, "larder convert: %s\n", error.message);
        return 2;
    }
    attempt();
    return 1;
}

int convert_probe(const char *name)
{
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
        if (strcmp(probes[i].name, name) == 0)
            return escape(probes[i].attempt);
    dprintf(STDERR_FILENO, "larder convert: --probe is open, connect or fork\n");
    return 2;
}
