// SPDX-License-Identifier: Apache-2.0

// Package e2e tries the program as it is installed: a real `paddock daemon`, its
// command line, agents that run, attack and flood, a daemon that is killed.
//
// Every daemon is a private instance, with agent profiles that know one program
// only: a copy of a shell under a name nobody else has. Nothing that runs on the
// machine is governed.
//
// PADDOCK_BIN names a built paddock to test; without it one is built. The tests
// run as root, also in the guests of package vm.
package e2e
