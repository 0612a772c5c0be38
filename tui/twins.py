"""The CLI twin of every action of the console: what a technician would type to do the same."""

import shlex


def approve(name: str, namespace: str) -> str:
    return _twin("approve", name, "-n", namespace)


def reject(name: str, namespace: str) -> str:
    return _twin("reject", name, "-n", namespace)


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
