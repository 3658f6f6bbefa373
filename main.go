// SPDX-License-Identifier: Apache-2.0

// Paddock keeps AI coding agents inside what an organisation allows. This file
// hands over to daemon/cli.
package main

import (
	"os"

	"github.com/seed-649e9bbc/paddock/daemon/cli"
)

// version is set by the linker (see Makefile).
var version = "unknown"

func main() {
	os.Exit(cli.Main(cli.New(version, cli.DaemonCommands(version)...), os.Args[1:]))
}
