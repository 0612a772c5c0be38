"""A real TPM 2.0 in software (swtpm) behind a unix socket, for tests marked `tpm`."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(directory: Path, *, certificate: bool) -> Iterator[str]:
    """Provision a TPM, with or without an endorsement certificate, and run it; yields its TCTI."""
    state = directory / "state"
    state.mkdir(parents=True)
    provision(state, directory / "ca", certificate=certificate)
    socket = directory / "sock"
    process = subprocess.Popen(
        [
            "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}",
            "--server", f"type=unixio,path={socket}", "--ctrl", f"type=unixio,path={socket}.ctrl",
            "--flags", "not-need-init,startup-clear",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_for(socket, process)
        yield f"swtpm:path={socket}"
    finally:
        process.terminate()
        process.communicate()


def provision(state: Path, authority: Path, *, certificate: bool) -> None:
    """swtpm_setup with a CA of the test's own; without a certificate the TPM is just manufactured."""
    command = ["swtpm_setup", "--tpm2", "--tpmstate", str(state), "--overwrite"]
    if certificate:
        authority.mkdir()
        configuration = authority / "localca.conf"
        configuration.write_text(
            f"statedir = {authority}\nsigningkey = {authority}/key.pem\n"
            f"issuercert = {authority}/issuer.pem\ncertserial = {authority}/serial\n"
        )
        options = authority / "localca.options"
        options.write_text("--platform-manufacturer Test\n--platform-version 1\n--platform-model Box\n")
        setup = authority / "setup.conf"
        setup.write_text(
            f"create_certs_tool = {shutil.which('swtpm_localca')}\n"
            f"create_certs_tool_config = {configuration}\ncreate_certs_tool_options = {options}\n"
        )
        command += ["--config", str(setup), "--create-ek-cert"]
    subprocess.run(command, check=True, capture_output=True)


def wait_for(socket: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the control socket exists too; a limit only so that a broken swtpm does not hang the run."""
    limit = time.monotonic() + 20
    while not (socket.exists() and Path(f"{socket}.ctrl").exists()):
        if process.poll() is not None or time.monotonic() > limit:
            raise RuntimeError(f"swtpm did not start: {process.communicate()[1].decode()}")
        time.sleep(0.01)
