// SPDX-License-Identifier: Apache-2.0

package bypass

// Ways to a destination that policy denies.
var networkRows = []Row{
	{
		ID: "N1", Attack: "plain TCP, IPv4 and IPv6", Hook: "cgroup/connect4, connect6", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestDeniedDestinationCannotBeReached/connect"},
	},
}
