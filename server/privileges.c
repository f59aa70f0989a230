#include "server/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned kept_by_root[] = {
    CAP_CHOWN,            /* a private PostgreSQL's directory */
    CAP_DAC_OVERRIDE,     /* and reading in it */
    CAP_FOWNER,           /* files of the blob directory that another user made */
    CAP_KILL,             /* PostgreSQL and converters, which are other users */
    CAP_SETGID,           /* becoming those */
    CAP_SETUID,           /* the same */
    CAP_SYS_ADMIN,        /* the converter's namespaces */
    CAP_NET_BIND_SERVICE, /* --listen on ports below 1024 */
};

static const unsigned kept_by_others[] = {CAP_NET_BIND_SERVICE};

static bool is_kept(unsigned capability)
{
    bool is_root = geteuid() == 0;
    const unsigned *kept = is_root ? kept_by_root : kept_by_others;
    size_t count = is_root ? sizeof(kept_by_root) / sizeof(kept_by_root[0]) : 1;
    for (size_t i = 0; i < count; i++)
        if (kept[i] == capability)
            return true;
    return false;
}

static bool limit_capabilities(struct error *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capget, &header, sets) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "Cannot read capabilities");
    for (unsigned capability = 0; capability < 32 * _LINUX_CAPABILITY_U32S_3; capability++) {
        if (is_kept(capability))
            continue;
        struct __user_cap_data_struct *set = &sets[CAP_TO_INDEX(capability)];
        set->permitted &= ~CAP_TO_MASK(capability);
        set->effective &= ~CAP_TO_MASK(capability);
        set->inheritable &= ~CAP_TO_MASK(capability);
        /* Of those that there are not, and without CAP_SETPCAP, it fails: then nothing is
         * gained by exec either, because of no_new_privs. */
        (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    }
    return syscall(SYS_capset, &header, sets) == 0 ||
           error_set_errno(error, ERROR_INTERNAL, errno, "Cannot drop capabilities");
}

bool privileges_drop(struct error *error)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "Cannot give up new privileges");
    return limit_capabilities(error);
}
