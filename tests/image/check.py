"""Runs a static kura in a root that has what its image has and nothing else.

    .venv/bin/python tests/image/check.py target/x86_64-unknown-linux-musl/release/kura

It is read-only but for two directories; /proc and /dev/null are there, as in
every container. Kura serves as the image's user, in a mount namespace of its
own, which takes root. S3 is SeaweedFS by TLS, with an authority that only the
root's own certificates have.
"""

import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parents[2]
FONT = Path("/usr/share/fonts/opentype/ipaexfont-gothic/ipaexg.ttf")
USER = 8950
SECRET = "0123456789abcdef0123456789abcdef"
# Mounts for this process and its children only, then becomes the command.
ENTER = """
set -e
root=$1; shift
mount --bind "$root" "$root"
[ ! -d "$root/proc" ] || mount -t proc proc "$root/proc"
mount --bind /dev/null "$root/dev/null"
mount -o remount,bind,ro "$root"
for directory in var/lib/kura var/cache/kura; do
  mount --bind "$root.state/$directory" "$root/$directory"
done
exec env -i "$@"
"""


class Image:
    """The image's files, in a directory."""

    def __init__(self, directory, binary, certificates, proc=True):
        self.root = directory / "root"
        for path in ["etc/ssl/certs", "usr/share/fonts", "var/lib/kura", "var/cache/kura", "dev"]:
            (self.root / path).mkdir(parents=True)
            (directory / "root.state" / path).mkdir(parents=True)
        directory.chmod(0o755)
        for path in ["var/lib/kura", "var/cache/kura"]:
            os.chown(directory / "root.state" / path, USER, USER)
        if proc:
            (self.root / "proc").mkdir()
        (self.root / "dev/null").touch()
        shutil.copy(binary, self.root / "kura")
        shutil.copy(certificates, self.root / "etc/ssl/certs/ca-certificates.crt")
        shutil.copy(FONT, self.root / "usr/share/fonts")

    def start(self, *arguments, **environment):
        environment = [f"{name}={value}" for name, value in environment.items()]
        chroot = ["/usr/sbin/chroot", f"--userspec={USER}:{USER}", str(self.root), "/kura"]
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]
        command += [str(self.root), *environment, *chroot, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments, **environment):
        process = self.start(*arguments, **environment)
        out, error = process.communicate(timeout=30)
        return process.returncode, out + error


