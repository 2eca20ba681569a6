"""Write an evidence package: a BagIt folder, or a zip of one, that appears under its name only when it is whole."""

import hashlib
import shutil
import zipfile
from datetime import date
from pathlib import Path
from typing import IO

from ..core.bagit_forms import DECLARATION, PAYLOAD, write_bag_info, write_bag_manifest
from ..core.errors import LocalFault

_PIECE_BYTES = 1 << 20


class EvidencePackage:
    """One package that is being written. `name` is that of its folder; nothing may be there yet."""

    def __init__(self, folder: Path, name: str):
        self._final, self._partial = folder / name, folder / f".{name}.partial"
        self._digests: dict[str, str] = {}
        self._size_bytes = 0
        if not folder.is_dir():
            raise LocalFault(f"{folder} is no folder of the machine that runs this: create it, or name another one")
        for taken in (self._final, self._final.with_name(f"{name}.zip"), self._partial):
            if taken.exists():
                raise LocalFault(f"{taken} is there already: remove it, or name another folder")
        self._partial.mkdir(mode=0o700)  # voices and numbers: for nobody else on this machine
        self._root = self._partial / name

    def add(self, path: str, body: bytes) -> None:
        """Add a file of the payload."""
        with self.open(path) as file:
            file.write(body)
        self.close(path)

    def open(self, path: str) -> IO[bytes]:
        """Open a file of the payload, to be written and read; `close` counts it in."""
        place = self._root / PAYLOAD / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place.open("xb+")

    def close(self, path: str) -> str:
        """Count a file of the payload in, and return its SHA-256."""
        digest = self._digests[PAYLOAD + path] = _sha256_of(self._root / PAYLOAD / path)
        self._size_bytes += (self._root / PAYLOAD / path).stat().st_size
        return digest

    def finish(self, *, day: date, description: str, identifier: str, agent: str, as_zip: bool) -> Path:
        """Write the bag's own files, and give the package its name. Return where it is."""
        info = write_bag_info(
            day=day,
            size_bytes=self._size_bytes,
            files=len(self._digests),
            description=description,
            identifier=identifier,
            agent=agent,
        )
        own = {
            "bagit.txt": DECLARATION,
            "bag-info.txt": info,
            "manifest-sha256.txt": write_bag_manifest(self._digests),
        }
        own["tagmanifest-sha256.txt"] = write_bag_manifest(
            {name: hashlib.sha256(body).hexdigest() for name, body in own.items()}
        )
        for name, body in own.items():
            (self._root / name).write_bytes(body)
        if as_zip:
            packed = self._partial / "package.zip"
            with zipfile.ZipFile(packed, "x", zipfile.ZIP_STORED) as archive:  # audio does not get smaller
                for file in sorted(self._root.rglob("*")):
                    if file.is_file():
                        archive.write(file, file.relative_to(self._partial).as_posix())
            place = packed.rename(self._final.with_name(f"{self._final.name}.zip"))
        else:
            place = self._root.rename(self._final)
        return place

    def discard(self) -> None:
        """Remove what was written and is not the package."""
        shutil.rmtree(self._partial, ignore_errors=True)


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
