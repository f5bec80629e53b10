"""held_files.py - a file system that is slow, or broken, when a test says so: FUSE, by its own protocol.

It shows the files of a directory, read-only.  Reads of one may be held until they are released, as those of a disk that hangs, or
fail, as those of a disk that is broken.  What the kernel keeps of a file can be dropped, as it does itself when memory is short.
Nothing here waits for a page that is held: who did would be in the kernel for ever, this file system's server with it.

Only root can mount it, and where there is a /dev/fuse: else mount() skips the test and says why.
"""
import ctypes
import errno
import os
import struct
import threading

HEADER = struct.Struct("<IIQQIIIHH")            # length, operation, request, node, user, group, process, -, -
ATTRIBUTES = struct.Struct("<6Q10I")
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = (
    1, 2, 3, 14, 15, 17, 18, 25, 26, 27, 28, 29, 36, 38, 42)
UNANSWERED = {FORGET, BATCH_FORGET}
NOTIFY_INVALIDATE = 2
KEEP_CACHE = 2               # what the kernel has of a file stays good when it is opened again
MS_RDONLY, MS_NOSUID, MS_NODEV, MNT_DETACH = 1, 2, 4, 2
ROOT_NODE = 1
FOREVER = 1 << 30           # s for which names and attributes are good

libc = ctypes.CDLL(None, use_errno=True)


class HeldFiles:
    def __init__(self, source, place):
        self.source, self.place = source, place
        self.names = [None, ""] + sorted(os.listdir(source))        # by node
        self.held, self.broken = {}, {}         # from which byte on, by node
        self.waiting = []
        self.lock = threading.Lock()

    def mount(self, test):
        """Skips the test where that cannot be; it is unmounted when the test is over, and served until nobody has a file of it."""
        try:
            self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            test.skipTest(f"no FUSE here: {error}")
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
        if libc.mount(b"held", os.fsencode(self.place), b"fuse", MS_RDONLY | MS_NOSUID | MS_NODEV, options.encode()) != 0:
            os.close(self.fd)
            test.skipTest(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")
        self.server = threading.Thread(target=self.serve, daemon=True)
        self.server.start()
        test.addCleanup(self.unmount)

    def unmount(self):
        self.mend()
        self.release()
        libc.umount2(os.fsencode(self.place), MNT_DETACH)

    # ---- what a test does to it ----

    def hold(self, name, start=0):
        """From now on reads of this file that go beyond its first bytes wait."""
        with self.lock:
            self.held[self.names.index(name)] = start

    def release(self):
        with self.lock:
            self.held.clear()
            waiting, self.waiting = self.waiting, []
        for request in waiting:
            self.read(*request)

    def is_waited_for(self):
        with self.lock:
            return len(self.waiting) > 0

    def break_file(self, name, start=0):
        """From now on reads of this file that go beyond its first bytes fail with EIO."""
        with self.lock:
            self.broken[self.names.index(name)] = start

    def mend(self):
        with self.lock:
            self.broken.clear()

    def drop(self, name):
        """The kernel forgets the file's contents, mapped or not, as it does itself when memory is short.

        By a word of this file system's own, which takes every page: advice (fadvise, madvise) leaves those that somebody uses at that
        moment.  It waits for reads on their way, so none may be held.
        """
        with self.lock:
            assert not self.waiting, "who reads has locked the page"
        try:
            self.write(0, struct.pack("<Qqq", self.names.index(name), 0, 0), NOTIFY_INVALIDATE)
        except FileNotFoundError:   # it has never heard of it
            pass

    # ---- the protocol ----

    def serve(self):
        while True:
            try:
                message = os.read(self.fd, 1 << 18)
            except OSError:         # unmounted, and nobody has a file of it
                os.close(self.fd)
                return
            _, operation, request, node, *_ = HEADER.unpack_from(message)
            if operation not in UNANSWERED:
                self.answer(operation, request, node, message[HEADER.size:])

    def write(self, request, body, code):
        os.write(self.fd, struct.pack("<IiQ", 16 + len(body), code, request) + body)

    def reply(self, request, body=b"", error=0):
        try:
            self.write(request, body, -error)
        except OSError:             # who asked has gone
            pass

    def answer(self, operation, request, node, body):
        if operation == INIT:
            self.reply(request, struct.pack("<4IHHIIHHI7I", 7, 31, 1 << 17, 0, 16, 12, 1 << 17, 1, 0, 0, 0, *[0] * 7))
        elif operation == LOOKUP:
            self.look_up(request, os.fsdecode(body.rstrip(b"\0")))
        elif operation == GETATTR:
            self.reply(request, struct.pack("<QII", FOREVER, 0, 0) + self.attributes(node))
        elif operation in (OPEN, OPENDIR):
            self.reply(request, struct.pack("<QII", 0, KEEP_CACHE if operation == OPEN else 0, 0))
        elif operation == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            self.read(request, node, offset, size)
        elif operation == READDIR:
            self.list(request, struct.unpack_from("<QQ", body)[1])
        elif operation in (RELEASE, RELEASEDIR, FLUSH, DESTROY):
            self.reply(request)
        elif operation == STATFS:
            self.reply(request, struct.pack("<5Q4I6I", 0, 0, 0, 0, 0, 4096, 255, 4096, 0, *[0] * 6))
        elif operation == INTERRUPT:
            self.interrupt(struct.unpack_from("<Q", body)[0])
        else:
            self.reply(request, error=errno.ENOSYS)

    def interrupt(self, request):
        """Who waits for it got a signal, and cannot end before there is an answer."""
        with self.lock:
            ended = [held for held in self.waiting if held[0] == request]
            self.waiting = [held for held in self.waiting if held[0] != request]
        for _ in ended:
            self.reply(request, error=errno.EINTR)

    def attributes(self, node):
        found = os.stat(f"{self.source}/{self.names[node]}")
        mode = (0o40755 if node == ROOT_NODE else 0o100644)
        times = int(found.st_mtime)
        return ATTRIBUTES.pack(node, found.st_size, -(-found.st_size // 512), times, times, times, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def look_up(self, request, name):
        if name not in self.names:
            self.reply(request, error=errno.ENOENT)
            return
        node = self.names.index(name)
        self.reply(request, struct.pack("<4QII", node, 0, FOREVER, FOREVER, 0, 0) + self.attributes(node))

    def list(self, request, offset):
        entries = b""
        for at, name in enumerate([".", ".."] + self.names[2:]):
            if at >= offset:
                text = os.fsencode(name)
                entries += struct.pack("<QQII", at + 1, at + 1, len(text), 0) + text + bytes(-len(text) % 8)
        self.reply(request, entries)

    def read(self, request, node, offset, size):
        with self.lock:
            if offset + size > self.held.get(node, offset + size):
                self.waiting.append((request, node, offset, size))
                return
            broken = offset + size > self.broken.get(node, offset + size)
        if broken:
            self.reply(request, error=errno.EIO)
            return
        with open(f"{self.source}/{self.names[node]}", "rb") as file:
            self.reply(request, os.pread(file.fileno(), size, offset))
