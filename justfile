# What can be done here. Every recipe runs from .venv, which `just setup` (or `.ci/setup`) makes.

export PATH := justfile_directory() / ".venv/bin:" + env("PATH")

# list the recipes
default:
    @just --list

# make or refresh .venv from the lock
setup *flags:
    .ci/setup {{flags}}

# pin every dependency again, with hashes and without naming an index
lock:
    uv pip compile pyproject.toml --extra appliance --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements.lock
    uv pip compile pyproject.toml --extra tpm --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements-tpm.lock

# format, lint, types, import contracts
lint:
    ruff format --check .
    ruff check .
    mypy
    lint-imports --no-logo

# everything a change must pass before it is committed
check: lint test

# rewrite the code in the house format
format:
    ruff format .
    ruff check --fix .

# the tests that need nothing but Python
test *args:
    pytest -n auto {{args}}
