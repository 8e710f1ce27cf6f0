"""Real object stores on loopback: Ceph's RADOS gateway, and OpenStack Swift, whose conditional writes race.

Each is small: one copy of everything, in memory (Ceph) or in one folder (Swift).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import pwd
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request

from tests.clients.environments import MissingPythonError, ensure
from tests.cluster.process import Service, accepts, own_folder, program, refuse, started
from tests.live_server import DIRECT
from tests.ports import free_ports

CEPH_PACKAGES = "radosgw ceph-mon ceph-osd ceph-common"
REGION = "us-east-1"


@dataclass(frozen=True)
class ObjectStore:
    """Where a store is and who may use it; `gateway` is the process that clients talk to."""

    port: int
    access_key: str
    secret_key: str
    gateway: Service

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """What the server is told by the vendors' usual names."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def create(self, bucket: str) -> str:
        """Make an empty bucket; returns its address, as `--storage` takes it."""
        self.request("PUT", f"/{bucket}")
        return f"s3://{bucket}"

    def request(self, method: str, path: str, *, data: bytes = b"") -> bytes:
        """One signed request, not through the library that the server uses; returns the body.

        `path` begins with the bucket, and is quoted.
        """
        url, _, query = path.partition("?")
        headers = self._signed(method, url, query, hashlib.sha256(data).hexdigest())
        request = Request(self.endpoint + path, data=data if method == "PUT" else None, headers=headers, method=method)
        with DIRECT.open(request, timeout=60) as answer:
            body: bytes = answer.read()
            return body

    def _signed(self, method: str, path: str, query: str, digest: str) -> dict[str, str]:
        """The headers of Amazon's signature, version 4; https://docs.aws.amazon.com/general/latest/gr/sigv4.html."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = {"host": f"127.0.0.1:{self.port}", "x-amz-content-sha256": digest, "x-amz-date": moment}
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        canonical = "\n".join([method, path, query, lines, names, digest])
        scope = f"{moment[:8]}/{REGION}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{self.secret_key}".encode()
        for part in [*scope.split("/"), text]:
            key = hmac.digest(key, part.encode(), "sha256")
        told = f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
        return {**headers, "authorization": told}


CEPH = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{monitor},v1:127.0.0.1:{monitor_old}]
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
# The gateway's own default is a secured connection, which cannot be had without keys.
ms mon client mode = crc
# With the defaults the same start takes twelve seconds.
paxos propose interval = 0.02
paxos min wait = 0.01
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 500
mon data avail crit = 1
osd crush chooseleaf type = 0
osd objectstore = memstore
mon data = {folder}/mon
osd data = {folder}/osd
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.$pid.asok
[osd]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
[client.rgw]
# A change would wait thirty seconds for the cache of a gateway that was killed.
rgw cache enabled = false
# Without tcp_nodelay a small object takes 45 ms.
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
"""


@contextmanager
def ceph() -> Iterator[ObjectStore]:
    """Ceph with a monitor, one OSD that keeps all in memory, and the gateway; its data ends with the OSD."""
    names = ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")
    tools = {name: program(name, CEPH_PACKAGES) for name in names}
    with own_folder("ceph") as folder, ExitStack() as stack:
        (folder / "mon").mkdir()
        (folder / "osd").mkdir()
        port, monitor, monitor_old = free_ports(3)
        known = {"fsid": uuid.uuid4(), "folder": folder, "port": port, "monitor": monitor, "monitor_old": monitor_old}
        (folder / "ceph.conf").write_text(CEPH.format(**known))
        environ = {**os.environ, "CEPH_CONF": str(folder / "ceph.conf")}

        def run(*words: str) -> str:
            done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}{done.stdout}"
            return done.stdout.strip()

        def service(name: str, *words: str, listens: int = 0) -> Service:
            made = Service(name, [tools[name], "-f", *words], folder, lambda: accepts(listens), environ)
            stack.enter_context(started(made))
            return made

        run(tools["ceph-mon"], "--mkfs", "-i", "a")
        service("ceph-mon", "-i", "a", listens=monitor)
        number, identity = "0", str(uuid.uuid4())
        assert run(tools["ceph"], "osd", "new", identity) == number
        run(tools["ceph-osd"], "-i", number, "--mkfs", "--osd-uuid", identity)
        run(tools["ceph"], "osd", "crush", "add", "osd.0", "1", "root=default")
        service("ceph-osd", "-i", number, listens=monitor)
        gateway = service("radosgw", "-n", "client.rgw", listens=port)
        keys = ("--access-key", "testkey", "--secret-key", "testsecret")
        run(tools["radosgw-admin"], "-n", "client.rgw", "user", "create", "--uid=ci", "--display-name=ci", *keys)
        yield ObjectStore(port, "testkey", "testsecret", gateway)


