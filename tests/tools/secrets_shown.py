"""Whether a text shows a private key, however written."""

import base64
from pathlib import Path

from wire_protocol.signing import Signer, key_from_pem


def assert_no_secret(folder: Path, text: str, *others: Signer) -> None:
    """Look for every key in ``folder``, and ``others``, in hex and base64."""
    paths = list(folder.rglob("*.key"))
    assert paths
    signers = [*others, *(key_from_pem(path.read_bytes()) for path in paths)]
    for signer in signers:
        assert signer.seed.hex() not in text.lower()
        for shift in range(3):  # base64 looks different at each offset
            raw = base64.b64encode(bytes(shift) + signer.seed).decode()
            whole = raw[4 if shift else 0 : -4]
            assert whole not in text
            assert whole.replace("+", "-").replace("/", "_") not in text
