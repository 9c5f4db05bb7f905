"""Windows and macOS, simulated: every module is imported, and commands run, without what only some systems have.

The systems themselves are tried by .github/workflows/ci.yml.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

# What Windows does not have. Other packages are imported first: they have versions for Windows.
WITHOUT = """
import contextlib, importlib, multiprocessing.util, os, pkgutil, signal, sys, tempfile
for name in ("torch", "numpy", "PIL.Image", "tqdm", "yaml", "subprocess", "ctypes", "asyncio", "logging.handlers",
             "torch.distributed", "torch.utils.data", "torch.onnx", "onnx", "onnxscript", "onnxruntime", "openvino",
             "av", "cv2", "matplotlib.pyplot", "pycocotools.cocoeval", "uvicorn",
             "starlette.applications", "safetensors"):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
for name in ("fcntl", "grp", "pwd", "pty", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
for name in ("chown", "fchmod", "fchown", "fork", "forkpty", "geteuid", "getgid", "getuid", "getpgid", "killpg",
             "lchown", "mkfifo", "mknod", "nice", "posix_fadvise", "posix_fallocate", "posix_spawn",
             "sched_getaffinity", "sched_setaffinity", "setsid", "statvfs", "sysconf", "sysconf_names", "uname"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU", "alarm",
             "pause", "pthread_sigmask", "setitimer"):
    if hasattr(signal, name):
        delattr(signal, name)
exists = os.path.exists
os.path.exists = lambda path: not str(path).startswith(("/dev/", "/proc/", "/sys/")) and exists(path)
"""
IMPORT = """
import darknet_py
for module in pkgutil.walk_packages(darknet_py.__path__, "darknet_py."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            assert "pip install 'darknet-torch[" in str(error), (module.name, error)
print(len([name for name in sys.modules if name.startswith("darknet_py.")]))
"""
RUN = """
from darknet_py import cli
train = "train set/digits.data digits --set max_batches=1 --set batch=2 --set subdivisions=1 --no-map -o runs"
for line in (
    "digits set --train-images 2 --valid-images 2 --quiet",
    "detect digits - --json a.json",
    "info digits",
    train,
    "evaluate digits set/digits.data --quiet",
    "convert runs/digits_final.weights a.pt --cfg digits",
    "detector test set/digits.data digits.cfg runs/digits_final.weights set/valid/00000.png -dont_show",
):
    assert cli.main(line.split()) == 0, line
"""


def test_every_module_is_imported_and_commands_run_without_what_windows_lacks(tmp_path: pathlib.Path) -> None:
    root = pathlib.Path(__file__).resolve().parents[1]
    (tmp_path / "digits.cfg").write_bytes((root / "cfgs" / "digits.cfg").read_bytes())
    image = (root / "docs" / "gallery" / "chelsea.jpg").read_bytes()
    line = [sys.executable, "-c", WITHOUT + IMPORT + RUN]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, input=image, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    imported = int(done.stdout.split()[0])
    assert imported > 0.9 * len(list((root / "darknet_py").rglob("*.py")))
    assert (tmp_path / "a.json").exists()
    assert {"digits_final.weights", "digits_last.weights"} <= set(os.listdir(tmp_path / "runs"))
