"""Free ports for a broker, each given to one process alone.

A port is kept by a name in the kernel's abstract socket namespace, `amoskys-port-N`, for as long as this process lives;
tests/common/ports.rs keeps those of the tests by the same names. Limits: nothing stops a program that knows nothing of
the names.
"""
import random
import socket

_kept = []


def given_from():
    """The first port that the kernel gives to connections: one of them would sooner or later take a port above it
    while the broker is down."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        return int(file.read().split()[0])


def keep(port):
    """Whether it is kept for this process now."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0amoskys-port-{port}")
    except OSError:
        name.close()
        return False
    _kept.append(name)
    return True


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_ports(count):
    """Ports that nobody listens on and that this process alone was given, all different."""
    above, ports = max(given_from(), 10_100), []
    while len(ports) < count:
        port = random.randrange(10_000, above)
        if keep(port) and is_free(port):
            ports.append(port)
    return ports