SWIFT_RINGS = """
import sys
from swift.common.ring import RingBuilder
for name, port in zip(("account", "container", "object"), map(int, sys.argv[1:])):
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1})
    builder.rebalance()
    builder.get_ring().save(name + ".ring.gz")
"""
SWIFT_CONF = """
[swift-hash]
swift_hash_path_suffix = test
swift_hash_path_prefix = test
[storage-policy:0]
name = gold
default = yes
"""
SWIFT_STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
workers = 0
user = {user}
log_level = WARNING
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
SWIFT_PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
workers = 0
user = {user}
log_level = WARNING
[pipeline:main]
pipeline = catch_errors cache bulk s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers =
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin .reseller_admin
[filter:slo]
use = egg:swift#slo
"""


def has_attributes(folder: Path) -> bool:
    """Whether files below the folder take attributes of users, where Swift keeps what it knows of an object."""
    if sys.platform != "linux":
        return False
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        try:
            os.setxattr(probe.fileno(), "user.pypiserver", b"1")
        except OSError:
            return False
    return True


@contextmanager
def swift() -> Iterator[ObjectStore]:
    """Swift with its S3 interface: a proxy and three servers, each with one process."""
    try:
        programs = ensure("swift")
    except MissingPythonError as missing:
        refuse(str(missing))
    with own_folder("swift") as folder:
        if not has_attributes(folder):
            refuse(f"the file system of {folder.parent} takes no user attributes (set TMPDIR to another one)")
        (folder / "devices" / "disk").mkdir(parents=True)
        port, *storage_ports = free_ports(4)
        make_rings = [str(programs / "python"), "-c", SWIFT_RINGS, *map(str, storage_ports)]
        subprocess.run(make_rings, cwd=folder, check=True, capture_output=True, timeout=60)
        known = {"folder": folder, "user": _user_name(), "region": REGION}
        (folder / "swift.conf").write_text(SWIFT_CONF)
        services = [
            _swift_server(programs, kind, own_port, SWIFT_STORAGE.format(kind=kind, port=own_port, **known), folder)
            for kind, own_port in zip(("account", "container", "object"), storage_ports, strict=True)
        ]
        proxy = _swift_server(programs, "proxy", port, SWIFT_PROXY.format(port=port, **known), folder)
        with started(*services, proxy):
            yield ObjectStore(port, "test:tester", "testing", proxy)


def _swift_server(programs: Path, kind: str, port: int, configuration: str, folder: Path) -> Service:
    path = folder / f"{kind}.conf"
    path.write_text(configuration)
    command = [programs / "python", programs / f"swift-{kind}-server", path, "--verbose"]
    # Where to look for swift.conf is decided when swift is imported.
    environ = {**os.environ, "SWIFT_TEST_IN_PROCESS_CONF_LOADER": "", "PATH": f"{programs}:{os.environ['PATH']}"}
    return Service(f"swift-{kind}", command, folder, lambda: accepts(port), environ)


def _user_name() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
