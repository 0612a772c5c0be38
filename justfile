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

# what strangers' bytes reach first, for so many seconds; follows the coverage where atheris is installed
fuzz seconds *targets:
    python -m tests.fuzz {{seconds}} {{targets}}

# the whole job on this machine: appliance, mirror, five simulated hosts
demo *args:
    skerry demo {{args}}

# tests against independent clients: skopeo, umoci, kubectl, and crane, oras, helm built as Go modules
interop *args:
    pytest -m interop {{args}}

# tests of the hardware TPM's path over swtpm; `just setup --tpm` first
tpm *args:
    pytest -m tpm {{args}}

# tests with real disks and a real Debian root; needs root
system *args:
    pytest -m system {{args}}

# README's two commands in a freshly made minimal Debian root; needs root
fresh *commands:
    .ci/fresh {{commands}}

# write the CRD documents again from the structs
crds:
    python -m appliance.resources.crds

# every benchmark, each beside a peer in the same run
bench: bench-registrations bench-mirror bench-starts bench-bundles bench-store bench-console bench-inventory

# full TPM registrations per second
bench-registrations:
    python -m benchmarks.registrations

# blob pull and push, manifests, beside docker-registry and distribution v3; `--tls` for TLS
bench-mirror *args:
    python -m benchmarks.blobs {{args}}

# appliance start, command start, idle memory
bench-starts:
    python -m benchmarks.starts

# bundle load beside hashing and copying
bench-bundles:
    python -m benchmarks.bundles

# lists, watches and writes with 10,000 objects, then the same beside a real kube-apiserver over kine
bench-store:
    python -m benchmarks.store
    python -m benchmarks.store_peer

# first paint with 10,000 hosts, bytes per update
bench-console:
    python -m benchmarks.console

# fifty thousand machines: searches beside LIKE scans, label lists beside the store's, files out and in
bench-inventory *args:
    python -m benchmarks.inventory {{args}}

# write the manual pages again from the commands' own help
man:
    python -m appliance.cli.manual docs/man
