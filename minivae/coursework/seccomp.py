"""System calls that the student's process may no longer make: a filter in the kernel, which cannot be taken off again.

Code that computes needs none of them: to write or rename a file, to start a process or signal one, to open a socket, to
touch another process, to ask for memory that no limit counts.  They fail with EPERM, or with EROFS where a file would
be written, and Python raises the OSError that belongs to it.  The filter needs no rights and no namespaces: it stands
where the other walls may be missing.  Linux on x86-64 and 64-bit ARM; elsewhere there is no filter.

References: Linux, Documentation/userspace-api/seccomp_filter.rst; arch/x86/entry/syscalls/syscall_64.tbl;
include/uapi/asm-generic/unistd.h (ARM).

This file is run inside the student's process, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys


def _table(text: str) -> list[tuple[int | None, int | None]]:
    """The numbers of calls that are written "name x86-64 ARM": ARM lacks some."""
    words = text.split()
    return [(_number(words[i + 1]), _number(words[i + 2])) for i in range(0, len(words), 3)]


def _number(word: str) -> int | None:
    return None if word == "-" else int(word)


# processes, and signals to them; other processes' memory and limits; memory that no limit counts; the system; network
REFUSED = _table("""
    fork 57 -   vfork 58 -   execve 59 221   execveat 322 281
    kill 62 129   tkill 200 130   rt_sigqueueinfo 129 138   rt_tgsigqueueinfo 297 240   pidfd_send_signal 424 424
    pidfd_open 434 434
    ptrace 101 117   process_vm_readv 310 270   process_vm_writev 311 271   kcmp 312 272   pidfd_getfd 438 438
    process_madvise 440 440   process_mrelease 448 448   migrate_pages 256 238   move_pages 279 239
    setpriority 141 140   ioprio_set 251 30   sched_setparam 142 118   sched_setscheduler 144 119
    sched_setaffinity 203 122   sched_setattr 314 274
    memfd_create 319 279   memfd_secret 447 447   userfaultfd 323 282   shmget 29 194   shmctl 31 195   shmat 30 196
    semget 64 190   semctl 66 191   semop 65 193   msgget 68 186   msgctl 71 187   msgrcv 70 188   msgsnd 69 189
    mq_open 240 180   mq_unlink 241 181   add_key 248 217   request_key 249 218   keyctl 250 219
    bpf 321 280   perf_event_open 298 241   io_uring_setup 425 425   unshare 272 97   setns 308 268   mount 165 40
    umount2 166 39   pivot_root 155 41   chroot 161 51   open_tree 428 428   move_mount 429 429   fsopen 430 430
    fsconfig 431 431   fsmount 432 432   fspick 433 433   mount_setattr 442 442   name_to_handle_at 303 264
    open_by_handle_at 304 265
    socket 41 198   socketpair 53 199
""")
WRITING = _table("""
    creat 85 -   truncate 76 45   fallocate 285 47   mkdir 83 -   mkdirat 258 34   mknod 133 -   mknodat 259 33
    rename 82 -   renameat 264 38   renameat2 316 276   link 86 -   linkat 265 37   symlink 88 -   symlinkat 266 36
    unlink 87 -   unlinkat 263 35   rmdir 84 -   chmod 90 -   fchmod 91 52   fchmodat 268 53   fchmodat2 452 452
    chown 92 -   fchown 93 55   lchown 94 -   fchownat 260 54   setxattr 188 5   lsetxattr 189 6   fsetxattr 190 7
    removexattr 197 14   lremovexattr 198 15   fremovexattr 199 16   utime 132 -   utimes 235 -   futimesat 261 -
    utimensat 280 88
""")
# what they ask for is in memory, where a filter cannot look: as if the kernel were older, and had none
UNREADABLE = _table("clone3 435 435  openat2 437 437")
NEWEST = 463                                               # what came later is as it was before it came: not there

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}          # column above, AUDIT_ARCH_...
LOAD, EQUAL, ANY_BIT, AT_LEAST, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06       # instructions of the filter
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
SET_SECCOMP, FILTER = 22, 2                                                 # of prctl
TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
THREAD = 0x00010000                                                         # CLONE_THREAD

Instruction = tuple[int, int, int, int]                # code, steps if true, steps if false, constant


def shut() -> list[str]:
    """Put the filter up for this process and all its threads.  Returns ["seccomp"], or [] where it cannot be."""
    machine = MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None or sys.byteorder != "little":
        return []
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program(*machine))
    program_at = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program_at))
    stands = ctypes.CDLL(None).prctl(SET_SECCOMP, FILTER, ctypes.c_char_p(header), 0, 0) == 0
    return ["seccomp"] if stands else []


def program(column: int, machine: int) -> list[Instruction]:
    """The filter: of another processor's numbers nothing; then call by call; what is not named is allowed."""
    found: list[Instruction] = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, machine), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0),
                                (AT_LEAST, 0, 1, NEWEST), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    for error, calls in ((errno.EPERM, REFUSED), (errno.EROFS, WRITING), (errno.ENOSYS, UNREADABLE)):
        for call in (numbers[column] for numbers in calls):
            found += [] if call is None else [(EQUAL, 0, 1, call), (RETURN, 0, 0, ERRNO | error)]
    no, read_only = (RETURN, 0, 0, ERRNO | errno.EPERM), (RETURN, 0, 0, ERRNO | errno.EROFS)
    found += _asked((2, None)[column], 1, [(ANY_BIT, 0, 1, TO_WRITE), read_only])                   # open
    found += _asked((257, 56)[column], 2, [(ANY_BIT, 0, 1, TO_WRITE), read_only])                   # openat
    found += _asked((56, 220)[column], 0, [(ANY_BIT, 1, 0, THREAD), no])                            # clone
    found += _asked((234, 131)[column], 0, [(EQUAL, 1, 0, os.getpid()), no])                        # tgkill: itself
    found += _asked((302, 261)[column], 0, [(EQUAL, 1, 0, 0), no])                                  # prlimit64: itself
    found += _asked((157, 167)[column], 0, [(EQUAL, 0, 1, 1), no])                                  # prctl: PDEATHSIG
    found += _asked((72, 25)[column], 1, [(EQUAL, 2, 0, 8), (EQUAL, 1, 0, 10), (EQUAL, 0, 1, 15), no])    # fcntl:
    return [*found, (RETURN, 0, 0, ALLOW)]                                                          # F_SETOWN, F_SETSIG


def _asked(call: int | None, argument: int, then: list[Instruction]) -> list[Instruction]:
    """If it is this call: load the argument's lower half, and look at it; else go on."""
    body = [(LOAD, 0, 0, 16 + 8 * argument), *then, (RETURN, 0, 0, ALLOW)]
    return [] if call is None else [(EQUAL, 0, len(body), call), *body]
