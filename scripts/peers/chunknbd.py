"""What the stand-ins have in common: a served disk behind sockets that listen from the start."""
import os
import socket
import subprocess
import tempfile

MAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../dist/cli/main.js')


def listener(family, address):
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(address)
    sock.listen(64)
    return sock


def create(name, size, chunk_size):
    """A new disk in a directory of its own. Returns its descriptor."""
    file = os.path.join(tempfile.mkdtemp(prefix='peers-'), name + '.chunkdisk')
    sizes = ['--size', str(size), '--chunk-size', str(chunk_size)]
    subprocess.run(['node', MAIN, 'create', file, *sizes], check=True, stdout=subprocess.DEVNULL)
    return file


def serve(sockets, arguments):
    """Becomes the server, which takes over the sockets as it does systemd's."""
    high = [os.dup(sock.fileno()) for sock in sockets]
    while min(high) < 3 + len(high):
        high = [os.dup(fd) for fd in high]
    for index, fd in enumerate(high):
        os.dup2(fd, 3 + index)
    os.environ.update(LISTEN_FDS=str(len(high)), LISTEN_PID=str(os.getpid()))
    os.execvp('node', ['node', MAIN, 'serve', *arguments])
