# Run by nbdsh (clients.test.ts) with a connection `h` to an empty disk of 4 MiB in chunks of 64 KiB.
# Every answer is compared with a bytearray. Replay with the seed in the environment.
import errno
import os
import random

random.seed(int(os.environ["SEED"]))
SIZE = h.get_size()
CHUNK = 65536
model = bytearray(SIZE)


def place():
    """A range of 1 to 5000 bytes, half of the time over the border of a chunk."""
    length = random.randint(1, 5000)
    if random.random() < 0.5:
        border = random.randrange(1, SIZE // CHUNK) * CHUNK
        return border - random.randint(0, length), length
    return random.randint(0, SIZE - length), length


def change():
    offset, length = place()
    fua = random.choice([0, 0, 0, nbd.CMD_FLAG_FUA])
    kind = random.randrange(6)
    if kind < 3:
        data = random.randbytes(length)
        h.pwrite(data, offset, fua)
        model[offset : offset + length] = data
        return
    if kind == 3:
        h.trim(length, offset, fua)
    elif kind == 4:
        h.zero(length, offset, fua | nbd.CMD_FLAG_NO_HOLE)
    else:
        h.zero(length, offset, fua | random.choice([0, nbd.CMD_FLAG_FAST_ZERO]))
    model[offset : offset + length] = bytes(length)


def structured_read(length, offset, flags=0):
    """Data and holes as they arrived, put together; and what kinds of chunks there were."""
    seen = bytearray(b"?" * length)
    kinds = []

    def chunk(data, at, status, error):
        assert error.value == 0
        kinds.append(status)
        seen[at - offset : at - offset + len(data)] = data

    h.pread_structured(length, offset, chunk, flags)
    return bytes(seen), kinds


def extents(length, offset, flags=0):
    found = []

    def extent(context, at, entries, error):
        assert (context, at, error.value) == (nbd.CONTEXT_BASE_ALLOCATION, offset, 0)
        found.extend(zip(entries[0::2], entries[1::2]))

    h.block_status(length, offset, extent, flags)
    return found


def check_random():
    for count in range(1500):
        change()
        offset, length = place()
        if count % 3 == 0:
            flags = random.choice([0, nbd.CMD_FLAG_DF])
            data, kinds = structured_read(length, offset, flags)
            assert flags == 0 or len(kinds) == 1, kinds
        else:
            data = h.pread(length, offset)
        assert data == model[offset : offset + length], (offset, length)
        if count % 100 == 0:
            h.flush()
            h.cache(length, offset)
    whole = h.pread(SIZE, 0)
    assert whole == model
    check_map(whole)


def check_map(whole):
    """Extents follow each other to the end; what they call zero is zero."""
    at = 0
    while at < SIZE:
        for length, flags in extents(SIZE - at, at):
            assert length > 0
            if flags & nbd.STATE_ZERO:
                assert not any(whole[at : at + length]), (at, length)
            at += length
        one = extents(SIZE - at, at, nbd.CMD_FLAG_REQ_ONE) if at < SIZE else [(0, 0)]
        assert len(one) == 1, one
    assert at == SIZE


def check_holes():
    h.zero(SIZE, 0)
    assert extents(SIZE, 0) == [(SIZE, nbd.STATE_HOLE | nbd.STATE_ZERO)]
    data, kinds = structured_read(SIZE, 0)
    assert data == bytes(SIZE) and set(kinds) == {nbd.READ_HOLE}, kinds
    h.pwrite(b"x" * 4096, CHUNK)
    data, kinds = structured_read(3 * CHUNK, 0)
    assert data == bytes(CHUNK) + b"x" * 4096 + bytes(2 * CHUNK - 4096)
    assert nbd.READ_HOLE in kinds and nbd.READ_DATA in kinds, kinds
    data, kinds = structured_read(3 * CHUNK, 0, nbd.CMD_FLAG_DF)
    assert data == bytes(CHUNK) + b"x" * 4096 + bytes(2 * CHUNK - 4096)
    assert kinds == [nbd.READ_DATA], kinds
    one = extents(SIZE, 0, nbd.CMD_FLAG_REQ_ONE)
    assert one == [(CHUNK, nbd.STATE_HOLE | nbd.STATE_ZERO)], one
    assert extents(CHUNK + 4096, CHUNK)[0] == (4096, 0)


def refused(number, call, *arguments):
    try:
        call(*arguments)
    except nbd.Error as error:
        assert error.errnum == number, (call, error)
    else:
        raise AssertionError(("not refused", call, arguments))


def check_errors():
    """What a well-behaved client never asks; the connection lives on."""
    h.set_strict_mode(0)
    for offset, length in [(SIZE, 1), (SIZE - 1, 2), (1 << 62, 512)]:
        refused(errno.EINVAL, h.pread, length, offset)
        refused(errno.ENOSPC, h.pwrite, b"x" * length, offset)
        refused(errno.EINVAL, h.trim, length, offset)
        refused(errno.ENOSPC, h.zero, length, offset)
        refused(errno.EINVAL, h.cache, length, offset)
        refused(errno.EINVAL, h.block_status, length, offset, lambda *_: 0)
    refused(errno.EINVAL, h.pwrite, b"x", 0, nbd.CMD_FLAG_DF)
    refused(errno.EINVAL, h.trim, 512, 0, nbd.CMD_FLAG_REQ_ONE)
    h.pwrite(b"alive", 7)
    assert h.pread(5, 7) == b"alive"


check_random()
check_holes()
check_errors()
