module skerry.dev/conformance/registration

go 1.24.0

require (
	github.com/google/go-attestation v0.5.1
	github.com/google/go-tpm-tools v0.4.4
	github.com/gorilla/websocket v1.5.3
)

require (
	github.com/google/certificate-transparency-go v1.1.2 // indirect
	github.com/google/go-configfs-tsm v0.3.3 // indirect
	github.com/google/go-tpm v0.9.0 // indirect
	github.com/google/go-tspi v0.3.0 // indirect
	golang.org/x/crypto v0.17.0 // indirect
	golang.org/x/sys v0.15.0 // indirect
)