class Server:
    """A `kura serve` in the image."""

    def __init__(self, image, **environment):
        self.image, self.environment = image, {"KURA_LISTEN": f"127.0.0.1:{free_port()}"}
        self.environment |= {"KURA_SECRET": SECRET, "KURA_LOG_FORMAT": "json"} | environment
        self.url = f"http://{self.environment['KURA_LISTEN']}"
        self.token = image.run("token", "default", **self.environment)[1].strip()
        self.process = image.start("serve", **self.environment)

    def line(self, *wanted):
        """The first line of the log with one of these messages at its beginning."""
        for line in self.process.stdout:
            message = json.loads(line)
            if message["message"].startswith(wanted):
                # A log that nobody reads would stop the server in the end.
                threading.Thread(target=self.process.stdout.read, daemon=True).start()
                return message
        raise AssertionError(f"kura ended: {self.process.stderr.read()}")

    def request(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/x-test"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read()

    def healthcheck(self):
        return self.image.run("healthcheck", **self.environment)[0]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def png(side):
    """A square with a gradient."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(side) for v in (x % 256, y % 256, 128)) for y in range(side)
    )
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    framed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


# A page with two Japanese words in a font that is named and not brought.
PDF_OBJECTS = [
    "<</Type/Catalog/Pages 2 0 R>>",
    "<</Type/Pages/Kids[3 0 R]/Count 1>>",
    "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R"
    "/Resources<</Font<</F 5 0 R>>>>>>",
    "<</Length 60>>stream\nBT /F 48 Tf 10 30 Td <65E5672C8A9E> Tj ET".ljust(83) + "\nendstream",
    "<</Type/Font/Subtype/Type0/BaseFont/HeiseiKakuGo-W5/Encoding/UniJIS-UCS2-H"
    "/DescendantFonts[6 0 R]>>",
    "<</Type/Font/Subtype/CIDFontType0/BaseFont/HeiseiKakuGo-W5/DW 1000"
    "/CIDSystemInfo<</Registry(Adobe)/Ordering(Japan1)/Supplement 2>>/FontDescriptor 7 0 R>>",
    "<</Type/FontDescriptor/FontName/HeiseiKakuGo-W5/Flags 4/FontBBox[0 0 1000 1000]"
    "/ItalicAngle 0/Ascent 880/Descent -120/CapHeight 700/StemV 80>>",
]


def pdf():
    text, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(PDF_OBJECTS, 1):
        offsets.append(len(text))
        text += f"{number} 0 obj{body}endobj\n"
    start = len(text)
    text += f"xref\n0 {len(offsets) + 1}\n0000000000 65535 f \n"
    text += "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    text += f"trailer<</Size {len(offsets) + 1}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF"
    return text.encode()


def seaweed(directory):
    """SeaweedFS with TLS: its endpoint, its certificate and its process."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-addext", "basicConstraints=critical,CA:FALSE", "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )
    ports = [free_port() for _ in range(9)]
    flags = [f"-{name}{kind}={ports.pop()}" for name in ["master.port", "volume.port", "filer.port", "s3.port"]
             for kind in ["", ".grpc"]]
    flags += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.port.https={ports[0]}"]
    flags += [f"-s3.cert.file={certificate}", f"-s3.key.file={key}", f"-dir={directory}"]
    process = subprocess.Popen(
        [ROOT / ".venv/bin/weed", "server", "-s3", "-ip=127.0.0.1", *flags],
        env={"AWS_ACCESS_KEY_ID": "kura", "AWS_SECRET_ACCESS_KEY": SECRET},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    endpoint = f"https://127.0.0.1:{ports[0]}"
    client = botocore.session.get_session().create_client(
        "s3", "us-east-1", endpoint_url=endpoint, verify=str(certificate),
        aws_access_key_id="kura", aws_secret_access_key=SECRET,
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="files")
            return endpoint, certificate, process
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


class EmptyRoot(unittest.TestCase):
    binary = None

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)

    def image(self, certificates="/etc/ssl/certs/ca-certificates.crt", **options):
        return Image(self.directory, self.binary, certificates, **options)

    def serve(self, image, **environment):
        server = Server(image, **environment)
        self.addCleanup(server.process.kill)
        return server

    def assert_keeps_files_and_makes_thumbnails(self, server):
        for name, body in [("a.png", png(300)), ("b.pdf", pdf()), ("c.bin", os.urandom(20 << 20))]:
            path = f"/v1/files?directory=2026/11&name=261122194501_{name}"
            status, answer = server.request("POST", path, body)
            self.assertEqual(status, 201, answer)
            key = json.loads(answer)["key"]
            self.assertEqual(server.request("GET", f"/v1/files/{key}"), (200, body))
            if name == "c.bin":
                continue
            digest = hashlib.sha256(body).hexdigest()
            path = f"/v1/thumbnails/{digest}_{len(body)}_100.thumb?source={key}"
            status, thumbnail = server.request("GET", path)
            self.assertEqual((status, thumbnail[:4]), (200, b"\x89PNG"), thumbnail[:200])
            if name == "b.pdf":
                # An empty page of this size has some 150 bytes.
                self.assertGreater(len(thumbnail), 400, "the text is missing")

    def test_binary_needs_no_library(self):
        program = subprocess.run(["readelf", "-ld", self.binary], capture_output=True, text=True)
        self.assertNotIn("INTERP", program.stdout)
        self.assertNotIn("NEEDED", program.stdout)

    def test_serves_a_directory_with_the_sandbox_in_force(self):
        server = self.serve(self.image(), KURA_STORE="dir:/var/lib/kura")
        said = server.line("rendering sandbox", "no thumbnails")
        self.assertIn("seccomp", said["message"])
        self.assertTrue(said["fallback_font"])
        self.assertEqual(server.healthcheck(), 0)
        self.assert_keeps_files_and_makes_thumbnails(server)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.healthcheck(), 1)

    def test_serves_s3_by_tls_with_the_certificates_of_the_root(self):
        weed = self.directory / "weed"
        weed.mkdir()
        endpoint, certificate, process = seaweed(weed)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        settings = {
            "KURA_STORE": "s3", "AWS_ENDPOINT_URL_S3": endpoint, "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "kura", "AWS_SECRET_ACCESS_KEY": SECRET,
            "S3_BUCKET_NAME": "files", "S3_FOLDER_NAME": "user001",
            "KURA_CACHE_DIR": "/var/cache/kura",
        }
        server = self.serve(self.image(certificate), **settings)
        server.line("listening")
        self.assert_keeps_files_and_makes_thumbnails(server)
        self.assertTrue(any((self.directory / "root.state/var/cache/kura").iterdir()))
        self.assertEqual(server.stop(), 0)

    def test_says_what_is_missing_without_proc(self):
        server = self.serve(self.image(proc=False), KURA_STORE="dir:/var/lib/kura")
        said = server.line("rendering sandbox", "no thumbnails")
        self.assertIn("no thumbnails are made", said["message"])
        self.assertIn("/proc", said["why"])
        self.assertEqual(server.healthcheck(), 0)


if __name__ == "__main__":
    EmptyRoot.binary = Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
