// Command registration speaks both sides of the registration protocol with the libraries that Elemental's
// own programs are made of (go-attestation, its TPM simulator, gorilla/websocket): an independent client
// and server to register against. It was written from the protocol, for tests and benchmarks only.
package main

import (
	"fmt"
	"os"
)

const protocolVersion = 12

const (
	ready        = 1
	smbios       = 2
	labels       = 3
	get          = 4
	version      = 5
	systemData   = 6
	config       = 7
	failure      = 8
	annotations  = 9
	update       = 10
	systemDataV2 = 11
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: registration serve|register …"))
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2:])
	case "register":
		err = register(os.Args[2:])
	default:
		err = fmt.Errorf("there is no command %q", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
