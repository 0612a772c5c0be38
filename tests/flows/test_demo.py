"""The demo is a promise to a newcomer, so it is a test: real programs, seen only through the API."""

import json
import subprocess
import sys


def test_the_demo_takes_two_hosts_through_install_upgrade_and_rollback() -> None:
    arguments = ["demo", "--headless", "--hosts", "2", "-o", "json"]

    ended = subprocess.run(
        [sys.executable, "-m", "appliance", *arguments], capture_output=True, text=True, timeout=240
    )

    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    v2, v3 = summary["images"]["v2"], summary["images"]["v3"]
    assert [host["digest"] for host in summary["hosts"]] == [v2, v2]
    assert len({host["tpmHash"] for host in summary["hosts"]}) == 2
    assert {host["slot"] for host in summary["hosts"]} == {"b"}
    assert summary["rollouts"]["to-v3"] == "Paused"
    tried = [
        entry
        for host in summary["hosts"]
        for entry in host["history"]
        if entry["version"] == "v3" and entry["outcome"] == "rolled-back"
    ]
    assert tried
    assert all(entry["reason"] for entry in tried)
    assert v3 not in {host["digest"] for host in summary["hosts"]}
