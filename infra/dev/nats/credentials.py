"""Who may log in by a file of credentials: an operator, an account and a user of it, as JWTs that are signed here by openssl.

Made anew each time. Not for production: the keys of operator and account are thrown away, nothing expires.
"""
import base64
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import time

# What a public key begins with, as letters; a seed begins with S.
OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3
# Before the 32 bytes of an ed25519 key, in DER.
PRIVATE_KEY = bytes.fromhex("302e020100300506032b657004220420")


def checksum(data):
    """CRC-16 of XMODEM."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc.to_bytes(2, "little")


def letters(data):
    return base64.b32encode(data + checksum(data)).decode().rstrip("=")


def web(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def openssl(*arguments, given=None):
    return subprocess.run(["openssl", *arguments], input=given, stdout=subprocess.PIPE, check=True).stdout


class Key:
    def __init__(self, kind):
        raw = os.urandom(32)
        self.der = PRIVATE_KEY + raw
        public = openssl("pkey", "-inform", "DER", "-pubout", "-outform", "DER", given=self.der)[-32:]
        self.public = letters(bytes([kind]) + public)
        self.seed = letters(bytes([SEED | kind >> 5, (kind & 31) << 3]) + raw)

    def sign(self, data):
        # openssl wants both as files.
        with tempfile.TemporaryDirectory() as folder:
            key, text = pathlib.Path(folder, "key"), pathlib.Path(folder, "text")
            key.write_bytes(self.der)
            text.write_bytes(data)
            return openssl("pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", key, "-in", text)


def token(issuer, subject, name, claims):
    body = {"iat": int(time.time()), "iss": issuer.public, "name": name, "sub": subject.public,
            "nats": claims | {"version": 2}}
    body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    signed = ".".join(web(json.dumps(part).encode()) for part in (head, body))
    return f"{signed}.{web(issuer.sign(signed.encode()))}"


def make(file):
    """Writes a user's credentials into the file; what the server's configuration has of them."""
    operator, system, account, user = Key(OPERATOR), Key(ACCOUNT), Key(ACCOUNT), Key(USER)
    connections = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    storage = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    of_operator = token(operator, operator, "dev", {"type": "operator"})
    limits = connections | {"wildcards": True}
    # JetStream wants one, which may not use it itself.
    of_system = token(operator, system, "system", {"type": "account", "limits": limits})
    of_account = token(operator, account, "dev", {"type": "account", "limits": limits | storage})
    of_user = token(account, user, "dev", {"type": "user", "subs": -1, "data": -1, "payload": -1})
    file.write_text(f"-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n"
                    f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n")
    return [f"operator: {of_operator}", f"system_account: {system.public}", "resolver: MEMORY",
            f"resolver_preload: {{ {system.public}: {of_system}, {account.public}: {of_account} }}"]
