// SPDX-License-Identifier: Apache-2.0

// Package policy is the core of Paddock: what the organisation requires, and
// what that says about one command or one connection.
//
// It is pure. It reads no file, asks no clock and starts no goroutine, so that
// every decision can be repeated from its inputs and tested without a machine
// around it. It imports nothing else of Paddock; everything else asks it.
//
// Two principles hold everywhere. What cannot be understood is an error and
// never "no policy". And layers only add: where two layers disagree, the
// stricter one wins, whatever their order.
package policy
