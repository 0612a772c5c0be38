"""The CLI twin of every action and every page of the console: what a technician would type for the same."""

import shlex

HOSTS = "skerry hosts list -A"
INBOX = "skerry hosts inbox"
ROLLOUTS = "skerry rollout list -A"
BUNDLES = "skerry bundle list"


def show_host(name: str, namespace: str) -> str:
    return _twin("hosts", "show", name, "-n", namespace)


def show_rollout(name: str, namespace: str) -> str:
    return _twin("rollout", "status", name, "-n", namespace)


def approve(name: str, namespace: str) -> str:
    return _twin("approve", name, "-n", namespace)


def reject(name: str, namespace: str) -> str:
    return _twin("reject", name, "-n", namespace)


def pair(name: str) -> str:
    """Its registration and its code are the technician's to fill in."""
    return _twin("discover", "pair", name, "--registration", "NAME", "--code", "CODE")


def forget(name: str, namespace: str) -> str:
    return _twin("delete", "machineinventory", name, "-n", namespace)


def pause_rollout(name: str, namespace: str) -> str:
    return _twin("rollout", "pause", name, "-n", namespace)


def resume_rollout(name: str, namespace: str) -> str:
    return _twin("rollout", "resume", name, "-n", namespace)


def cancel_operation(id: str) -> str:
    return _twin("operation", "cancel", id)


def _twin(*words: str) -> str:
    return shlex.join(("skerry", *words))
