// SPDX-License-Identifier: Apache-2.0

// Package show writes what an agent wants to do for the person who is asked.
//
// Everything in it was chosen by somebody who may want another answer than the
// person would give: the command, the directory, the host, even the prompt. So
// what cannot be seen is made visible, what turns the direction of writing or
// looks like another character is written as its number, and nothing is cut in
// the middle without saying how much is missing. A text that was cut is never
// enough to say yes to; see Card.Whole.
//
// The package is pure. Notifications and the command line print the same.
package show
