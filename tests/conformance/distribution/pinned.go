//go:build pinned

// Package distribution only names the OCI distribution-spec's conformance suite, so that go.mod keeps its version.
package distribution

import _ "github.com/opencontainers/distribution-spec/conformance"
