"""Mounts EROFS images and overlay stacks, read-only, and never leaves one behind.

The mounts are detached (fsopen, fsconfig, fsmount): they live in a descriptor and
go with it, even when the test run is killed. fsconfig also knows no limit of one
page for all options, which mount(2) has and 60 devices exceed.

Files are mounted directly where the kernel can (Linux 6.12 and newer), else through
loop devices that clear themselves on unmount. mount(8) mixes the two, which fails.
"""

import ctypes
import errno
import fcntl
import filecmp
import os
import re
import shutil
import struct
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager

_libc = ctypes.CDLL(None, use_errno=True)

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 1
MOVE_MOUNT_F_EMPTY_PATH = 4
AT_FDCWD = -100
MNT_DETACH = 2

LOOP_CTL_GET_FREE = 0x4C82
LOOP_CONFIGURE = 0x4C0A
LO_FLAGS_READ_ONLY = 1
LO_FLAGS_AUTOCLEAR = 4
# struct loop_config: fd, block_size, loop_info64 (its flags are at offset 52), reserved.
LOOP_CONFIG_SIZE = 4 + 4 + 232 + 64
LOOP_CONFIG_FLAGS_OFFSET = 8 + 52


class MountFailed(Exception):
    """The kernel said no; the message has its reason."""

    def __init__(self, message, number):
        super().__init__(message)
        self.errno = number


def _need_root():
    if os.geteuid() != 0:
        raise MountFailed("these tests mount file systems and must run as root", errno.EPERM)


def _call(name, *arguments):
    result = getattr(_libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise MountFailed(f"{name}: {os.strerror(number)}", number)
    return result


def _kernel_log(fd):
    """What the file system driver had to say: one message a read."""
    lines = []
    try:
        while piece := os.read(fd, 4096):
            lines.append(piece.decode(errors="replace").strip())
    except OSError:
        pass
    return "; ".join(lines)


def fs_mount(fs_type, options, flags=()):
    """A descriptor on the root of a new detached read-only mount."""
    _need_root()
    fs = _call("fsopen", fs_type.encode(), FSOPEN_CLOEXEC)
    try:
        for name in ("ro", *flags):
            _call("fsconfig", fs, FSCONFIG_SET_FLAG, name.encode(), None, 0)
        for name, value in options:
            _call("fsconfig", fs, FSCONFIG_SET_STRING, name.encode(), os.fsencode(value), 0)
        _call("fsconfig", fs, FSCONFIG_CMD_CREATE, None, None, 0)
        return _call("fsmount", fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY)
    except MountFailed as failed:
        raise MountFailed(
            f"mounting {fs_type} {options}: {failed} {_kernel_log(fs)}", failed.errno
        ) from None
    finally:
        os.close(fs)


def loop_attach(path):
    """(descriptor, device path) of a read-only loop device that clears itself."""
    backing = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in range(64):
            control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
            try:
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            finally:
                os.close(control)
            device = f"/dev/loop{number}"
            loop = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
            config = bytearray(LOOP_CONFIG_SIZE)
            struct.pack_into("=II", config, 0, backing, 4096)
            flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR
            struct.pack_into("=I", config, LOOP_CONFIG_FLAGS_OFFSET, flags)
            try:
                fcntl.ioctl(loop, LOOP_CONFIGURE, bytes(config))
                return loop, device
            except OSError as error:
                os.close(loop)
                if error.errno != errno.EBUSY:  # somebody else took this number
                    raise
        raise MountFailed(f"no free loop device for {path}", errno.EBUSY)
    finally:
        os.close(backing)


def erofs_mount_loop(image, devices=()):
    with ExitStack() as stack:
        names = []
        for path in (image, *devices):
            fd, device = loop_attach(path)
            stack.callback(os.close, fd)
            names.append(device)
        return fs_mount("erofs", [("source", names[0]), *(("device", d) for d in names[1:])])


def erofs_mount(image, devices=()):
    """A descriptor on the root of `image` with its extra devices, in order."""
    options = [("source", image), *(("device", device) for device in devices)]
    try:
        return fs_mount("erofs", options)
    except MountFailed as failed:
        # Kernels without file-backed mounts want block devices; some file systems
        # (tmpfs) cannot back one either.
        if failed.errno not in (errno.ENOTBLK, errno.EINVAL):
            raise
    return erofs_mount_loop(image, devices)


@contextmanager
def erofs_mounted(image, devices=()):
    fd = erofs_mount(image, devices)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def attached(mount_fd):
    """A directory on which the detached mount can be reached by path."""
    point = tempfile.mkdtemp(prefix="larder-mount-")
    try:
        _call("move_mount", mount_fd, b"", AT_FDCWD, os.fsencode(point), MOVE_MOUNT_F_EMPTY_PATH)
        try:
            yield point
        finally:
            _call("umount2", os.fsencode(point), MNT_DETACH)
    finally:
        os.rmdir(point)


@contextmanager
def overlay_mounted(lower_dirs):
    """A descriptor on the overlay of at least one directory, bottom to top."""
    with tempfile.TemporaryDirectory(prefix="larder-overlay-") as empty:
        # overlayfs wants two lower directories where there is no upper one.
        stack = [*reversed(lower_dirs), empty]
        fd = _overlay_mount(stack)
        try:
            yield fd
        finally:
            os.close(fd)


def _overlay_mount(top_to_bottom):
    try:
        return fs_mount("overlay", [("lowerdir+", path) for path in top_to_bottom])
    except MountFailed as failed:
        if failed.errno != errno.EINVAL:
            raise
    # Before Linux 6.7: one option, which must stay under a page.
    return fs_mount("overlay", [("lowerdir", ":".join(top_to_bottom))])


@contextmanager
def layers_stacked(layer_files):
    """The layer files themselves as an overlay, as a host may stack them."""
    with ExitStack() as stack:
        points = []
        for path in layer_files:
            fd = stack.enter_context(erofs_mounted(path))
            points.append(stack.enter_context(attached(fd)))
        yield stack.enter_context(overlay_mounted(points))


def flatten(vmdk, output):
    """What qemu sees in the descriptor, as one raw file."""
    command = ["qemu-img", "convert", "-f", "vmdk", "-O", "raw", vmdk, output]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise MountFailed(f"qemu-img cannot read {vmdk}: {done.stderr.strip()}", errno.EINVAL)


def is_concatenation(flat, parts):
    """Whether `flat` is byte-equal to the files `parts`, one behind the other."""
    with tempfile.NamedTemporaryFile(prefix="larder-flat-", dir=os.path.dirname(flat)) as joined:
        for part in parts:
            with open(part, "rb") as source:
                shutil.copyfileobj(source, joined, 1 << 20)
        joined.flush()
        return filecmp.cmp(flat, joined.name, shallow=False)


# All that erofs-utils 1.8 says of a whole file in which a path is longer than PATH_MAX.
PATH_TOO_LONG = re.compile(
    r"(<E> erofs: unable to fsck since the path is too long \(\d+\)\n)+"
    r"<E> erofs: Found some filesystem corruption\n"
)


def fsck(image, devices=()):
    """The complaints of erofs-utils' checker, or an empty string."""
    command = ["fsck.erofs", *(f"--device={device}" for device in devices), image]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    said = done.stdout + done.stderr
    is_fine = done.returncode == 0 or PATH_TOO_LONG.fullmatch(said)
    return "" if is_fine else f"exit {done.returncode}: {said}"
