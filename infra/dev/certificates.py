#!/usr/bin/env python3
"""Makes certificates for development and tests with openssl, good ones and such as must not be taken.

`certificates.py FOLDER` makes the folder and writes PEM files into it, a key beside each certificate as NAME.key:

    ca               an authority; signed all below but `stranger`
    server           for 127.0.0.1 and localhost
    server-expired   the same, until 2021-01-01
    server-elsewhere for elsewhere.example
    client           a client's
    client-expired   the same, until 2021-01-01
    other-ca         an authority that the others do not know
    stranger         a client's, signed by other-ca

Not for production: the keys are not protected, and good ones last 30 days.
"""
import pathlib
import subprocess
import sys

NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
HERE = "IP:127.0.0.1,DNS:localhost"
# `openssl ca` is what takes dates of the past.
AUTHORITY = """
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
unique_subject = no
policy = any
[any]
commonName = supplied
"""
PAST = "-startdate 20200101000000Z -enddate 20210101000000Z"


def openssl(folder, command):
    done = subprocess.run(["openssl", *command.split()], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode != 0:
        raise SystemExit(f"error: openssl {command}: {done.stdout}")


def make(folder):
    folder.mkdir()
    (folder / "ca.cnf").write_text(AUTHORITY)
    (folder / "index.txt").touch()
    for name in ("ca", "other-ca"):
        openssl(folder, f"req -x509 {NEW_KEY} -keyout {name}.key -out {name}.pem -subj /CN={name} -days 30")
    for name, authority, names, dates in (
        ("server", "ca", HERE, "-days 30"),
        ("server-expired", "ca", HERE, PAST),
        ("server-elsewhere", "ca", "DNS:elsewhere.example", "-days 30"),
        ("client", "ca", HERE, "-days 30"),
        ("client-expired", "ca", HERE, PAST),
        ("stranger", "other-ca", HERE, "-days 30"),
    ):
        (folder / "names").write_text(f"subjectAltName={names}\n")
        openssl(folder, f"req {NEW_KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}")
        openssl(folder, f"ca -batch -notext -config ca.cnf -cert {authority}.pem -keyfile {authority}.key -in {name}.csr "
                        f"-out {name}.pem -extfile names {dates}")
        # As Java's Kafka wants them.
        (folder / f"{name}.both.pem").write_text((folder / f"{name}.key").read_text() + (folder / f"{name}.pem").read_text())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    make(pathlib.Path(sys.argv[1]))
