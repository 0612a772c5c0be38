// Command hardware tells a machine's hardware with the inventory library that Elemental's client is built on,
// of this machine or one below a directory, and reads an inventory as Elemental's server reads message 6.
// It was written from the protocol, for tests only.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/jaypipes/ghw"
	"github.com/jaypipes/ghw/pkg/baseboard"
	"github.com/jaypipes/ghw/pkg/bios"
	"github.com/jaypipes/ghw/pkg/block"
	"github.com/jaypipes/ghw/pkg/chassis"
	"github.com/jaypipes/ghw/pkg/cpu"
	"github.com/jaypipes/ghw/pkg/gpu"
	"github.com/jaypipes/ghw/pkg/memory"
	"github.com/jaypipes/ghw/pkg/net"
	"github.com/jaypipes/ghw/pkg/product"
	"github.com/jaypipes/ghw/pkg/topology"
)

type inventory struct {
	Memory    *memory.Info    `json:"memory"`
	Block     *block.Info     `json:"block"`
	CPU       *cpu.Info       `json:"cpu"`
	Topology  *topology.Info  `json:"topology"`
	Network   *net.Info       `json:"network"`
	GPU       *gpu.Info       `json:"gpu"`
	Chassis   *chassis.Info   `json:"chassis"`
	BIOS      *bios.Info      `json:"bios"`
	Baseboard *baseboard.Info `json:"baseboard"`
	Product   *product.Info   `json:"product"`
}

func main() {
	var found inventory
	var err error
	if len(os.Args) == 3 && os.Args[1] == "tell" {
		found, err = tell(os.Args[2])
	} else if len(os.Args) == 2 && os.Args[1] == "read" {
		err = json.NewDecoder(os.Stdin).Decode(&found)
	} else {
		err = fmt.Errorf("usage: hardware tell ROOT | hardware read <inventory.json")
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func tell(root string) (found inventory, err error) {
	options := []*ghw.WithOption{ghw.WithChroot(root), ghw.WithDisableWarnings(), ghw.WithDisableTools()}
	if found.Memory, err = memory.New(options...); err != nil {
		return
	}
	if found.Block, err = block.New(options...); err != nil {
		return
	}
	if found.CPU, err = cpu.New(options...); err != nil {
		return
	}
	if found.Network, err = net.New(options...); err != nil {
		return
	}
	if found.Chassis, err = chassis.New(options...); err != nil {
		return
	}
	if found.BIOS, err = bios.New(options...); err != nil {
		return
	}
	if found.Baseboard, err = baseboard.New(options...); err != nil {
		return
	}
	found.Product, err = product.New(options...)
	return
}
